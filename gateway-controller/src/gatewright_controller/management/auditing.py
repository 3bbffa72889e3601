"""Enters into the audit log what leaves no entry by itself: refused requests, and changes that no resource has.

Writes of resources and tokens are entered by the store, in the transaction that makes them.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gatewright_controller import kinds
from gatewright_controller.access import STRANGER
from gatewright_controller.management.authors import author_of
from gatewright_controller.management.problems import Problem
from gatewright_controller.management.rate_limits import RateLimit
from gatewright_controller.management.rows import CALLER, ROW, Row
from gatewright_controller.store import API, GATEWAY, TOKEN, AuditEntry, Author, StorageError, Store
from gatewright_controller.times import timestamp, utc_now

log = logging.getLogger(__name__)
NODE = "Node"
KINDS = {
    "/v1/apis": API,
    "/v1/gateway": GATEWAY,
    "/v1/tokens": TOKEN,
    "/v1/nodes": NODE,
    **{f"/v1/{kind.plural}": kind.name for kind in kinds.KINDS},
}
"""What is at the paths that begin so."""
UNKNOWN_CALLER = 401
NOT_PERMITTED = (UNKNOWN_CALLER, 403, 429)
LONGEST_DETAIL, LONGEST_PATH = 2000, 200


class Audited:
    """Middleware around all that answers requests. Who has no token that is known gets few entries: the log is to
    last."""

    def __init__(self, app: ASGIApp, store: Store) -> None:
        self._app, self._store = app, store
        self._lacking = 0  # entries, since the last one that was stored
        self._strangers, self._known = RateLimit(rate=0.2, burst=50), RateLimit(rate=10, burst=500)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, body = 0, b""

        async def noting(message: Message) -> None:
            nonlocal status, body
            if message["type"] == "http.response.start":
                status = message["status"]
            elif status >= 400:
                body += message.get("body", b"")
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            if is_entered(scope, status):
                await self._enter(scope, status, body)

    async def _enter(self, scope: Scope, status: int, body: bytes) -> None:
        limit = self._strangers if scope.get(CALLER, STRANGER) == STRANGER else self._known
        if status >= 400 and limit.take():
            return
        try:
            await asyncio.to_thread(self._store.record, entry_of(scope, status, body))
        except StorageError as error:
            self._lacking += 1
            if not error.away or self._lacking == 1:  # one line for all requests while the database is away
                extra = {"reason": str(error), "path": scope["path"][:LONGEST_PATH]}
                log.error("the audit log lacks an entry", extra=extra)
            return
        if self._lacking > 1:
            log.error("the audit log lacks entries", extra={"count": self._lacking})
        self._lacking = 0


def is_entered(scope: Scope, status: int) -> bool:
    """Whether the request leaves an entry because of how it was answered; 0: not at all."""
    row: Row | None = scope.get(ROW)
    if Request(scope).query_params.get("dry_run") == "true":
        return status == UNKNOWN_CALLER  # an editor asks at each pause of typing what a write would do
    if status in NOT_PERMITTED:
        return True
    if row is None or row.method == "GET" or row.audit == "nothing" or status == 0:
        return False
    return status >= 400 or row.audit == "all"


def entry_of(scope: Scope, status: int, body: bytes) -> AuditEntry:
    """body: of the answer."""
    row: Row | None = scope.get(ROW)
    path = _text(scope["path"], LONGEST_PATH)
    kind = next((kind for start, kind in KINDS.items() if path.startswith(start)), "")
    return AuditEntry(
        at=timestamp(utc_now()),
        author=_author(Request(scope)),
        action=row.id if row else f"{scope['method']} {path}"[:LONGEST_PATH],
        kind=kind,
        name=_text(str(scope.get("path_params", {}).get("id" if kind == NODE else "name", "")), LONGEST_PATH),
        status=status,
        detail=_detail(body) if status >= 400 else "",
    )


def _author(request: Request) -> Author:
    try:
        return author_of(request)
    except Problem:  # the reason may be what was refused
        return Author(request.scope.get(CALLER, STRANGER).actor, request.client.host if request.client else "")


def _text(text: str, longest: int) -> str:
    """At most so many characters, without NUL, which PostgreSQL has in no text: an entry with it would be lost."""
    return text[:longest].replace("\0", "\ufffd")


def _detail(body: bytes) -> str:
    """What the problem says in words, with the mistakes that it lists."""
    try:
        problem = msgspec.json.decode(body)
        mistakes = [f"{mistake['field']}: {mistake['message']}" for mistake in problem.get("errors", [])]
        return _text("; ".join([str(problem["detail"]), *mistakes]), LONGEST_DETAIL)
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError):
        return ""
