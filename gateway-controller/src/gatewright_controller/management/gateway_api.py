"""The management API's /v1/gateway."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import msgspec
from gatewright_documents.values import JsonObject
from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from gatewright_controller.gateway.gateway_masks import masked_gateway
from gatewright_controller.gateway.gateways import GatewayChange, Gateways
from gatewright_controller.management.authors import REASON, TERMS, author_of, terms_of
from gatewright_controller.management.bodies import MEDIA_TYPES, ReadObject
from gatewright_controller.management.json_answer import JsonAnswer, shaped
from gatewright_controller.management.preconditions import ETAG, IF_MATCH, etag
from gatewright_controller.management.queries import DRY_RUN, WAIT, dry_run, wait
from gatewright_controller.management.revision_api import ROLLBACK, rollback_target
from gatewright_controller.management.rows import Answer, Body, Part, Row
from gatewright_controller.management.shapes import gateway as shapes
from gatewright_controller.management.shapes.apis import NodeStatus
from gatewright_controller.model import Gateway
from gatewright_controller.nodes.deployment import Deployment
from gatewright_controller.nodes.node import ApiStatus

ReadDocument = Callable[[Request], AbstractAsyncContextManager[JsonObject]]


class GatewayEndpoints:
    """Writes take `?wait=SECONDS`, as those of APIs do, and `?dry_run=true`: what they would change, and nothing done.

    Those of what is stored take `If-Match`.

    read: the document in a request's body; read_object: the JSON in it.
    """

    def __init__(self, gateways: Gateways, deployment: Deployment, read: ReadDocument, read_object: ReadObject) -> None:
        self._gateways, self._deployment = gateways, deployment
        self._read, self._read_object = read, read_object

    async def get(self, _: Request) -> Response:
        """`GET /v1/gateway`: the resource with its status; 404 where nodes listen on what each has by itself."""
        stored = self._gateways.current.stored
        headers = {"cache-control": "no-store", **({"etag": etag(stored.revision)} if stored else {})}
        return JsonAnswer(self._resource(self._deployment.gateway_status()), headers=headers)

    async def replace(self, request: Request) -> Response:
        """`PUT /v1/gateway`: the resource as it is now, and what has changed; 409 where a file says it, 422."""
        seconds, tried, terms = wait(request), dry_run(request), terms_of(request)
        async with self._read(request) as document:
            change = await self._gateways.replace(document, terms, dry_run=tried)
        return await self._change_response(change, seconds, tried)

    async def delete(self, request: Request) -> Response:
        """`DELETE /v1/gateway`: what was written is forgotten, and the run's own counts again; 404."""
        seconds = wait(request)
        await self._gateways.delete(terms_of(request))
        if seconds:
            await self._deployment.wait_until_gateway_converged(seconds)
        return Response(status_code=204)

    async def reload(self, request: Request) -> Response:
        """`POST /v1/gateway/reload`: the file is read again. Without a body."""
        seconds, tried = wait(request), dry_run(request)
        change = await self._gateways.reload(author_of(request), dry_run=tried)
        return await self._change_response(change, seconds, tried)

    async def roll_back(self, request: Request) -> Response:
        """The answer is that of `PUT`; 404, 409, 412, 422."""
        seconds, tried, terms = wait(request), dry_run(request), terms_of(request)
        revision = await rollback_target(request, self._read_object)
        change = await self._gateways.roll_back(revision, terms, dry_run=tried)
        return await self._change_response(change, seconds, tried)

    async def _change_response(self, change: GatewayChange, seconds: float, tried: bool) -> Response:
        changed = shaped(shapes.GatewayChange, change)
        if tried:
            return JsonAnswer(shapes.TriedGateway(status=shapes.TriedGatewayStatus(change=changed)))
        return JsonAnswer(self._resource(await self._deployment.wait_until_gateway_converged(seconds), changed))

    def _resource(self, status: ApiStatus, change: shapes.GatewayChange | UnsetType = UNSET) -> JsonObject:
        current = self._gateways.current
        stored = current.stored
        answer = shapes.GatewayStatus(
            state=status.state,
            reason=status.reason,
            origin=current.origin,
            restart=list(self._gateways.restart()),
            nodes=shaped(list[NodeStatus], status.nodes),
            unplaced=status.unplaced,
            certificates=msgspec.convert(self._gateways.certificates(), dict[str, shapes.ObtainedCertificate]),
            revision=stored.revision if stored else UNSET,
            updated_at=stored.updated_at if stored else UNSET,
            owner=(stored.owner if stored else "") or UNSET,
            change=change,
        )
        return {**masked_gateway(current.document), "status": answer}


_CHANGED = Answer("It is in use; with `dry_run`: what it would change.", (shapes.GatewayResource, shapes.TriedGateway))

PART = Part(
    "The Gateway",
    GatewayEndpoints,
    (
        Row(
            "getGateway",
            "GET",
            "/v1/gateway",
            GatewayEndpoints.get,
            "nodes:read",
            "What nodes listen on.",
            {200: Answer("The Gateway.", (shapes.GatewayResource,), headers=ETAG)},
            refusals=(404, 503),
        ),
        Row(
            "replaceGateway",
            "PUT",
            "/v1/gateway",
            GatewayEndpoints.replace,
            "gateway:write",
            "Changes what nodes listen on.",
            {200: _CHANGED},
            query=(WAIT, DRY_RUN, *TERMS),
            headers=(IF_MATCH,),
            body=Body((Gateway,), MEDIA_TYPES),
            refusals=(409, 412, 413, 415, 422, 503, 507),
        ),
        Row(
            "deleteGateway",
            "DELETE",
            "/v1/gateway",
            GatewayEndpoints.delete,
            "gateway:write",
            "Deletes the Gateway that was written here; that of the node's own run is in use again.",
            {204: Answer("It is deleted.")},
            query=(WAIT, *TERMS),
            headers=(IF_MATCH,),
            refusals=(404, 409, 412, 422, 503, 507),
        ),
        Row(
            "reloadGateway",
            "POST",
            "/v1/gateway/reload",
            GatewayEndpoints.reload,
            "gateway:write",
            "Reads the Gateway's file again.",
            {200: _CHANGED},
            query=(WAIT, DRY_RUN, REASON),
            refusals=(404, 422, 503),
            audit="all",
        ),
        Row(
            "rollBackGateway",
            "POST",
            "/v1/gateway/rollback",
            GatewayEndpoints.roll_back,
            "gateway:write",
            "Makes the Gateway what an older write had left.",
            {200: _CHANGED},
            query=(WAIT, DRY_RUN, *TERMS),
            headers=(IF_MATCH,),
            body=ROLLBACK,
            refusals=(404, 409, 412, 413, 422, 503, 507),
        ),
    ),
)
