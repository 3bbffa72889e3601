"""What was written after a revision, for a controller that follows another one."""

from __future__ import annotations

from sqlalchemy import Connection, select

from gatewright_controller.store.consumer_keys import changed_since
from gatewright_controller.store.resources import API, CONSUMER, GATEWAY, Changes
from gatewright_controller.store.tables import history, revision
from gatewright_controller.store.transaction import read_apis, read_resource


def changes_since(connection: Connection, since: int) -> Changes:
    """The newest revision is read first: writes are committed in the order of their revisions, so that all up to it
    are seen. The transaction has a snapshot, so that no set of resources is seen in part."""
    newest: int = connection.execute(select(revision.c.value)).scalar_one()
    keys = connection.execute(select(history.c.kind, history.c.name).where(history.c.revision > since).distinct())
    written = {(kind, name) for kind, name in keys}
    written |= {(CONSUMER, name) for name in changed_since(connection, since)}
    names = sorted(name for kind, name in written if kind == API)
    found = read_apis(connection, names)
    gone = [name for name in names if name not in found]
    others = {key: read_resource(connection, *key) for key in sorted(written) if key[0] not in (API, GATEWAY)}
    return Changes(newest, list(found.values()), gone, any(kind == GATEWAY for kind, _ in written), others)
