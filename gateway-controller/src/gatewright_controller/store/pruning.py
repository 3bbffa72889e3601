"""How much of the history and of the audit log is kept, and the deletion of what is older, in small transactions."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, and_, bindparam, delete, func, or_, select, tuple_, update

from gatewright_controller.store.audit_rows import AuditEntry, insert_entry
from gatewright_controller.store.authors import Author
from gatewright_controller.store.tables import audit, history, revision

ROWS = 500
"""Deleted in one transaction at most: writers wait for it."""
RESOURCES = 200
"""Looked at in one transaction."""
PRUNED = "pruned"
"""The action of the entry that each round leaves in the audit log."""
CONTROLLER = Author("controller")
Position = tuple[str, str]
START: Position = ("", "")


class Retention(msgspec.Struct, frozen=True):
    """What is kept. revisions: the newest of each resource. deleted_since: resources that were deleted before are
    pruned whole. audit_since, audit_entries: entries of the audit log that are older, or beyond so many, are pruned;
    its newest never is. now: when this is asked for. Times are RFC 3339, UTC.
    """

    now: str
    revisions: int
    deleted_since: str
    audit_since: str
    audit_entries: int


class Pruned(msgspec.Struct, frozen=True):
    """How many rows were deleted."""

    revisions: int = 0
    audit_entries: int = 0

    def __add__(self, other: Pruned) -> Pruned:
        return Pruned(self.revisions + other.revisions, self.audit_entries + other.audit_entries)

    def __bool__(self) -> bool:
        return self != Pruned()

    def __str__(self) -> str:
        return f"{self.revisions} revisions of resources, {self.audit_entries} entries of this log"


class Excess(msgspec.Struct, frozen=True):
    """Revisions of a resource that are older than `before`, all of which may go."""

    kind: str
    name: str
    before: int


KEY = and_(history.c.kind == bindparam("of_kind"), history.c.name == bindparam("of_name"))
OLDEST_KEPT = (
    select(history.c.revision).where(KEY).order_by(history.c.revision.desc()).limit(1).offset(bindparam("newer"))
)
EXCESS = select(history.c.revision).where(KEY, history.c.revision < bindparam("before"))
DELETE_EXCESS = delete(history).where(
    KEY, history.c.revision.in_(EXCESS.order_by(history.c.revision).limit(bindparam("rows")))
)
LOCK = select(revision.c.value).with_for_update()
"""The row that every write locks first: transactions that delete never wait for each other in a circle."""


def find_excess(connection: Connection, after: Position, keep: Retention) -> tuple[Sequence[Excess], Position | None]:
    """What may go of the next resources after the one at `after`, and where to go on; None: these were the last."""
    counted = (
        select(
            history.c.kind,
            history.c.name,
            func.count().label("entries"),
            func.max(history.c.revision).label("newest"),
        )
        .where(tuple_(history.c.kind, history.c.name) > tuple_(*after))
        .group_by(history.c.kind, history.c.name)
        .order_by(history.c.kind, history.c.name)
        .limit(RESOURCES)
        .subquery()
    )
    newest = and_(
        history.c.kind == counted.c.kind, history.c.name == counted.c.name, history.c.revision == counted.c.newest
    )
    is_gone = and_(history.c.document.is_(None), history.c.at < keep.deleted_since).label("is_gone")
    statement = select(*counted.c, is_gone).join(history, newest).order_by(counted.c.kind, counted.c.name)
    rows = connection.execute(statement).all()
    found = []
    for row in rows:
        if row.is_gone:
            found.append(Excess(row.kind, row.name, row.newest + 1))
        elif row.entries > keep.revisions:
            values = {"of_kind": row.kind, "of_name": row.name, "newer": keep.revisions - 1}
            found.append(Excess(row.kind, row.name, connection.execute(OLDEST_KEPT, values).scalar_one()))
    return found, (rows[-1].kind, rows[-1].name) if len(rows) == RESOURCES else None


class PruningRound:
    """Deletes what need not be kept, and has one entry in the audit log, with all that it has deleted so far."""

    def __init__(self, keep: Retention) -> None:
        self._keep, self._total = keep, Pruned()
        self._number: int | None = None

    def delete_excess(self, connection: Connection, excess: Sequence[Excess]) -> tuple[Pruned, Sequence[Excess]]:
        """As much as one transaction may; returns what is left for the next, too."""
        connection.execute(LOCK)
        deleted, left = 0, excess
        while left and deleted < ROWS:
            values = {"of_kind": left[0].kind, "of_name": left[0].name, "before": left[0].before}
            deleted += connection.execute(DELETE_EXCESS, {**values, "rows": ROWS - deleted}).rowcount
            if deleted < ROWS:
                left = left[1:]
        return self._noted(connection, Pruned(deleted)), left

    def delete_audit_entries(self, connection: Connection) -> Pruned:
        """As many as one transaction may. The log is in the order of its times, so only the oldest are looked at."""
        connection.execute(LOCK)
        newest = connection.execute(select(func.max(audit.c.number))).scalar_one() or 0
        oldest = select(audit.c.number, audit.c.at).order_by(audit.c.number).limit(ROWS).subquery()
        may_go = or_(oldest.c.at < self._keep.audit_since, oldest.c.number <= newest - self._keep.audit_entries)
        numbers = select(oldest.c.number).where(may_go, oldest.c.number < newest)
        deleted = connection.execute(delete(audit).where(audit.c.number.in_(numbers))).rowcount
        return self._noted(connection, Pruned(audit_entries=deleted))

    def _noted(self, connection: Connection, pruned: Pruned) -> Pruned:
        if not pruned:
            return pruned
        self._total += pruned
        detail = str(self._total)
        if self._number is None:
            self._number = insert_entry(connection, AuditEntry(self._keep.now, CONTROLLER, PRUNED, detail=detail))
        else:
            connection.execute(update(audit).where(audit.c.number == self._number).values(detail=detail))
        return pruned
