"""The management API's /v1/nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from gatewright_documents.mistake import listed
from msgspec import UNSET
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from gatewright_controller.management.authors import REASON, author_of
from gatewright_controller.management.json_answer import JsonAnswer, shaped
from gatewright_controller.management.pages import NAME, PAGED, fits_name, page_of
from gatewright_controller.management.problems import Problem
from gatewright_controller.management.queries import LONGEST_WAIT, whole_number
from gatewright_controller.management.queries import wait as wait_seconds
from gatewright_controller.management.rows import JSON, Answer, Parameter, Part, Row, Unbound
from gatewright_controller.management.shapes import nodes as shapes
from gatewright_controller.nodes.deployment import Deployment
from gatewright_controller.nodes.draining import Draining, DrainRequest, NotDrainedError
from gatewright_controller.nodes.node import Node, NodeStatus
from gatewright_controller.nodes.node_documents import DOCUMENTS, NodeDocuments, NoDocumentError, Why
from gatewright_controller.times import timestamp, utc_now

MEDIA_TYPES = {"metrics": CONTENT_TYPE_LATEST}
ACCEPT_SECONDS, LONGEST_ACCEPT = 5, 600
STATUSES: dict[Why, int] = {"unknown": 404, "unsupported": 501, "refused": 502, "disconnected": 503, "silent": 504}


class NodeEndpoints:
    """The connected nodes, and what they report about themselves: docs/reference/nodes-api.md."""

    def __init__(self, deployment: Deployment, documents: NodeDocuments, draining: Draining) -> None:
        self._deployment, self._documents, self._draining = deployment, documents, draining

    async def list(self, request: Request) -> Response:
        """The connected nodes, and the APIs that each does not run, with reasons."""
        asked = (node for _, node in sorted(self._deployment.nodes.items()) if fits_name(request, node.id))
        answer = page_of(request, asked, lambda node: node.id).answer("nodes", self._shown)
        return JsonAnswer({**answer, "refused": self._refused(request)})

    def _refused(self, request: Request) -> Sequence[shapes.RefusedNode]:
        return [
            shapes.RefusedNode(id=refusal.node, peer=refusal.peer, reason=refusal.reason, at=timestamp(refusal.at))
            for refusal in self._deployment.refusals.current()
            if fits_name(request, refusal.node)
        ]

    async def get(self, request: Request) -> Response:
        """`GET /v1/nodes/ID`: one of these; 404."""
        wanted = request.path_params["id"]
        if (node := self._deployment.nodes.get(wanted)) is None:
            raise Problem(
                404, f"no node {wanted} is connected; those that are: {listed(sorted(self._deployment.nodes))}"
            )
        return JsonAnswer(self._shown(node))

    async def drain(self, request: Request) -> Response:
        """`POST /v1/nodes/ID/drain`: 200 once it is drained, 202 where `wait` is over before; 404, 501, 503, 504."""
        author, node_id, wait = author_of(request), request.path_params["id"], wait_seconds(request)
        accept = whole_number(request, "accept", ACCEPT_SECONDS, 0, LONGEST_ACCEPT)
        wanted = DrainRequest(author.actor, timestamp(utc_now()), author.reason)
        try:
            node = await self._draining.drain(node_id, wanted, accept, wait)
        except NotDrainedError as error:
            raise Problem(STATUSES[error.why], str(error)) from None
        return JsonAnswer(self._shown(node), 200 if node.drain == "drained" else 202)

    async def undrain(self, request: Request) -> Response:
        """`POST /v1/nodes/ID/undrain`: 200 once it serves again, 202 where `wait` is over before; 404, 501 to 504."""
        author_of(request)  # refuses a reason that cannot be entered into the audit log
        try:
            node = await self._draining.undrain(request.path_params["id"], wait_seconds(request))
        except NotDrainedError as error:
            raise Problem(STATUSES[error.why], str(error)) from None
        return JsonAnswer(self._shown(node), 200 if node.drain == "serving" else 202)

    async def document(self, name: str, request: Request) -> Response:
        """One of `DOCUMENTS`: as the node reports it now; 404, 501 to 504."""
        try:
            content = await self._documents.get(request.path_params["id"], name)
        except NoDocumentError as error:
            raise Problem(STATUSES[error.why], str(error)) from None
        return Response(content, media_type=MEDIA_TYPES.get(name, JSON), headers={"cache-control": "no-store"})

    def _shown(self, node: Node) -> shapes.Node:
        listening = self._deployment.gateway_on(node)
        gateway = shapes.GatewayOfNode(
            name=self._deployment.gateway_name_of(node),
            digest=node.gateway_applied,
            state=listening.state,
            reason=listening.reason,
        )
        statuses = list(self._deployment.statuses_on(node))
        states = Counter(status.state for _, status in statuses)
        return shapes.Node(
            id=node.id,
            labels=dict(sorted(node.labels.items())),
            drain=_drain(node, self._draining.request_of(node)),
            states=shapes.NodeStates(**{state: states[state] for state in ("deployed", "pending", "rejected")}),
            lacks=shaped(list[shapes.LackingPolicy], self._deployment.lacking_on(node)),
            engine_version=node.engine_version,
            connected_at=node.connected_at,
            policies=[shapes.NodePolicy(name=name, version=version) for name, version in sorted(node.policies)],
            apis=[shapes.ServedApi(name=name, digest=digest) for name, digest in sorted(node.applied.items())],
            rejected=_unserved(statuses, "rejected"),
            pending=_unserved(statuses, "pending"),
            gateway=gateway,
            documents=self._documents.documents_of(node.id),
        )


def _drain(node: Node, request: DrainRequest | None) -> shapes.NodeDrain:
    if request is None:
        return shapes.NodeDrain(state=node.drain)
    return shapes.NodeDrain(state=node.drain, by=request.actor, since=request.at, reason=request.reason or UNSET)


def _unserved(statuses: Iterable[tuple[str, NodeStatus]], state: str) -> list[shapes.UnservedApi]:
    return [shapes.UnservedApi(name=name, reason=status.reason) for name, status in statuses if status.state == state]


def _document_endpoint(name: str) -> Unbound:
    async def document(endpoints: NodeEndpoints, request: Request) -> Response:
        return await endpoints.document(name, request)

    return document


_WAIT = Parameter(
    "wait",
    {"type": "number", "minimum": 0, "maximum": int(LONGEST_WAIT), "default": 0},
    "Seconds to wait until it is done.",
)
_ACCEPT = Parameter(
    "accept",
    {"type": "integer", "minimum": 0, "maximum": LONGEST_ACCEPT, "default": ACCEPT_SECONDS},
    "Seconds that the node still accepts connections once it is not ready, so that load balancers leave it.",
)
_ID = Parameter("id", {"type": "string"}, "Of the node.")
_WORDS = {
    "chains": "The chains that run on a node, and the policy instances of each.",
    "clusters": "For each API the names that its upstreams have in Envoy.",
    "metrics": "All metrics of a node, for Prometheus.",
    "notes": "The problems of a node.",
    "stats": "Counters of a node's engine.",
}
_SHAPES = {
    "chains": list[shapes.Chain],
    "clusters": shapes.Clusters,
    "metrics": str,
    "notes": list[shapes.Note],
    "stats": shapes.Stats,
}

PART = Part(
    "Nodes",
    NodeEndpoints,
    (
        Row(
            "listNodes",
            "GET",
            "/v1/nodes",
            NodeEndpoints.list,
            "nodes:inspect",
            "The connected nodes, the APIs that each does not serve, and nodes that are refused; with reasons.",
            {200: Answer("The nodes.", (shapes.NodeList,))},
            query=(NAME, *PAGED),
        ),
        *(
            Row(
                f"getNode{name.capitalize()}",
                "GET",
                f"/v1/nodes/{{id:text}}/{name}",
                _document_endpoint(name),
                "nodes:inspect",
                _WORDS[name],
                {200: Answer("As the node reports it now.", (_SHAPES[name],), (MEDIA_TYPES.get(name, JSON),))},
                in_path=(_ID,),
                refusals=tuple(STATUSES.values()),
            )
            for name in DOCUMENTS
        ),
        Row(
            "drainNode",
            "POST",
            "/v1/nodes/{id:text}/drain",
            NodeEndpoints.drain,
            "nodes:write",
            "Has a node take no new connections, and end its requests; it stays up.",
            {
                200: Answer("It is drained: no exchange is under way.", (shapes.Node,)),
                202: Answer("It has begun; when `wait` was over it was not done.", (shapes.Node,)),
            },
            in_path=(_ID,),
            query=(_WAIT, _ACCEPT, REASON),
            refusals=(404, 501, 503, 504),
            audit="all",
        ),
        Row(
            "undrainNode",
            "POST",
            "/v1/nodes/{id:text}/undrain",
            NodeEndpoints.undrain,
            "nodes:write",
            "Has a drained node serve again.",
            {
                200: Answer("It serves.", (shapes.Node,)),
                202: Answer("It has begun; when `wait` was over it was not done.", (shapes.Node,)),
            },
            in_path=(_ID,),
            query=(_WAIT, REASON),
            refusals=(404, 501, 503, 504),
            audit="all",
        ),
        Row(
            "getNode",
            "GET",
            "/v1/nodes/{id:text}",
            NodeEndpoints.get,
            "nodes:inspect",
            "One connected node.",
            {200: Answer("The node.", (shapes.Node,))},
            in_path=(_ID,),
            refusals=(404,),
        ),
    ),
)
