"""Which database a URL names."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence

from gatewright_controller.store.contract import Store
from gatewright_controller.store.errors import StoreError
from gatewright_controller.store.migrations import MIGRATIONS, Migration
from gatewright_controller.store.sql_store import SqlStore

POSTGRESQL = ("postgresql", "postgres")


def open_store(url: str) -> Store:
    """`sqlite:PATH`, `sqlite::memory:` or `postgresql://…`. Raises `StoreError`."""
    return open_sql_store(url)


def open_sql_store(url: str, migrations: Sequence[Migration] = MIGRATIONS) -> SqlStore:
    """The same, of a controller that knows these migrations."""
    scheme, separator, path = url.partition(":")
    if scheme in POSTGRESQL and separator:
        from gatewright_controller.store.notifications import NOTIFY  # here, for a start with SQLite
        from gatewright_controller.store.postgresql import listening_to, obstacle_of, open_postgresql

        engine = open_postgresql(url, migrations)
        return SqlStore(engine, contextlib.nullcontext(), NOTIFY, listening_to(url), obstacle_of(url))
    if scheme != "sqlite" or not separator or not path:
        expected = "expected a database such as sqlite:/var/lib/gatewright/controller.db or postgresql://HOST/NAME"
        raise StoreError(f"{expected}, got {scheme + ':…' if '@' in url else url!r}")
    from gatewright_controller.store.sqlite import open_sqlite

    return SqlStore(open_sqlite(path, migrations), threading.Lock())
