"""The management API of every kind of `kinds`: its rows, as those of APIs, at `/v1/PLURAL`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from gatewright_documents.mistake import Invalid, Mistake
from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_writer import yaml_text
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from gatewright_controller.kinds import KINDS, Kind, Resources
from gatewright_controller.kinds.resources import ResourceChange
from gatewright_controller.management.accept import YAML, prefers_yaml
from gatewright_controller.management.api_filters import LABEL, OWNED_BY, ResourceFilter
from gatewright_controller.management.authors import TERMS, terms_of
from gatewright_controller.management.bodies import MEDIA_TYPES, Bodies
from gatewright_controller.management.callers import permit_of
from gatewright_controller.management.json_answer import JsonAnswer
from gatewright_controller.management.pages import NAME, NEWEST, PAGED, page_of, read_page
from gatewright_controller.management.preconditions import ETAG, IF_MATCH, etag
from gatewright_controller.management.queries import DRY_RUN, dry_run
from gatewright_controller.management.resource_shapes import KindShapes, ResourceUsers, TriedStatus
from gatewright_controller.management.resource_shapes import ResourceChange as ShapedChange
from gatewright_controller.management.resource_shapes import ResourceUser as ShapedUser
from gatewright_controller.management.revision_api import (
    BEFORE,
    COMPARED,
    DIFFERENT,
    LISTED,
    REVISION,
    ROLLBACK,
    Shown,
    answer_diff,
    answer_list,
    asked_revisions,
    revision_of,
    rollback_target,
    show,
)
from gatewright_controller.management.rows import JSON, Answer, Body, Parameter, Part, Row
from gatewright_controller.store import PastResource, StoredResource


class ResourceEndpoints:
    """Reads and writes of the resources of one kind."""

    def __init__(self, resources: Resources, bodies: Bodies) -> None:
        self._resources, self._kind, self._bodies = resources, resources.kind, bodies

    async def list(self, request: Request) -> Response:
        """By name."""
        asked, permit = ResourceFilter.of(request), permit_of(request)

        def fits(stored: StoredResource) -> bool:
            labels = stored.document["metadata"].get("labels", {})
            return permit.covers_resource(stored.document) and asked.fits(stored.name, stored.owner, labels)

        page = await read_page(request, self._resources.list, fits, lambda stored: stored.name)
        answer = await asyncio.to_thread(page.answer, self._kind.plural, self._resource)
        return JsonAnswer(answer, headers={"cache-control": "no-store"})

    async def get(self, request: Request) -> Response:
        """The resource with its status; as YAML without. 404."""
        stored = await self._permitted(request)
        headers = {"etag": etag(stored.revision), "cache-control": "no-store", "vary": "accept"}
        if not prefers_yaml(request.headers.get("accept", "")):
            return JsonAnswer(await asyncio.to_thread(self._resource, stored), headers=headers)
        return Response(yaml_text(self._kind.show(stored.document)), headers=headers, media_type=YAML)

    async def put(self, request: Request) -> Response:
        """200, or 201 where there was none; 409, 412, 415, 422."""
        tried, terms, name = dry_run(request), terms_of(request), request.path_params["name"]
        async with self._bodies.document(request, hides_values=self._kind.hides_values) as document:
            _refuse_rename(document, name)
            if tried:
                return self._would_be(*await self._resources.try_put(document, terms))
            stored, change = await self._resources.put(document, terms)
        return await self._written(stored, 201 if change.action == "created" else 200)

    async def delete(self, request: Request) -> Response:
        """204; 404, 422 where an API needs it."""
        await self._resources.delete(request.path_params["name"], terms_of(request))
        return Response(status_code=204)

    async def roll_back(self, request: Request) -> Response:
        """The resource, as that revision left it, is its newest revision; also one that was deleted."""
        tried, terms, name = dry_run(request), terms_of(request), request.path_params["name"]
        revision = await rollback_target(request, self._bodies.json_object)
        if tried:
            return self._would_be(*await self._resources.try_roll_back(name, revision, terms))
        stored, _ = await self._resources.roll_back(name, revision, terms)
        return await self._written(stored, 200)

    async def revisions(self, request: Request) -> Response:
        """The newest first; also of one that was deleted. 404."""
        name = request.path_params["name"]
        await self._refuse_others(request, name)
        return await answer_list(request, partial(self._resources.history, name))

    async def revision(self, request: Request) -> Response:
        """As it was; as YAML without its entry. 404, also where it was gone then."""
        name = request.path_params["name"]
        await self._refuse_others(request, name)
        past = await self._resources.past(name, revision_of(request))
        _refuse_other(request, past)
        document = self._kind.show(past.document) if past.document else None
        return show(request, Shown(past.entry, document, yaml_text(document) if document else ""))

    async def diff(self, request: Request) -> Response:
        """Unified. Without `from` it is the revision before the newest, without `to` the newest."""
        name = request.path_params["name"]
        await self._refuse_others(request, name)
        before, after = [await self._resources.past(name, revision) for revision in asked_revisions(request)]
        for past in (before, after):
            _refuse_other(request, past)
        return answer_diff(before.entry, after.entry, await self._resources.diff(before, after))

    async def users(self, request: Request) -> Response:
        """By kind and name. 404."""
        users = await self._resources.users(request.path_params["name"], permit_of(request))
        page = page_of(request, users, "/".join)
        answer = page.answer("users", lambda user: ShapedUser(kind=user.kind, name=user.name))
        return JsonAnswer(answer, headers={"cache-control": "no-store"})

    async def _permitted(self, request: Request) -> StoredResource:
        """The one that the request names. Raises `NoSuchResourceError`, `NotPermittedError`."""
        stored = await self._resources.get(request.path_params["name"])
        permit_of(request).refuse_other_resources(self._kind.name, stored.document)
        return stored

    async def _refuse_others(self, request: Request, name: str) -> None:
        """By what the resource is now, or was before it was deleted. Raises `NotPermittedError`,
        `NoSuchRevisionError`."""
        if permit_of(request).apis is None:
            return
        newest = await self._resources.past(name, 0)
        _refuse_other(request, newest if newest.document else await self._resources.past(name, -1))

    async def _written(self, stored: StoredResource, status: int) -> Response:
        location = {"location": f"/v1/{self._kind.plural}/{stored.name}"} if status == 201 else {}
        return JsonAnswer(await asyncio.to_thread(self._resource, stored), status, location)

    def _resource(self, stored: StoredResource) -> JsonObject:
        status = self._kind.status_shape(
            revision=stored.revision,
            created_at=stored.created_at,
            updated_at=stored.updated_at,
            owner=stored.owner or UNSET,
            **self._kind.status(stored),
        )
        return {**self._kind.show(stored.document), "status": status}

    def _would_be(self, kept: JsonObject, change: ResourceChange) -> Response:
        shaped = ShapedChange(kind=change.action, revision=change.revision, diff=change.diff)
        return JsonAnswer({**self._kind.show(kept), "status": TriedStatus(change=shaped)})


def _refuse_rename(document: JsonObject, name: str) -> None:
    metadata = document.get("metadata")
    written = metadata.get("name") if isinstance(metadata, dict) else None
    if isinstance(written, str) and written != name:
        raise Invalid([Mistake.expecting(f"{name!r} as in the URL", repr(written), field="metadata.name")])


def _refuse_other(request: Request, past: PastResource) -> None:
    """Raises `NotPermittedError`."""
    if past.document:
        permit_of(request).refuse_other_resources(past.entry.kind, past.document)


def part_of(kind: type[Kind]) -> Part:
    """The rows of a kind, with a class of endpoints of their own."""
    endpoints, shapes = type(f"{kind.name}Endpoints", (ResourceEndpoints,), {}), KindShapes(kind)
    return Part(kind.plural_name(), endpoints, (*_rows(kind, shapes), *_history_rows(kind, shapes)))


_MUST_BE_STORED = (503, 507)


def _rows(kind: type[Kind], shapes: KindShapes) -> Sequence[Row]:
    name, path, named = kind.name, f"/v1/{kind.plural}", f"/v1/{kind.plural}/{{name}}"
    in_path = (_named(kind),)
    done = Answer("It is stored; with `dry_run`: what it would be, and change.", (shapes.resource, shapes.tried))
    return (
        Row(
            f"list{kind.plural_name()}",
            "GET",
            path,
            ResourceEndpoints.list,
            kind.read,
            f"The {kind.plural_name()}, by name.",
            {200: Answer(f"The {kind.plural_name()}.", (shapes.listed,))},
            query=(NAME, OWNED_BY, LABEL, *PAGED),
            refusals=(503,),
        ),
        Row(
            f"get{name}",
            "GET",
            named,
            ResourceEndpoints.get,
            kind.read,
            f"One {name}; as YAML without its status, for an `Accept` that prefers YAML.",
            {200: Answer(f"The {name}.", (shapes.resource,), (JSON, YAML), ETAG)},
            in_path=in_path,
            refusals=(404, 503),
        ),
        Row(
            f"put{name}",
            "PUT",
            named,
            ResourceEndpoints.put,
            kind.write,
            f"Creates or changes a {name}; a mask stands for the value that is stored at its place.",
            {200: done, 201: Answer("It is stored.", (shapes.resource,), headers={"location": f"Of the {name}."})},
            in_path=in_path,
            query=(DRY_RUN, *TERMS),
            headers=(IF_MATCH,),
            body=Body((kind.model,), MEDIA_TYPES),
            refusals=(409, 412, 413, 415, 422, *_MUST_BE_STORED),
        ),
        Row(
            f"delete{name}",
            "DELETE",
            named,
            ResourceEndpoints.delete,
            kind.write,
            f"Deletes a {name} that no API needs.",
            {204: Answer("It is deleted.")},
            in_path=in_path,
            query=TERMS,
            headers=(IF_MATCH,),
            refusals=(404, 409, 412, 422, *_MUST_BE_STORED),
        ),
        Row(
            f"rollBack{name}",
            "POST",
            f"{named}/rollback",
            ResourceEndpoints.roll_back,
            kind.write,
            f"Makes a {name} what an older write had left; also one that was deleted.",
            {200: done},
            in_path=in_path,
            query=(DRY_RUN, *TERMS),
            headers=(IF_MATCH,),
            body=ROLLBACK,
            refusals=(404, 409, 412, 413, 422, *_MUST_BE_STORED),
        ),
    )


def _history_rows(kind: type[Kind], shapes: KindShapes) -> Sequence[Row]:
    name, named, in_path = kind.name, f"/v1/{kind.plural}/{{name}}", (_named(kind),)
    return (
        Row(
            f"list{name}Revisions",
            "GET",
            f"{named}/revisions",
            ResourceEndpoints.revisions,
            kind.read,
            f"Who wrote a {name}, when and why; also one that was deleted.",
            LISTED,
            in_path=in_path,
            query=(NEWEST, BEFORE),
            refusals=(404, 503),
        ),
        Row(
            f"get{name}Revision",
            "GET",
            f"{named}/revisions/{{revision}}",
            ResourceEndpoints.revision,
            kind.read,
            f"A {name} as a write left it; as YAML without that write's entry, for an `Accept` that prefers YAML.",
            {200: Answer(f"The {name}.", (shapes.past,), (JSON, YAML), ETAG)},
            in_path=(*in_path, REVISION),
            refusals=(404, 503),
        ),
        Row(
            f"list{name}Users",
            "GET",
            f"{named}/users",
            ResourceEndpoints.users,
            kind.read,
            f"What uses a {name}, as far as the caller may see it.",
            {200: Answer("By kind and name.", (ResourceUsers,))},
            in_path=in_path,
            query=PAGED,
            refusals=(404, 503),
        ),
        Row(
            f"diff{name}",
            "GET",
            f"{named}/diff",
            ResourceEndpoints.diff,
            kind.read,
            f"What two writes of a {name} have different.",
            DIFFERENT,
            in_path=in_path,
            query=COMPARED,
            refusals=(404, 503),
        ),
    )


def _named(kind: type[Kind]) -> Parameter:
    return Parameter("name", {"type": "string"}, f"Of the {kind.name}.")


PARTS: Mapping[str, Part] = {kind.name: part_of(kind) for kind in KINDS}
"""By the name of the kind."""
