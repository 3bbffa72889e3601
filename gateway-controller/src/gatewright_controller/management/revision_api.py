"""The history of resources in the management API: their revisions, and what two of them have different.

Rollbacks are rows of the resources themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from gatewright_documents.values import JsonObject
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from gatewright_controller.apis.controller import Controller
from gatewright_controller.apis.past_apis import PastApi
from gatewright_controller.gateway.gateway_diff import gateway_text
from gatewright_controller.gateway.gateway_masks import masked_gateway
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.management.accept import YAML, prefers_yaml
from gatewright_controller.management.bodies import ReadObject
from gatewright_controller.management.callers import permit_of
from gatewright_controller.management.json_answer import JsonAnswer
from gatewright_controller.management.pages import ENTRIES, LARGEST, MOST, NEWEST
from gatewright_controller.management.preconditions import ETAG, etag
from gatewright_controller.management.problems import Problem
from gatewright_controller.management.queries import whole_number
from gatewright_controller.management.rows import JSON, Answer, Body, Parameter, Part, Row
from gatewright_controller.management.shapes import revisions as shapes
from gatewright_controller.resource.api_text import api_text
from gatewright_controller.resource.secrets import masked
from gatewright_controller.store import Entry


class Shown(msgspec.Struct, frozen=True):
    """A resource as a write left it, without secrets. document: None where it was gone then."""

    entry: Entry
    document: JsonObject | None
    text: str


class RevisionEndpoints:
    """`GET …/revisions`, `GET …/revisions/REVISION` and `GET …/diff`, of an API and of the Gateway.

    A revision is a number of the history; 0 stands for the newest, -1 for the one before it, and so on.
    """

    def __init__(self, controller: Controller, gateways: Gateways) -> None:
        self._controller, self._gateways = controller, gateways

    async def list_of_api(self, request: Request) -> Response:
        """The newest first. 404."""
        name = request.path_params["name"]
        await self._refuse_others(request, name)
        return await answer_list(request, lambda before, limit: self._controller.history(name, before, limit))

    async def list_of_gateway(self, request: Request) -> Response:
        """The newest first."""
        return await answer_list(request, self._gateways.history)

    async def api(self, request: Request) -> Response:
        """As it was, secrets masked; as YAML without its entry. 404, also where it was gone then."""
        name = request.path_params["name"]
        await self._refuse_others(request, name)
        past = await self._controller.past(name, revision_of(request))
        _refuse_other(request, past)
        definitions = self._controller.definitions
        document = masked(past.api, past.versions, definitions) if past.api else None
        text = await asyncio.to_thread(api_text, document) if document else ""
        return show(request, Shown(past.entry, document, text))

    async def gateway(self, request: Request) -> Response:
        """The same of the Gateway."""
        past = await self._gateways.past(revision_of(request))
        document = masked_gateway(past.document) if past.document is not None else None
        return show(request, Shown(past.entry, document, gateway_text(document)))

    async def diff_of_api(self, request: Request) -> Response:
        """Unified, secrets masked. Without `from` it is the revision before the newest, without `to` the newest."""
        name = request.path_params["name"]
        await self._refuse_others(request, name)
        before, after = [await self._controller.past(name, revision) for revision in asked_revisions(request)]
        for past in (before, after):
            _refuse_other(request, past)
        return answer_diff(before.entry, after.entry, await self._controller.diff(before, after))

    async def diff_of_gateway(self, request: Request) -> Response:
        """The same of the Gateway."""
        before, after = [await self._gateways.past(revision) for revision in asked_revisions(request)]
        return answer_diff(before.entry, after.entry, await self._gateways.diff(before, after))

    async def _refuse_others(self, request: Request, name: str) -> None:
        """By what the API is now, or was before it was deleted or got another name. Raises `NotPermittedError`,
        `NoSuchRevisionError`."""
        if permit_of(request).apis is None:
            return
        newest = await self._controller.past(name, 0)
        _refuse_other(request, newest if newest.api else await self._controller.past(name, -1))


ROLLBACK = Body((shapes.Rollback,))


async def rollback_target(request: Request, read: ReadObject) -> int:
    """The revision in `{"revision": 3}`. Raises `Problem`."""
    document = await read(request)
    revision: Any = document.get("revision")
    if set(document) != {"revision"} or not isinstance(revision, int) or isinstance(revision, bool):
        raise Problem(422, 'expected {"revision": REVISION}, the number of a revision')
    return _in_range(revision)


def _refuse_other(request: Request, past: PastApi) -> None:
    """Raises `NotPermittedError`."""
    if past.api:
        permit_of(request).refuse_others(past.api)


async def answer_list(request: Request, read: Callable[[int | None, int], Awaitable[Sequence[Entry]]]) -> Response:
    """The writes that `read` finds before a revision, at most so many."""
    limit = whole_number(request, NEWEST.name, ENTRIES, 1, MOST)
    before = whole_number(request, BEFORE.name, 0, 1, LARGEST)
    found = await read(before or None, limit + 1)
    more = len(found) > limit
    older = f"{request.url.path}?before={found[limit - 1].revision}&limit={limit}" if more else UNSET
    return JsonAnswer(shapes.RevisionList(revisions=[_shape(entry) for entry in found[:limit]], next=older))


def _shape(entry: Entry) -> shapes.Entry:
    return shapes.Entry(
        revision=entry.revision,
        action=entry.action,
        at=entry.at,
        actor=entry.author.actor,
        origin=entry.author.origin,
        reason=entry.author.reason,
        owner=entry.owner,
        source=entry.source or UNSET,
        successor=entry.successor or UNSET,
    )


def show(request: Request, shown: Shown) -> Response:
    """The resource in the form that is asked for. Raises `Problem` where it was gone then."""
    entry = shown.entry
    if shown.document is None:
        cure = "an older one of its history has a document"
        raise Problem(404, f"by revision {entry.revision} {entry.name} was {entry.action}: {cure}")
    headers = {"etag": etag(entry.revision), "cache-control": "no-store", "vary": "accept"}
    if prefers_yaml(request.headers.get("accept", "")):
        return Response(shown.text, headers=headers, media_type=YAML)
    return JsonAnswer({**shown.document, "status": _shape(entry)}, headers=headers)


def answer_diff(before: Entry, after: Entry, diff: str) -> Response:
    """What two writes have different."""
    return JsonAnswer(shapes.Diff(before=_shape(before), after=_shape(after), diff=diff))


def revision_of(request: Request) -> int:
    """That in the path. Raises `Problem`."""
    return _number(request.path_params["revision"], "a revision")


def asked_revisions(request: Request) -> tuple[int, int]:
    """`?from=REVISION&to=REVISION`. Raises `Problem`."""
    query = request.query_params
    return _number(query.get("from", "-1"), "from"), _number(query.get("to", "0"), "to")


def _number(text: str, name: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= len(str(LARGEST))):
        expected = f"expected {name} to be the number of a revision, 0 for the newest or -1 for the one before it"
        raise Problem(400, f"{expected}, got {text[:100]!r}")
    return int(text)


def _in_range(revision: int) -> int:
    if abs(revision) > LARGEST:
        raise Problem(422, f"expected a revision of at most {LARGEST}, got a larger one")
    return revision


_NAME = Parameter("name", {"type": "string"}, "Of the API.")
_NUMBER = {"type": "integer", "minimum": -LARGEST, "maximum": LARGEST}
REVISION = Parameter(
    "revision", _NUMBER, "A number of the history; 0 stands for the newest, -1 for the one before it, and so on."
)
BEFORE = Parameter(
    "before", {"type": "integer", "minimum": 1, "maximum": LARGEST}, "Only those older than this revision."
)
COMPARED = (
    Parameter("from", {**_NUMBER, "default": -1}, "The older one."),
    Parameter("to", {**_NUMBER, "default": 0}, "The newer one."),
)
LISTED = {200: Answer("The writes, the newest first.", (shapes.RevisionList,))}
DIFFERENT = {200: Answer("What is different.", (shapes.Diff,))}

PART = Part(
    "History",
    RevisionEndpoints,
    (
        Row(
            "listApiRevisions",
            "GET",
            "/v1/apis/{name}/revisions",
            RevisionEndpoints.list_of_api,
            "apis:read",
            "Who wrote an API, when and why; also one that was deleted.",
            LISTED,
            in_path=(_NAME,),
            query=(NEWEST, BEFORE),
            refusals=(404, 503),
        ),
        Row(
            "getApiRevision",
            "GET",
            "/v1/apis/{name}/revisions/{revision}",
            RevisionEndpoints.api,
            "apis:read",
            "An API as a write left it; as YAML without that write's entry, for an `Accept` that prefers YAML.",
            {200: Answer("The API.", (shapes.PastApi,), (JSON, YAML), ETAG)},
            in_path=(_NAME, REVISION),
            refusals=(404, 503),
        ),
        Row(
            "diffApi",
            "GET",
            "/v1/apis/{name}/diff",
            RevisionEndpoints.diff_of_api,
            "apis:read",
            "What two writes of an API have different.",
            DIFFERENT,
            in_path=(_NAME,),
            query=COMPARED,
            refusals=(404, 503),
        ),
        Row(
            "listGatewayRevisions",
            "GET",
            "/v1/gateway/revisions",
            RevisionEndpoints.list_of_gateway,
            "nodes:read",
            "Who wrote the Gateway, when and why.",
            LISTED,
            query=(NEWEST, BEFORE),
            refusals=(404, 503),
        ),
        Row(
            "getGatewayRevision",
            "GET",
            "/v1/gateway/revisions/{revision}",
            RevisionEndpoints.gateway,
            "nodes:read",
            "The Gateway as a write left it; as YAML without that write's entry, for an `Accept` that prefers YAML.",
            {200: Answer("The Gateway.", (shapes.PastGateway,), (JSON, YAML), ETAG)},
            in_path=(REVISION,),
            refusals=(404, 503),
        ),
        Row(
            "diffGateway",
            "GET",
            "/v1/gateway/diff",
            RevisionEndpoints.diff_of_gateway,
            "nodes:read",
            "What two writes of the Gateway have different.",
            DIFFERENT,
            query=COMPARED,
            refusals=(404, 503),
        ),
    ),
)
