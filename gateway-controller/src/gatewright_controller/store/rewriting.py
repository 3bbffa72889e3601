"""Other forms of documents that say the same, as of values that are encrypted by another key."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import msgspec
from gatewright_documents.values import JsonObject
from sqlalchemy import ColumnElement, Connection, Table, and_, select, update

from gatewright_controller.store.resources import encode
from gatewright_controller.store.tables import history, resources

Key = tuple[str, int]
"""Name and revision."""


class Rewriting(msgspec.Struct, frozen=True):
    """How many documents have another form now, and how many had it already or were written meanwhile."""

    rewritten: int = 0
    left: int = 0


def rewrite(
    using: Callable[[], AbstractContextManager[Connection]], kind: str, rewritten: Callable[[JsonObject], JsonObject]
) -> Rewriting:
    """using: a transaction that writes. What is done stays done where a later one fails."""
    done = left = 0
    for table in (history, resources):
        with using() as connection:
            keys = _keys(connection, table, kind)
        for key in keys:
            with using() as connection:
                changed = _rewrite(connection, table, _row(table, kind, key), rewritten)
            done, left = done + changed, left + (not changed)
    return Rewriting(done, left)


def _keys(connection: Connection, table: Table, kind: str) -> Sequence[Key]:
    of_kind = and_(table.c.kind == kind, table.c.document.is_not(None))
    return [
        (name, number) for name, number in connection.execute(select(table.c.name, table.c.revision).where(of_kind))
    ]


def _row(table: Table, kind: str, key: Key) -> ColumnElement[bool]:
    return and_(table.c.kind == kind, table.c.name == key[0], table.c.revision == key[1])


def _rewrite(
    connection: Connection, table: Table, row: ColumnElement[bool], rewritten: Callable[[JsonObject], JsonObject]
) -> bool:
    text = connection.execute(select(table.c.document).where(row)).scalar_one_or_none()
    if text is None:
        return False
    new = encode(rewritten(json.loads(text)))
    if new == text:
        return False
    statement = update(table).where(row, table.c.document == text).values(document=new)
    return connection.execute(statement).rowcount == 1
