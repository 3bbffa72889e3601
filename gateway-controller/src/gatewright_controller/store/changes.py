"""What was written after a revision, for a controller that follows another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, select

from gatewright_controller.store.resources import API, GATEWAY, Changes, StoredApi
from gatewright_controller.store.tables import history, resources, revision
from gatewright_controller.store.transaction import RESOURCE, decode_api

NAMES_AT_ONCE = 500


def changes_since(connection: Connection, since: int) -> Changes:
    """The newest revision is read first: writes are committed in the order of their revisions, so that all up to it
    are seen; what is committed in between is read once more the next time."""
    newest: int = connection.execute(select(revision.c.value)).scalar_one()
    keys = connection.execute(select(history.c.kind, history.c.name).where(history.c.revision > since).distinct())
    written = {(kind, name) for kind, name in keys}
    names = sorted(name for kind, name in written if kind == API)
    apis = list(_stored(connection, names))
    gone = sorted({*names} - {api.name for api in apis})
    return Changes(newest, apis, gone, any(kind == GATEWAY for kind, _ in written))


def _stored(connection: Connection, names: Sequence[str]) -> Iterator[StoredApi]:
    for start in range(0, len(names), NAMES_AT_ONCE):
        some = resources.c.name.in_(names[start : start + NAMES_AT_ONCE])
        statement = select(*RESOURCE).where(resources.c.kind == API, some).order_by(resources.c.name)
        yield from map(decode_api, connection.execute(statement))
