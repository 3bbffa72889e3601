"""SQLite: how its file is opened, brought to the tables of this version, and used by one thread at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from gatewright_controller.store import before_revisions, migrations
from gatewright_controller.store.database_obstacles import DamagedError, sqlite_obstacle
from gatewright_controller.store.errors import NoDatabaseError, StoreError
from gatewright_controller.store.migrations import MIGRATIONS, Migration

WITH_SCHEMA_VERSION = 6
"""The `user_version` of a file that has the table `schema_version`, which says all else. A controller of a version
before 6 refuses the file by this number."""
BUSY_SECONDS = 5


def open_sqlite(path: str, known: Sequence[Migration] = MIGRATIONS) -> Engine:
    """One connection for all threads, which take turns. `path` may be `:memory:`. Raises `StoreError`."""
    try:
        connection = _connect(path)
    except (sqlite3.Error, OSError) as error:
        raise _no_database(path, error) from None
    opened = [connection]  # another one where this one has been given up
    engine = create_engine(
        "sqlite+pysqlite://", creator=lambda: opened.pop() if opened else _connect(path), poolclass=StaticPool
    )
    event.listen(engine, "begin", _begin)
    try:
        with engine.begin() as reading:
            is_older = _is_older(reading, path, known)
        if is_older:
            with engine.connect().execution_options(writes=True) as writing, writing.begin():
                _bring_to_newest(writing, path, known)
    except BaseException as error:
        engine.dispose()
        connection.close()
        if isinstance(error, DBAPIError) and isinstance(error.orig, sqlite3.Error):
            raise _no_database(path, error.orig) from None
        if isinstance(error, sqlite3.Error):
            raise _no_database(path, error) from None
        raise
    return engine


def _no_database(path: str, error: sqlite3.Error | OSError) -> NoDatabaseError:
    return NoDatabaseError(f"the controller cannot open its database: {sqlite_obstacle(path, error)}")


def _connect(path: str) -> sqlite3.Connection:
    if path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=BUSY_SECONDS)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        # Of 10,000 APIs with five operations each, 45 MiB, this takes less than 0.1 s.
        if (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise DamagedError(found)
    except BaseException:
        connection.close()
        raise
    return connection


def _begin(connection: Connection) -> None:
    """A transaction that writes holds the lock from its beginning: it is never refused in its middle. A reader of one
    statement needs none."""
    if connection.get_execution_options().get("writes"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _version(connection: Connection) -> int:
    """The file's; 0 of one without tables."""
    version: int = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    return version


def _is_older(connection: Connection, path: str, known: Sequence[Migration]) -> bool:
    """Whether there is anything to write in it before it can be used. Raises `StoreError`."""
    version = _version(connection)
    if version > WITH_SCHEMA_VERSION:
        expected = f"expected a database of version {WITH_SCHEMA_VERSION}"
        raise StoreError(f"{path}: {expected}, got {version}; use a newer controller")
    return version < WITH_SCHEMA_VERSION or migrations.is_older(connection, path, known)


def _bring_to_newest(connection: Connection, path: str, known: Sequence[Migration]) -> None:
    version = _version(connection)  # again: another process may have been faster
    if version == 0:
        migrations.create(connection, known)
    elif version < WITH_SCHEMA_VERSION:
        before_revisions.bring_over(connection, version)
    if version < WITH_SCHEMA_VERSION:
        connection.exec_driver_sql(f"PRAGMA user_version = {WITH_SCHEMA_VERSION}")
    migrations.migrate(connection, path, known)
