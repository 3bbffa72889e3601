"""The management API's /v1/apis.

Writes, and the list, take `?wait=SECONDS`: the answer then comes when the nodes have acknowledged or refused what is
asked for, or time is up. Those with a body take `?dry_run=true`: what they would change, and nothing done. Those of an
API that is there take `If-Match`: 412 where it is another by now.
"""

from __future__ import annotations

import asyncio

from gatewright_documents.mistake import Invalid, Mistake
from gatewright_documents.values import JsonObject
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from gatewright_controller.apis.api_change import TriedWrite, change_of
from gatewright_controller.apis.controller import Controller
from gatewright_controller.management.accept import YAML, prefers_yaml
from gatewright_controller.management.api_filters import API_FILTERS, ApiFilter
from gatewright_controller.management.authors import TERMS, terms_of
from gatewright_controller.management.bodies import MEDIA_TYPES, Bodies
from gatewright_controller.management.callers import permit_of
from gatewright_controller.management.json_answer import JsonAnswer, shaped
from gatewright_controller.management.pages import PAGED, read_page
from gatewright_controller.management.preconditions import ETAG, IF_MATCH, etag
from gatewright_controller.management.queries import DRY_RUN, WAIT, dry_run
from gatewright_controller.management.queries import wait as wait_seconds
from gatewright_controller.management.revision_api import ROLLBACK, rollback_target
from gatewright_controller.management.rows import JSON, Answer, Body, Parameter, Part, Row
from gatewright_controller.management.shapes import apis as shapes
from gatewright_controller.model import Api
from gatewright_controller.nodes.node import ApiStatus
from gatewright_controller.resource.api_text import api_text
from gatewright_controller.resource.secrets import masked
from gatewright_controller.resource.versions import Versions, attachments
from gatewright_controller.store import StoredApi


class ApiEndpoints:
    """Reads and writes of APIs."""

    def __init__(self, controller: Controller, bodies: Bodies) -> None:
        self._controller, self._bodies = controller, bodies
        self._deployment = controller.deployment

    async def list(self, request: Request) -> Response:
        """By name, secrets masked."""
        asked, permit = ApiFilter.of(request), permit_of(request)
        await self._deployment.wait_until_all_converged(wait_seconds(request))

        def fits(stored: StoredApi) -> bool:
            return permit.covers(stored.api) and asked.fits(stored, lambda: self._deployment.status(stored.name).state)

        page = await read_page(request, self._controller.list, fits, lambda stored: stored.name)
        return JsonAnswer(page.answer("apis", self._resource))

    async def create(self, request: Request) -> Response:
        """201 with the resource and its Location; 400, 409, 415, 422 with what is wrong."""
        wait, tried, terms = wait_seconds(request), dry_run(request), terms_of(request)
        async with self._bodies.document(request) as document:
            if tried:
                return await self._would_be(await self._controller.try_create(document, terms))
            stored = await self._controller.create(document, terms)
        location = {"location": f"/v1/apis/{stored.name}"}
        return JsonAnswer(await self._resource_after(stored, wait), 201, location)

    async def get(self, request: Request) -> Response:
        """The resource, secrets masked, with its status; as YAML without. 404."""
        stored = await self._permitted(request)
        headers = {"etag": etag(stored.revision), "cache-control": "no-store", "vary": "accept"}
        if not prefers_yaml(request.headers.get("accept", "")):
            return JsonAnswer(self._resource(stored), headers=headers)
        text = await asyncio.to_thread(lambda: api_text(self._shown(stored)))
        return Response(text, headers=headers, media_type=YAML)

    async def replace(self, request: Request) -> Response:
        """The resource as it is now. A mask stands for the secret that is stored at its place."""
        wait, tried, name = wait_seconds(request), dry_run(request), request.path_params["name"]
        terms = terms_of(request)
        await self._permitted(request)
        async with self._bodies.document(request) as document:
            _refuse_rename(document, name)
            if tried:
                return await self._would_be(await self._controller.try_replace(document, terms))
            stored = await self._controller.replace(document, terms)
        return JsonAnswer(await self._resource_after(stored, wait))

    async def delete(self, request: Request) -> Response:
        """204; with `wait` 202 where a node still runs it when time is up."""
        wait, name = wait_seconds(request), request.path_params["name"]
        await self._controller.delete(name, terms_of(request))
        if wait and not await self._deployment.wait_until_removed([name], wait):
            return JsonAnswer(shapes.Removal(state="pending", reason="not every node has removed it yet"), 202)
        return Response(status_code=204)

    async def roll_back(self, request: Request) -> Response:
        """The resource, as that revision left it, is its newest revision; also one that was deleted. 404, 409, 412, 422
        with what no longer fits."""
        wait, tried, name = wait_seconds(request), dry_run(request), request.path_params["name"]
        terms, revision = terms_of(request), await rollback_target(request, self._bodies.json_object)
        if tried:
            return await self._would_be(await self._controller.try_roll_back(name, revision, terms))
        stored = await self._controller.roll_back(name, revision, terms)
        return JsonAnswer(await self._resource_after(stored, wait))

    async def status(self, request: Request) -> Response:
        """Its state, and that of each connected node."""
        stored = await self._permitted(request)
        return JsonAnswer(_status(self._deployment.status(stored.name), stored))

    async def _permitted(self, request: Request) -> StoredApi:
        """The API that the request names. Raises `NoSuchApiError`, `NotPermittedError`."""
        stored = await self._controller.get(request.path_params["name"])
        permit_of(request).refuse_others(stored.api)
        return stored

    def _resource(self, stored: StoredApi) -> JsonObject:
        return {**self._shown(stored), "status": _status(self._deployment.status(stored.name), stored)}

    async def _resource_after(self, stored: StoredApi, wait: float) -> JsonObject:
        status = await self._deployment.wait_until_converged(stored.name, wait)
        return {**self._shown(stored), "status": _status(status, stored)}

    async def _would_be(self, tried: TriedWrite) -> Response:
        """What a write that was not done would have answered, and changed."""
        definitions = self._controller.definitions
        change = await asyncio.to_thread(change_of, tried, definitions)
        policies = _policies(tried.api, tried.versions)
        status = shapes.TriedApiStatus(policies=policies, change=shaped(shapes.ApiChange, change))
        return JsonAnswer({**masked(tried.api, tried.versions, definitions), "status": status})

    def _shown(self, stored: StoredApi) -> JsonObject:
        return masked(stored.api, stored.versions, self._controller.definitions)


def _refuse_rename(document: JsonObject, name: str) -> None:
    metadata = document.get("metadata")
    written = metadata.get("name") if isinstance(metadata, dict) else None
    if isinstance(written, str) and written != name:
        raise Invalid(
            [Mistake("metadata.name", f"expected {name!r} as in the URL, got {written!r}; names do not change")]
        )


def _status(status: ApiStatus, stored: StoredApi) -> shapes.ApiStatus:
    return shapes.ApiStatus(
        state=status.state,
        reason=status.reason,
        revision=stored.revision,
        created_at=stored.created_at,
        updated_at=stored.updated_at,
        owner=stored.owner or UNSET,
        nodes=shaped(list[shapes.NodeStatus], status.nodes),
        unplaced=status.unplaced,
        policies=_policies(stored.api, stored.versions),
    )


def _policies(api: Api, versions: Versions) -> list[shapes.AttachedPolicy]:
    return [
        shapes.AttachedPolicy(field=field, name=attachment.name, asked=attachment.version, version=version)
        for (field, attachment), version in zip(attachments(api), versions, strict=True)
    ]


_NAME = Parameter("name", {"type": "string"}, "Of the API.")
_TRIED = Answer("With `dry_run`: what it would be, and change.", (shapes.TriedApi,))
_WRITTEN = Body((Api,), MEDIA_TYPES)
_MUST_BE_STORED = (503, 507)

PART = Part(
    "APIs",
    ApiEndpoints,
    (
        Row(
            "listApis",
            "GET",
            "/v1/apis",
            ApiEndpoints.list,
            "apis:read",
            "The APIs, by name.",
            {200: Answer("The APIs.", (shapes.ApiList,))},
            query=(WAIT, *API_FILTERS, *PAGED),
            refusals=(503,),
        ),
        Row(
            "createApi",
            "POST",
            "/v1/apis",
            ApiEndpoints.create,
            "apis:write",
            "Creates an API.",
            {200: _TRIED, 201: Answer("It is stored.", (shapes.ApiResource,), headers={"location": "Of the API."})},
            query=(WAIT, DRY_RUN, *TERMS),
            body=_WRITTEN,
            refusals=(409, 413, 415, 422, *_MUST_BE_STORED),
        ),
        Row(
            "getApi",
            "GET",
            "/v1/apis/{name}",
            ApiEndpoints.get,
            "apis:read",
            "One API; as YAML without its status, for an `Accept` that prefers YAML.",
            {200: Answer("The API.", (shapes.ApiResource,), (JSON, YAML), ETAG)},
            in_path=(_NAME,),
            refusals=(404, 503),
        ),
        Row(
            "replaceApi",
            "PUT",
            "/v1/apis/{name}",
            ApiEndpoints.replace,
            "apis:write",
            "Changes an API; a mask stands for the secret that is stored at its place.",
            {
                200: Answer(
                    "It is stored; with `dry_run`: what it would be, and change.", (shapes.ApiResource, shapes.TriedApi)
                )
            },
            in_path=(_NAME,),
            query=(WAIT, DRY_RUN, *TERMS),
            headers=(IF_MATCH,),
            body=_WRITTEN,
            refusals=(404, 409, 412, 413, 415, 422, *_MUST_BE_STORED),
        ),
        Row(
            "deleteApi",
            "DELETE",
            "/v1/apis/{name}",
            ApiEndpoints.delete,
            "apis:write",
            "Deletes an API.",
            {
                202: Answer("It is deleted; when `wait` was over a node still served it.", (shapes.Removal,)),
                204: Answer("It is deleted."),
            },
            in_path=(_NAME,),
            query=(WAIT, *TERMS),
            headers=(IF_MATCH,),
            refusals=(404, 409, 412, *_MUST_BE_STORED),
        ),
        Row(
            "rollBackApi",
            "POST",
            "/v1/apis/{name}/rollback",
            ApiEndpoints.roll_back,
            "apis:write",
            "Makes an API what an older write had left; also one that was deleted.",
            {
                200: Answer(
                    "It is stored; with `dry_run`: what it would be, and change.", (shapes.ApiResource, shapes.TriedApi)
                )
            },
            in_path=(_NAME,),
            query=(WAIT, DRY_RUN, *TERMS),
            headers=(IF_MATCH,),
            body=ROLLBACK,
            refusals=(404, 409, 412, 413, 422, *_MUST_BE_STORED),
        ),
        Row(
            "getApiStatus",
            "GET",
            "/v1/apis/{name}/status",
            ApiEndpoints.status,
            "apis:read",
            "What has become of an API, on each connected node.",
            {200: Answer("Its status.", (shapes.ApiStatus,))},
            in_path=(_NAME,),
            refusals=(404, 503),
        ),
    ),
)
