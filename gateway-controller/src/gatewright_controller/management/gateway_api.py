"""The management API's /v1/gateway."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from gatewright_documents.values import JsonObject
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gatewright_controller.gateway.gateway_masks import masked_gateway
from gatewright_controller.gateway.gateways import GatewayChange, Gateways
from gatewright_controller.management.authors import author_of, terms_of
from gatewright_controller.management.preconditions import etag
from gatewright_controller.management.queries import dry_run, wait
from gatewright_controller.management.revision_api import rollback_target
from gatewright_controller.nodes.deployment import ApiStatus, Deployment

ReadDocument = Callable[[Request], AbstractAsyncContextManager[JsonObject]]
ReadObject = Callable[[Request], Awaitable[JsonObject]]


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
        resource = self._resource(self._deployment.gateway_status())
        stored = self._gateways.current.stored
        return JSONResponse(resource, headers={"etag": etag(stored.revision)} if stored else None)

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
        """`POST /v1/gateway/rollback` with `{"revision": 3}`: the answer is that of `PUT`; 404, 409, 412, 422."""
        seconds, tried, terms = wait(request), dry_run(request), terms_of(request)
        revision = await rollback_target(request, self._read_object)
        change = await self._gateways.roll_back(revision, terms, dry_run=tried)
        return await self._change_response(change, seconds, tried)

    async def _change_response(self, change: GatewayChange, seconds: float, tried: bool) -> Response:
        answer = dataclasses.asdict(change)
        if tried:
            return JSONResponse({"status": {"change": answer}})
        resource = self._resource(await self._deployment.wait_until_gateway_converged(seconds))
        return JSONResponse({**resource, "status": {**resource["status"], "change": answer}})

    def _resource(self, status: ApiStatus) -> JsonObject:
        current = self._gateways.current
        stored = current.stored
        written = {"revision": stored.revision, "updatedAt": stored.updated_at} if stored else {}
        written |= {"owner": stored.owner} if stored and stored.owner else {}
        answer: JsonObject = {
            "state": status.state,
            "reason": status.reason,
            "origin": current.origin,
            "restart": list(self._gateways.restart()),
            "nodes": [dataclasses.asdict(node) for node in status.nodes],
            "certificates": self._gateways.certificates(),
        }
        return {**masked_gateway(current.document), "status": {**answer, **written}}
