"""The versions of the tables, and how a database of an older one is brought to this one.

A migration only adds, so that a controller of the release before goes on beside one of this release on one PostgreSQL:
a new column is nullable or has a default of the server, and `readable_from` says from which version on a controller can
use the tables. Alembic's operations change tables, alike in both databases; its graph of scripts is not used, for
versions are numbers in a row here, and its import costs a start more than all else of the store.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from gatewright_controller.resource.claims import Claim, claims_of
from gatewright_controller.store import tables
from gatewright_controller.store.errors import StoreError
from gatewright_controller.store.resources import API

if TYPE_CHECKING:
    from alembic.operations import Operations

log = logging.getLogger(__name__)
FIRST_VERSION = 6
"""Of these tables. Versions 1 to 5 are those of SQLite alone (`before_revisions`)."""


class Migration(msgspec.Struct, frozen=True):
    """From the version before to `version`. change: what is different, for the log."""

    version: int
    readable_from: int
    change: str
    upgrade: Callable[[Operations], None]


def _add_tokens_and_audit(operations: Operations) -> None:
    tables.metadata.create_all(operations.get_bind(), [tables.tokens, tables.audit])
    operations.create_index("history_in_order", "history", ["revision"])


def _add_consumer_keys(operations: Operations) -> None:
    tables.metadata.create_all(operations.get_bind(), [tables.consumer_keys, tables.consumer_key_changes])


def _claim_attached_names(operations: Operations) -> None:
    """Attached APIs had their contexts, which nodes do not serve. Of two with the same name, the older one has it."""
    connection, api, rows = operations.get_bind(), tables.resources.c, tables.claims
    attached = select(api.document).where(api.kind == API, api.document.contains('"attachTo"'))
    texts = connection.execute(attached.order_by(api.created_at, api.name)).scalars().all()
    taken: dict[Claim, str] = {}
    for document in map(json.loads, texts):
        if names := document["spec"].get("attachTo"):
            own = document["metadata"]["name"]
            connection.execute(delete(rows).where(rows.c.api == own))
            for claim in claims_of([], "", [], names):
                taken.setdefault(claim, own)
    if taken:
        connection.execute(insert(rows), [{**claim._asdict(), "api": name} for claim, name in taken.items()])


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        7,
        readable_from=6,
        change="tokens, and an audit log",
        upgrade=_add_tokens_and_audit,
    ),
    Migration(
        8,
        readable_from=6,
        change="keys of consumers",
        upgrade=_add_consumer_keys,
    ),
    Migration(
        9,
        readable_from=6,
        change="attached APIs have the names of their routes, and no context",
        upgrade=_claim_attached_names,
    ),
)
"""In the order of their versions, without a gap."""


def newest(migrations: Sequence[Migration]) -> tuple[int, int]:
    """The version that these migrations lead to, and from which one on it can be used."""
    return (migrations[-1].version, migrations[-1].readable_from) if migrations else (FIRST_VERSION, FIRST_VERSION)


def create(connection: Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """All tables, in a database that has none of them: as the migrations would make them, without running any."""
    tables.metadata.create_all(connection, checkfirst=False)
    connection.execute(insert(tables.revision).values(value=0))
    version, readable_from = newest(migrations)
    connection.execute(insert(tables.schema_version).values(version=version, readable_from=readable_from))


def is_older(connection: Connection, place: str, migrations: Sequence[Migration] = MIGRATIONS) -> bool:
    """Whether the tables are to be migrated. Raises `StoreError` where this controller cannot use them."""
    found, readable_from = connection.execute(select(tables.schema_version)).one()
    version, _ = newest(migrations)
    if found > version and readable_from > version:
        expected = f"expected a database of version {version}, or a newer one that can be used from {version} on"
        raise StoreError(
            f"{place}: {expected}, got {found}, which can be used from {readable_from} on; use a newer controller"
        )
    return bool(found < version)


def migrate(connection: Connection, place: str, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Brings the tables to the newest version, in the transaction of the connection. Raises as `is_older`."""
    if not is_older(connection, place, migrations):
        return
    found = connection.execute(select(tables.schema_version.c.version)).scalar_one()
    for migration in migrations:
        if migration.version > found:
            _upgrade(connection, migration)


def _upgrade(connection: Connection, migration: Migration) -> None:
    from alembic.migration import MigrationContext  # here, for few starts migrate
    from alembic.operations import Operations

    migration.upgrade(Operations(MigrationContext.configure(connection)))
    values = {"version": migration.version, "readable_from": migration.readable_from}
    connection.execute(update(tables.schema_version).values(values))
    log.info("database brought to version %d: %s", migration.version, migration.change)
