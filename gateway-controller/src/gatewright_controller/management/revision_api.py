"""The history of resources in the management API: revisions, what two of them have different, and rollbacks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gatewright_documents.values import JsonObject
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gatewright_controller.apis.controller import Controller
from gatewright_controller.gateway.gateway_diff import gateway_text
from gatewright_controller.gateway.gateway_masks import masked_gateway
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.management.accept import YAML, prefers_yaml
from gatewright_controller.management.preconditions import etag
from gatewright_controller.management.problems import Problem
from gatewright_controller.management.queries import whole_number
from gatewright_controller.resource.api_text import api_text
from gatewright_controller.resource.secrets import masked
from gatewright_controller.store import Entry

MOST_ENTRIES = 1000
ENTRIES = 100
LARGEST = 10**18 - 1
ReadObject = Callable[[Request], Awaitable[JsonObject]]


@dataclass(frozen=True)
class Shown:
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
        """`GET /v1/apis/NAME/revisions`: `{"revisions": [entry, …], "next"}`, the newest first. 404."""
        name = request.path_params["name"]
        return await _list(request, lambda before, limit: self._controller.history(name, before, limit))

    async def list_of_gateway(self, request: Request) -> Response:
        """`GET /v1/gateway/revisions`: the same."""
        return await _list(request, self._gateways.history)

    async def api(self, request: Request) -> Response:
        """`GET /v1/apis/NAME/revisions/REVISION`: the resource as it was, secrets masked; as YAML without its entry.
        404, also where it was gone then."""
        past = await self._controller.past(request.path_params["name"], _revision(request))
        definitions = self._controller.definitions
        document = masked(past.api, past.versions, definitions) if past.api else None
        text = await asyncio.to_thread(api_text, document) if document else ""
        return _show(request, Shown(past.entry, document, text))

    async def gateway(self, request: Request) -> Response:
        """`GET /v1/gateway/revisions/REVISION`: the same."""
        past = await self._gateways.past(_revision(request))
        document = masked_gateway(past.document) if past.document is not None else None
        return _show(request, Shown(past.entry, document, gateway_text(document)))

    async def diff_of_api(self, request: Request) -> Response:
        """`GET /v1/apis/NAME/diff?from=REVISION&to=REVISION`: `{"from": entry, "to": entry, "diff"}`, unified, secrets
        masked. Without `from` it is the revision before the newest, without `to` the newest."""
        name = request.path_params["name"]
        before, after = [await self._controller.past(name, revision) for revision in _from_and_to(request)]
        return _diff(before.entry, after.entry, await self._controller.diff(before, after))

    async def diff_of_gateway(self, request: Request) -> Response:
        """`GET /v1/gateway/diff?from=REVISION&to=REVISION`: the same."""
        before, after = [await self._gateways.past(revision) for revision in _from_and_to(request)]
        return _diff(before.entry, after.entry, await self._gateways.diff(before, after))


async def rollback_target(request: Request, read: ReadObject) -> int:
    """The revision in `{"revision": 3}`. Raises `Problem`."""
    document = await read(request)
    revision: Any = document.get("revision")
    if set(document) != {"revision"} or not isinstance(revision, int) or isinstance(revision, bool):
        raise Problem(422, 'expected {"revision": REVISION}, the number of a revision')
    return _in_range(revision)


async def _list(request: Request, read: Callable[[int | None, int], Awaitable[Sequence[Entry]]]) -> Response:
    limit = whole_number(request, "limit", ENTRIES, 1, MOST_ENTRIES)
    before = whole_number(request, "before", 0, 1, LARGEST)
    found = await read(before or None, limit + 1)
    answer: JsonObject = {"revisions": [entry_to_json(entry) for entry in found[:limit]]}
    if len(found) > limit:
        answer["next"] = f"{request.url.path}?before={found[limit - 1].revision}&limit={limit}"
    return JSONResponse(answer)


def entry_to_json(entry: Entry) -> JsonObject:
    """`from`: what a rollback or another name was made of; `to`: what the resource has become, with another name."""
    answer: JsonObject = {
        "revision": entry.revision,
        "action": entry.action,
        "at": entry.at,
        "actor": entry.author.actor,
        "origin": entry.author.origin,
        "reason": entry.author.reason,
        "owner": entry.owner,
    }
    names = {"from": entry.source, "to": entry.successor}
    return answer | {key: name for key, name in names.items() if name}


def _show(request: Request, shown: Shown) -> Response:
    entry = shown.entry
    if shown.document is None:
        cure = "an older one of its history has a document"
        raise Problem(404, f"by revision {entry.revision} {entry.name} was {entry.action}: {cure}")
    headers = {"etag": etag(entry.revision), "cache-control": "no-store", "vary": "accept"}
    if prefers_yaml(request.headers.get("accept", "")):
        return Response(shown.text, headers=headers, media_type=YAML)
    return JSONResponse({**shown.document, "status": entry_to_json(entry)}, headers=headers)


def _diff(before: Entry, after: Entry, diff: str) -> Response:
    return JSONResponse({"from": entry_to_json(before), "to": entry_to_json(after), "diff": diff})


def _revision(request: Request) -> int:
    """That in the path. Raises `Problem`."""
    return _number(request.path_params["revision"], "a revision")


def _from_and_to(request: Request) -> tuple[int, int]:
    """Raises `Problem`."""
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
