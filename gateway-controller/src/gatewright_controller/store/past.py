"""Reading the history of resources."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select

from gatewright_controller.store.authors import Author
from gatewright_controller.store.errors import NoSuchRevisionError
from gatewright_controller.store.resources import Entry, PastResource
from gatewright_controller.store.tables import history

ENTRY = (
    history.c.kind,
    history.c.name,
    history.c.revision,
    history.c.action,
    history.c.owner,
    history.c.at,
    history.c.actor,
    history.c.origin,
    history.c.reason,
    history.c.counterpart,
)


def entries(connection: Connection, kind: str, name: str, before: int | None, limit: int) -> list[Entry]:
    """The newest first, those older than the revision `before`."""
    if "\0" in name:  # which PostgreSQL has in no text, and no name has
        return []
    statement = _newest_first(select(*ENTRY), kind, name).limit(limit)
    if before is not None:
        statement = statement.where(history.c.revision < before)
    return [_entry(row) for row in connection.execute(statement)]


def past_resource(connection: Connection, kind: str, name: str, revision: int) -> PastResource:
    """As the write of that revision left it; 0 is the newest, a negative revision counts back from it. Raises
    `NoSuchRevisionError`."""
    if "\0" in name:
        raise NoSuchRevisionError(kind, name, revision, None, None)
    statement = _newest_first(select(*ENTRY, history.c.document, history.c.versions), kind, name).limit(1)
    statement = statement.where(history.c.revision == revision) if revision > 0 else statement.offset(-revision)
    if (row := connection.execute(statement).one_or_none()) is None:
        kept = select(func.min(history.c.revision), func.max(history.c.revision))
        oldest, newest = connection.execute(kept.where(history.c.kind == kind, history.c.name == name)).one()
        raise NoSuchRevisionError(kind, name, revision, oldest, newest)
    document = json.loads(row.document) if row.document is not None else None
    return PastResource(_entry(row), document, tuple(json.loads(row.versions)))


def newest_document(connection: Connection, kind: str, name: str) -> str | None:
    """The document of the newest entry, as it is stored."""
    statement = _newest_first(select(history.c.document), kind, name).limit(1)
    return connection.execute(statement).scalar_one_or_none()


def _newest_first(statement: Select[*tuple[Any, ...]], kind: str, name: str) -> Select[*tuple[Any, ...]]:
    return statement.where(history.c.kind == kind, history.c.name == name).order_by(history.c.revision.desc())


def _entry(row: Row[*tuple[Any, ...]]) -> Entry:
    author = Author(row.actor, row.origin, row.reason)
    return Entry(row.kind, row.name, row.revision, row.action, row.owner, row.at, author, row.counterpart)
