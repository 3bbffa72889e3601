"""The audit log: an entry for each write, also one that was refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, insert, select

from gatewright_controller.store.authors import Author
from gatewright_controller.store.tables import audit

DONE = 200
FIRST_REFUSAL = 400
INSERT = insert(audit).returning(audit.c.number)


class AuditEntry(msgspec.Struct, frozen=True):
    """action: as in the history of a resource, or the operation of the management API. revision: of what was written;
    None where nothing was that has one. status: by which HTTP status the request was answered. detail: why it was
    refused. number: its place in the log, 0 before it is there.
    """

    at: str
    author: Author
    action: str
    kind: str = ""
    name: str = ""
    revision: int | None = None
    status: int = DONE
    detail: str = ""
    number: int = 0

    @property
    def is_refused(self) -> bool:
        """Whether it is of a request that was refused."""
        return self.status >= FIRST_REFUSAL


class AuditFilter(msgspec.Struct, frozen=True):
    """Which entries are meant: older than `before`, from the time `since` on; "" and None leave none out."""

    before: int | None = None
    since: str = ""
    actor: str = ""
    name: str = ""
    refused: bool | None = None


def insert_entries(connection: Connection, entries: Sequence[AuditEntry]) -> None:
    """The log's newest entries, in this order."""
    if entries:
        connection.execute(insert(audit), list(map(_values, entries)))


def insert_entry(connection: Connection, entry: AuditEntry) -> int:
    """The log's newest entry; returns its number."""
    number: int = connection.execute(INSERT, _values(entry)).scalar_one()
    return number


def _values(entry: AuditEntry) -> dict[str, Any]:
    author = entry.author
    who = {"actor": author.actor, "origin": author.origin, "reason": author.reason}
    what = {"action": entry.action, "kind": entry.kind, "name": entry.name, "revision": entry.revision}
    outcome = {"at": entry.at, "status": entry.status, "detail": entry.detail}
    return {**who, **what, **outcome}


def read_entries(connection: Connection, asked: AuditFilter, limit: int) -> Sequence[AuditEntry]:
    """The newest first."""
    statement = select(audit).order_by(audit.c.number.desc()).limit(limit)
    if asked.before is not None:
        statement = statement.where(audit.c.number < asked.before)
    if asked.since:
        statement = statement.where(audit.c.at >= asked.since)
    if asked.actor:
        statement = statement.where(audit.c.actor == asked.actor)
    if asked.name:
        statement = statement.where(audit.c.name == asked.name)
    if asked.refused is not None:
        is_refused = audit.c.status >= FIRST_REFUSAL
        statement = statement.where(is_refused if asked.refused else ~is_refused)
    return [_entry(row) for row in connection.execute(statement)]


def read_entry(connection: Connection, number: int) -> AuditEntry | None:
    """The entry with this number, if there is one."""
    row = connection.execute(select(audit).where(audit.c.number == number)).one_or_none()
    return _entry(row) if row else None


def _entry(row: Row[*tuple[Any, ...]]) -> AuditEntry:
    author = Author(row.actor, row.origin, row.reason)
    what = (row.action, row.kind, row.name, row.revision)
    return AuditEntry(row.at, author, *what, row.status, row.detail, row.number)
