"""The management API: /v1/apis, /v1/gateway, /v1/policies, /v1/nodes, /v1/exchanges, /v1/recordings, /v1/log-level,
/v1/requests.

Beside it /healthz, /metrics, and the Inspector at /.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar

from gatewright_documents.json_reader import line_tree, parse_json
from gatewright_documents.mistake import Invalid, Mistake
from gatewright_documents.values import JsonObject, JsonValue
from gatewright_documents.yaml_reader import parse_yaml
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gatewright_controller import API_DOCUMENT
from gatewright_controller.apis.api_change import TriedWrite, change_of
from gatewright_controller.apis.api_source import ApiSource
from gatewright_controller.apis.controller import Controller, Prospect
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.inspector import inspector_routes
from gatewright_controller.local.metrics import CONTENT_TYPE_LATEST, ROUTE, Measured, Metrics
from gatewright_controller.management import exchange_api
from gatewright_controller.management.accept import YAML, YAML_TYPES, prefers_yaml
from gatewright_controller.management.access import Access
from gatewright_controller.management.authors import PARAMETERS as TERMS
from gatewright_controller.management.authors import terms_of
from gatewright_controller.management.exchange_api import ExchangeEndpoints, ExchangeTimes
from gatewright_controller.management.gateway_api import GatewayEndpoints
from gatewright_controller.management.json_body import bounded_body, json_body
from gatewright_controller.management.log_level_api import LogLevelEndpoints
from gatewright_controller.management.node_api import NodeEndpoints
from gatewright_controller.management.preconditions import etag
from gatewright_controller.management.problems import HANDLERS, Problem
from gatewright_controller.management.queries import dry_run
from gatewright_controller.management.queries import wait as wait_seconds
from gatewright_controller.management.request_api import RequestEndpoints, RequestLimits
from gatewright_controller.management.revision_api import RevisionEndpoints, rollback_target
from gatewright_controller.model import Api
from gatewright_controller.nodes.deployment import ApiStatus
from gatewright_controller.nodes.node_documents import DOCUMENTS, DocumentLimits, NodeDocuments
from gatewright_controller.nodes.observations import Observations
from gatewright_controller.nodes.watching import Watching
from gatewright_controller.resource.api_text import api_text
from gatewright_controller.resource.definitions import Definition
from gatewright_controller.resource.secrets import masked
from gatewright_controller.resource.versions import Versions, attachments
from gatewright_controller.store import StoredApi

_json, _yaml = partial(parse_json, expected=API_DOCUMENT), partial(parse_yaml, expected=API_DOCUMENT)
PARSERS: dict[str, Callable[[bytes], JsonObject]] = {
    "application/json": _json,
    **dict.fromkeys(YAML_TYPES, _yaml),
}
MAX_DEFINITIONS_BYTES = 32 * 1024 * 1024
T = TypeVar("T")
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclasses.dataclass(frozen=True)
class ApiLimits:
    """What clients may ask of nodes and listeners, and for how long."""

    documents: DocumentLimits = dataclasses.field(default_factory=DocumentLimits)
    exchanges: ExchangeTimes = dataclasses.field(default_factory=ExchangeTimes)
    requests: RequestLimits = dataclasses.field(default_factory=RequestLimits)


def create_app(
    controller: Controller,
    gateways: Gateways,
    *,
    token: str = "",
    max_request_bytes: int = 1024 * 1024,
    metrics: Metrics | None = None,
    watching: Watching | None = None,
    limits: ApiLimits = ApiLimits(),
) -> Starlette:
    """The ASGI application. An empty `token` asks for none, and is for loopback only."""
    endpoints = Endpoints(controller, max_request_bytes)
    metrics = metrics or Metrics(controller.deployment.states, lambda: len(controller.deployment.nodes))

    async def tell_metrics(_: Request) -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    gateway = GatewayEndpoints(gateways, controller.deployment, endpoints.document, endpoints.json_object)
    revisions = RevisionEndpoints(controller, gateways)
    log_level = LogLevelEndpoints(endpoints.json_object)
    watching = watching or Watching(Observations(controller.deployment))
    exchanges = ExchangeEndpoints(watching, controller, limits.exchanges)
    requests = RequestEndpoints(controller, gateways, watching, limits.requests)
    documents = NodeDocuments(watching.observations, controller.deployment, limits.documents)
    nodes = NodeEndpoints(controller.deployment, documents)
    return Starlette(
        routes=[
            _route("GET", "/healthz", endpoints.health),
            _route("GET", "/metrics", tell_metrics),
            _route("GET", "/v1/apis", endpoints.list_apis, "wait"),
            _route("POST", "/v1/apis", endpoints.create_api, "wait", "dry_run", *TERMS),
            _route("GET", "/v1/apis/{name}", endpoints.get_api),
            _route("PUT", "/v1/apis/{name}", endpoints.replace_api, "wait", "dry_run", *TERMS),
            _route("DELETE", "/v1/apis/{name}", endpoints.delete_api, "wait", *TERMS),
            _route("GET", "/v1/apis/{name}/status", endpoints.api_status),
            _route("GET", "/v1/apis/{name}/revisions", revisions.list_of_api, "limit", "before"),
            _route("GET", "/v1/apis/{name}/revisions/{revision}", revisions.api),
            _route("GET", "/v1/apis/{name}/diff", revisions.diff_of_api, "from", "to"),
            _route("POST", "/v1/apis/{name}/rollback", endpoints.roll_back_api, "wait", "dry_run", *TERMS),
            _route("GET", "/v1/policies", endpoints.list_policies),
            _route("POST", "/v1/policies/check", endpoints.check_policies),
            _route("POST", "/v1/policies/reload", endpoints.reload_policies, "wait", *TERMS),
            _route("GET", "/v1/nodes", nodes.list),
            *(_route("GET", f"/v1/nodes/{{id:path}}/{name}", partial(nodes.document, name)) for name in DOCUMENTS),
            _route("GET", "/v1/nodes/{id:path}", nodes.get),
            _route("GET", "/v1/log-level", log_level.get),
            _route("PUT", "/v1/log-level", log_level.replace),
            _route("GET", "/v1/gateway", gateway.get),
            _route("PUT", "/v1/gateway", gateway.replace, "wait", "dry_run", *TERMS),
            _route("DELETE", "/v1/gateway", gateway.delete, "wait", *TERMS),
            _route("POST", "/v1/gateway/reload", gateway.reload, "wait", "dry_run", "reason"),
            _route("GET", "/v1/gateway/revisions", revisions.list_of_gateway, "limit", "before"),
            _route("GET", "/v1/gateway/revisions/{revision}", revisions.gateway),
            _route("GET", "/v1/gateway/diff", revisions.diff_of_gateway, "from", "to"),
            _route("POST", "/v1/gateway/rollback", gateway.roll_back, "wait", "dry_run", *TERMS),
            _route("GET", "/v1/exchanges", exchanges.watch, *exchange_api.PARAMETERS),
            _route("GET", "/v1/exchanges/{id:path}", exchanges.get),
            _route("GET", "/v1/recordings", exchanges.list_recordings),
            _route("POST", "/v1/recordings", exchanges.record),
            _route("GET", "/v1/recordings/{id}", exchanges.get_recording),
            _route("DELETE", "/v1/recordings/{id}", exchanges.end_recording),
            _route("POST", "/v1/requests", requests.send),
            *inspector_routes(),
        ],
        middleware=[Middleware(Measured, metrics=metrics), Middleware(Access, token=token)],
        exception_handlers=HANDLERS,
    )


def _route(method: str, path: str, endpoint: Endpoint, *parameters: str) -> Route:
    """A route that refuses any query parameter but these: one that is misspelt would seem to have worked."""

    async def checked(request: Request) -> Response:
        request.scope[ROUTE] = path
        if unknown := sorted(set(request.query_params) - set(parameters)):
            known = ", ".join(parameters) or "none"
            raise Problem(400, f"expected no query parameter {', '.join(unknown)}; known here are {known}")
        return await endpoint(request)

    return Route(path, checked, methods=[method])


class Endpoints:
    """Writes, and the list of all, take `?wait=SECONDS`: the answer then comes when the nodes have acknowledged or
    refused what is asked for, or time is up. Those with a body take `?dry_run=true`: what they would change, and
    nothing done. Those of an API that is there take `If-Match`: 412 where it is another by now."""

    def __init__(self, controller: Controller, max_request_bytes: int) -> None:
        self._controller = controller
        self._deployment = controller.deployment
        self._max_request_bytes = max_request_bytes
        self._one_reader = asyncio.Semaphore(1)

    async def health(self, _: Request) -> Response:
        """`GET /healthz`: 200 while the process answers."""
        return JSONResponse({"status": "ok"})

    async def list_apis(self, request: Request) -> Response:
        """`GET /v1/apis`: `{"apis": [resource, …]}`, by name, secrets masked."""
        await self._deployment.wait_until_all_converged(wait_seconds(request))
        return JSONResponse({"apis": [self._resource(stored) for stored in await self._controller.list()]})

    async def create_api(self, request: Request) -> Response:
        """`POST /v1/apis`: 201 with the resource and its Location; 400, 409, 415, 422 with what is wrong."""
        wait, tried, terms = wait_seconds(request), dry_run(request), terms_of(request)
        async with self.document(request) as document:
            if tried:
                return await self._would_be(await self._controller.try_create(document))
            stored = await self._controller.create(document, terms)
        location = {"location": f"/v1/apis/{stored.name}"}
        return JSONResponse(await self._resource_after(stored, wait), 201, location)

    async def get_api(self, request: Request) -> Response:
        """`GET /v1/apis/NAME`: the resource, secrets masked, with its status; as YAML without. 404."""
        stored = await self._controller.get(request.path_params["name"])
        headers = {"etag": etag(stored.revision), "cache-control": "no-store", "vary": "accept"}
        if not prefers_yaml(request.headers.get("accept", "")):
            return JSONResponse(self._resource(stored), headers=headers)
        text = await asyncio.to_thread(lambda: api_text(self._shown(stored)))
        return Response(text, headers=headers, media_type=YAML)

    async def replace_api(self, request: Request) -> Response:
        """`PUT /v1/apis/NAME`: the resource as it is now. A mask stands for the secret that is stored at its place."""
        wait, tried, name = wait_seconds(request), dry_run(request), request.path_params["name"]
        terms = terms_of(request)
        await self._controller.get(name)
        async with self.document(request) as document:
            _refuse_rename(document, name)
            if tried:
                return await self._would_be(await self._controller.try_replace(document, terms))
            stored = await self._controller.replace(document, terms)
        return JSONResponse(await self._resource_after(stored, wait))

    async def delete_api(self, request: Request) -> Response:
        """`DELETE /v1/apis/NAME`: 204; with `wait` 202 where a node still runs it when time is up."""
        wait, name = wait_seconds(request), request.path_params["name"]
        await self._controller.delete(name, terms_of(request))
        if wait and not await self._deployment.wait_until_removed(name, wait):
            return JSONResponse({"state": "pending", "reason": "not every node has removed it yet"}, 202)
        return Response(status_code=204)

    async def roll_back_api(self, request: Request) -> Response:
        """`POST /v1/apis/NAME/rollback` with `{"revision": 3}`: the resource, as that revision left it, is its newest
        revision; also one that was deleted. 404, 409, 412, 422 with what no longer fits."""
        wait, tried, name = wait_seconds(request), dry_run(request), request.path_params["name"]
        terms, revision = terms_of(request), await rollback_target(request, self.json_object)
        if tried:
            return await self._would_be(await self._controller.try_roll_back(name, revision, terms))
        stored = await self._controller.roll_back(name, revision, terms)
        return JSONResponse(await self._resource_after(stored, wait))

    async def api_status(self, request: Request) -> Response:
        """`GET /v1/apis/NAME/status`: its state, and that of each connected node."""
        stored = await self._controller.get(request.path_params["name"])
        return JSONResponse(_status(self._deployment.status(stored.name), stored))

    async def list_policies(self, _: Request) -> Response:
        """`GET /v1/policies`: those that APIs can attach, with their schemas."""
        return JSONResponse({"policies": [_policy(definition) for definition in self._controller.definitions]})

    async def reload_policies(self, request: Request) -> Response:
        """The definitions folder is read again; {"apis": […]} in the body, if there is one, is written with it."""
        wait, terms = wait_seconds(request), terms_of(request)
        sources = await self._sources(await self._policies_body(request)) if _has_body(request) else []
        prospect = await self._controller.reload_definitions(sources, terms)
        waits = (self._deployment.wait_until_converged(name, wait, changing=True) for name in prospect.apis)
        statuses = await asyncio.gather(*waits)
        return JSONResponse(_prospect(prospect, dict(zip(prospect.apis, statuses, strict=True))))

    async def check_policies(self, request: Request) -> Response:
        """What `reload` would do with the definitions, and the APIs, in the body."""
        document = await self._policies_body(request)
        texts = document.get("definitions")
        if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
            raise Problem(422, 'expected {"definitions": {FILE: TEXT}}')
        found = {name: text.encode() for name, text in texts.items()}
        sources = await self._sources(document)
        return JSONResponse(_prospect(await self._controller.check_definitions(found, sources), {}))

    async def _policies_body(self, request: Request) -> JsonObject:
        return await self._reading(parse_json, await json_body(request, MAX_DEFINITIONS_BYTES))

    async def _sources(self, document: JsonObject) -> list[ApiSource]:
        """The APIs in a body, none where it names none."""
        found = document.get("apis", [])
        if not isinstance(found, list) or not all(map(_is_source, found)):
            raise Problem(422, 'expected "apis": [{"file": FILE, "text": TEXT}, …]')
        sources = [ApiSource(source["file"], source["text"].encode()) for source in found]
        if long := [source.file for source in sources if len(source.text) > self._max_request_bytes]:
            raise Problem(413, f"expected APIs of at most {self._max_request_bytes} bytes each, got more in {long[0]}")
        return sources

    @contextlib.asynccontextmanager
    async def document(self, request: Request) -> AsyncIterator[JsonObject]:
        """The document in the body. Mistakes that are found in it are reported with their lines."""
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in PARSERS:
            raise Problem(415, f"expected a Content-Type of {', '.join(PARSERS)}, got {media_type or 'none'}")
        parse, body = PARSERS[media_type], await bounded_body(request, self._max_request_bytes)
        document = await self._reading(parse, body)
        document.pop("status", None)  # the controller's; a client that sends back what it got changes nothing by it
        try:
            yield document
        except Invalid as invalid:
            where = await self._reading(line_tree, body)
            raise invalid.located(where.line_of) from None

    async def json_object(self, request: Request) -> JsonObject:
        """The body, whatever its content type."""
        return await self._reading(parse_json, await bounded_body(request, self._max_request_bytes))

    async def _reading(self, read: Callable[[bytes], T], body: bytes) -> T:
        """One body after the other, beside the event loop: it shares the interpreter with one reader, not with many."""
        async with self._one_reader:
            return await asyncio.to_thread(read, body)

    def _resource(self, stored: StoredApi) -> JsonObject:
        return {**self._shown(stored), "status": _status(self._deployment.status(stored.name), stored)}

    async def _resource_after(self, stored: StoredApi, wait: float) -> JsonObject:
        status = await self._deployment.wait_until_converged(stored.name, wait)
        return {**self._shown(stored), "status": _status(status, stored)}

    async def _would_be(self, tried: TriedWrite) -> Response:
        """What a write that was not done would have answered, and changed."""
        definitions = self._controller.definitions
        change = await asyncio.to_thread(change_of, tried, definitions)
        status = {"policies": _policies(tried.api, tried.versions), "change": dataclasses.asdict(change)}
        return JSONResponse({**masked(tried.api, tried.versions, definitions), "status": status})

    def _shown(self, stored: StoredApi) -> JsonObject:
        return masked(stored.api, stored.versions, self._controller.definitions)


def _has_body(request: Request) -> bool:
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


def _is_source(value: JsonValue) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("file", "text"))


def _refuse_rename(document: JsonObject, name: str) -> None:
    metadata = document.get("metadata")
    written = metadata.get("name") if isinstance(metadata, dict) else None
    if isinstance(written, str) and written != name:
        raise Invalid(
            [Mistake("metadata.name", f"expected {name!r} as in the URL, got {written!r}; names do not change")]
        )


def _status(status: ApiStatus, stored: StoredApi) -> JsonObject:
    nodes = [dataclasses.asdict(node) for node in status.nodes]
    times = {"createdAt": stored.created_at, "updatedAt": stored.updated_at}
    document: JsonObject = {"state": status.state, "reason": status.reason, "revision": stored.revision, **times}
    document |= {"owner": stored.owner} if stored.owner else {}
    return {**document, "nodes": nodes, "policies": _policies(stored.api, stored.versions)}


def _policies(api: Api, versions: Versions) -> list[JsonObject]:
    return [
        {"field": field, "name": attachment.name, "asked": attachment.version, "version": version}
        for (field, attachment), version in zip(attachments(api), versions, strict=True)
    ]


def _prospect(prospect: Prospect, apis: Mapping[str, ApiStatus]) -> JsonObject:
    """`moved`: attachments that get another version; `apis`: what has become of those concerned."""
    return {
        **dataclasses.asdict(prospect.changes),
        "moved": [dataclasses.asdict(move) for move in prospect.moves],
        "apis": [
            {"name": name, "state": status.state, "reason": status.reason} for name, status in sorted(apis.items())
        ],
    }


def _policy(definition: Definition) -> JsonObject:
    policy = definition.policy
    mode = policy.processing_mode
    return {
        "name": policy.name,
        "version": policy.version,
        "displayName": policy.display_name,
        "description": policy.description,
        "runtime": policy.runtime,
        "processingMode": {
            "requestHeaderMode": mode.request_header_mode,
            "requestBodyMode": mode.request_body_mode,
            "responseHeaderMode": mode.response_header_mode,
            "responseBodyMode": mode.response_body_mode,
        },
        "allowContinue": policy.allow_continue,
        "parameters": definition.parameters.document,
        "definitionDigest": definition.digest,
    }
