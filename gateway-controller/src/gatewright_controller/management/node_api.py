"""The management API's /v1/nodes."""

from __future__ import annotations

from gatewright_documents.mistake import listed
from gatewright_documents.values import JsonObject
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gatewright_controller.management.problems import Problem
from gatewright_controller.nodes.deployment import Deployment, Node
from gatewright_controller.nodes.node_documents import NodeDocuments, NoDocumentError, Why

MEDIA_TYPES = {"metrics": CONTENT_TYPE_LATEST}
JSON = "application/json"
STATUSES: dict[Why, int] = {"unknown": 404, "unsupported": 501, "refused": 502, "disconnected": 503, "silent": 504}


class NodeEndpoints:
    """The connected nodes, and what they report about themselves: docs/reference/nodes-api.md."""

    def __init__(self, deployment: Deployment, documents: NodeDocuments) -> None:
        self._deployment, self._documents = deployment, documents

    async def list(self, _: Request) -> Response:
        """`GET /v1/nodes`: the connected nodes, and the APIs that each does not run, with reasons."""
        return JSONResponse({"nodes": [self._shown(node) for _, node in sorted(self._deployment.nodes.items())]})

    async def get(self, request: Request) -> Response:
        """`GET /v1/nodes/ID`: one of these; 404."""
        wanted = request.path_params["id"]
        if (node := self._deployment.nodes.get(wanted)) is None:
            raise Problem(
                404, f"no node {wanted} is connected; those that are: {listed(sorted(self._deployment.nodes))}"
            )
        return JSONResponse(self._shown(node))

    async def document(self, name: str, request: Request) -> Response:
        """`GET /v1/nodes/ID/NAME`, one of `DOCUMENTS`: as the node reports it now; 404, 501 to 504."""
        try:
            content = await self._documents.get(request.path_params["id"], name)
        except NoDocumentError as error:
            raise Problem(STATUSES[error.why], str(error)) from None
        return Response(content, media_type=MEDIA_TYPES.get(name, JSON), headers={"cache-control": "no-store"})

    def _shown(self, node: Node) -> JsonObject:
        listening = self._deployment.gateway_on(node)
        gateway = {"digest": node.gateway_applied, "state": listening.state, "reason": listening.reason}
        return {**_node(node), "gateway": gateway, "documents": self._documents.documents_of(node.id)}


def _node(node: Node) -> JsonObject:
    policies = [{"name": name, "version": version} for name, version in sorted(node.policies)]
    apis = [{"name": name, "digest": digest} for name, digest in sorted(node.applied.items())]
    unapplied = sorted(node.unapplied.items())
    reasons = {
        state: [{"name": name, "reason": status.reason} for name, status in unapplied if status.state == state]
        for state in ("rejected", "pending")
    }
    return {
        "id": node.id,
        "engineVersion": node.engine_version,
        "connectedAt": node.connected_at,
        "policies": policies,
        "apis": apis,
        **reasons,
    }
