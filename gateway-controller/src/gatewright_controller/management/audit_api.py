"""The management API's /v1/audit: every write and every refusal, the newest first."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from urllib.parse import urlencode

from gatewright_documents.mistake import Invalid
from msgspec import UNSET, UnsetType
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from gatewright_controller.apis.controller import Controller
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.kinds import Kinds
from gatewright_controller.management.json_answer import JsonAnswer
from gatewright_controller.management.pages import ENTRIES, LARGEST, MOST, NEWEST
from gatewright_controller.management.problems import Problem
from gatewright_controller.management.queries import choice, flag, whole_number
from gatewright_controller.management.rows import Answer, Parameter, Part, Row
from gatewright_controller.management.shapes import access as shapes
from gatewright_controller.store import (
    API,
    GATEWAY,
    THE_GATEWAY,
    AuditEntry,
    AuditFilter,
    NoSuchRevisionError,
    Store,
)
from gatewright_controller.times import timestamp

FIRST_ACTIONS = ("created", "renamed")
"""Of writes before which there was nothing by that name: others without an older one had theirs, which is pruned."""


class AuditEndpoints:
    """Reads the log that writes and refusals leave."""

    def __init__(self, store: Store, controller: Controller, gateways: Gateways, kinds: Kinds) -> None:
        self._store, self._controller, self._gateways, self._kinds = store, controller, gateways, kinds

    async def list(self, request: Request) -> Response:
        """Those that fit; with `changes` what each write has changed."""
        limit, asked = whole_number(request, NEWEST.name, ENTRIES, 1, MOST), _filter_of(request)
        with_changes = flag(request, _CHANGES.name)
        found = await asyncio.to_thread(self._store.audit, asked, limit + 1)
        entries = [_shaped(entry, await self._diff(entry) if with_changes else UNSET) for entry in found[:limit]]
        older = _older(request, found[limit - 1]) if len(found) > limit else UNSET
        return JsonAnswer(shapes.AuditLog(entries=entries, next=older), headers={"cache-control": "no-store"})

    async def _diff(self, entry: AuditEntry) -> str | UnsetType:
        """Masked; UNSET where nothing was written, or its history is no longer there or cannot be read."""
        if entry.revision is None or not (entry.kind in (API, GATEWAY) or entry.kind in self._kinds):
            return UNSET
        name = THE_GATEWAY if entry.kind == GATEWAY else entry.name
        older = await asyncio.to_thread(self._store.history, entry.kind, name, entry.revision, 1)
        try:
            if entry.kind == GATEWAY:
                written = await self._gateways.past(entry.revision)
                if not older and written.entry.action not in FIRST_ACTIONS:
                    return UNSET
                before = await self._gateways.past(older[0].revision) if older else replace(written, document=None)
                return await self._gateways.diff(before, written)
            if entry.kind in self._kinds:
                resources = self._kinds[entry.kind]
                past = await resources.past(name, entry.revision)
                past_before = await resources.past(name, older[0].revision) if older else replace(past, document=None)
                return await resources.diff(past_before, past)
            api = await self._controller.past(name, entry.revision)
            if not older and api.entry.action not in FIRST_ACTIONS:
                return UNSET
            api_before = await self._controller.past(name, older[0].revision) if older else replace(api, api=None)
            return await self._controller.diff(api_before, api)
        except (NoSuchRevisionError, Invalid):
            return UNSET


def _filter_of(request: Request) -> AuditFilter:
    """Raises `Problem`."""
    outcome, query = choice(request, _OUTCOME), request.query_params
    before = whole_number(request, _BEFORE.name, 0, 1, LARGEST)
    return AuditFilter(
        before=before or None,
        since=_since(query[_SINCE.name]) if _SINCE.name in query else "",
        actor=_text(request, _ACTOR.name),
        name=_text(request, _NAME.name),
        refused=outcome == "refused" if outcome else None,
    )


def _text(request: Request, name: str) -> str:
    text = request.query_params.get(name, "")
    if "\0" in text:
        raise Problem(400, f"expected {name} to be text without NUL, got some")
    return text


def _since(text: str) -> str:
    """In the form of the log's own times. Raises `Problem`."""
    try:
        when = datetime.fromisoformat(text)
        if when.tzinfo is not None:
            return timestamp(when.astimezone(UTC))
    except (ValueError, OverflowError):  # OverflowError: of a time that is before year 1 or after year 9999 in UTC
        pass
    raise Problem(400, f"expected since to be a time such as 2026-11-29T08:00:00Z, got {text[:100]!r}")


def _older(request: Request, last: AuditEntry) -> str:
    query = [(name, text) for name, text in request.query_params.multi_items() if name != _BEFORE.name]
    return f"{request.url.path}?{urlencode([*query, (_BEFORE.name, last.number)])}"


def _shaped(entry: AuditEntry, diff: str | UnsetType) -> shapes.AuditEntry:
    return shapes.AuditEntry(
        number=entry.number,
        at=entry.at,
        actor=entry.author.actor,
        origin=entry.author.origin,
        reason=entry.author.reason,
        action=entry.action,
        outcome="refused" if entry.is_refused else "done",
        status=entry.status,
        kind=entry.kind,
        name=entry.name,
        revision=UNSET if entry.revision is None else entry.revision,
        detail=entry.detail or UNSET,
        diff=diff,
    )


_BEFORE = Parameter(
    "before", {"type": "integer", "minimum": 1, "maximum": LARGEST}, "Only those older than this number."
)
_SINCE = Parameter("since", {"type": "string", "format": "date-time"}, "Only those from this time on (RFC 3339).")
_ACTOR = Parameter("actor", {"type": "string", "examples": ["token:ann"]}, "Only what this one did.")
_NAME = Parameter("name", {"type": "string"}, "Only what was done to the resource of this name.")
_OUTCOME = Parameter("outcome", {"enum": ["done", "refused"]}, "Only what was done, or what was refused.")
_CHANGES = Parameter("changes", {"type": "boolean", "default": False}, "With the diff of each write, secrets masked.")

PART = Part(
    "Audit log",
    AuditEndpoints,
    (
        Row(
            "listAuditEntries",
            "GET",
            "/v1/audit",
            AuditEndpoints.list,
            "audit:read",
            "Every write and every refusal, the newest first.",
            {200: Answer("The entries.", (shapes.AuditLog,))},
            query=(NEWEST, _BEFORE, _SINCE, _ACTOR, _NAME, _OUTCOME, _CHANGES),
            refusals=(503,),
        ),
    ),
)
