"""Backups of a PostgreSQL: all tables in one SQLite file, and an empty database filled from such a file.

Both kinds of databases read a file of rows, so a backup also carries a gateway from one to the other. pg_dump's fits
PostgreSQL alone, and has to be there in a version that is not older than the server.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from gatewright_documents.os_errors import os_reason
from sqlalchemy import Connection, Engine, delete, func, insert, select, update
from sqlalchemy.exc import DBAPIError

from gatewright_controller.store import tables
from gatewright_controller.store.databases import POSTGRESQL, open_sql_store
from gatewright_controller.store.errors import StoreError
from gatewright_controller.store.resources import API
from gatewright_controller.store.sqlite import open_sqlite

CONTINUE_AUDIT = select(
    func.setval(
        func.pg_get_serial_sequence("audit", "number"), func.coalesce(func.max(tables.audit.c.number), 0) + 1, False
    )
)
"""New entries get numbers behind those that were copied."""
ROWS = 500
"""Read and written at a time."""


def back_up(url: str, file: Path) -> int:
    """Copies a PostgreSQL as it is at one moment, also while controllers write, into a new file, 0600. Returns how many
    APIs are in it. Raises `StoreError`; then no file is left behind."""
    from gatewright_controller.store.postgresql import open_as_it_is

    if not url.startswith(POSTGRESQL):
        raise StoreError("expected a database such as postgresql://HOST/NAME, got another; SQLite copies its own files")
    with _disposing(open_as_it_is(url)) as source:
        try:
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))  # parameters of APIs hold secrets
        except OSError as error:
            raise StoreError(f"{file}: {os_reason(error)}; choose another file") from None
        try:
            with _disposing(open_sqlite(str(file))) as target:
                count = _between(source, target, _copy)
            _into_one_file(file)
        except BaseException:
            for left in (file, *(file.with_name(f"{file.name}{end}") for end in ("-wal", "-shm"))):
                left.unlink(missing_ok=True)
            raise
    return count


def restore(file: Path, url: str) -> int:
    """Fills a database in which nothing was ever written with a backup. Returns how many APIs are in it. Raises
    `StoreError`; then the database is as it was."""
    if not file.is_file():
        raise StoreError(f"{file}: expected a backup, found none")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "backup.db"
        shutil.copyfile(file, copy)  # one of an older release is upgraded, and the file stays as it is
        with _disposing(open_sqlite(str(copy))) as source, _disposing(open_sql_store(url).engine) as target:
            return _between(source, target, _fill)


@contextlib.contextmanager
def _disposing(engine: Engine) -> Iterator[Engine]:
    """The engine, whose connections are closed at the end."""
    try:
        yield engine
    finally:
        engine.dispose()


def _between(source: Engine, target: Engine, copy: Callable[[Connection, Connection], int]) -> int:
    isolation = {} if source.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    try:
        with (
            source.connect().execution_options(**isolation) as reading,
            reading.begin(),
            target.connect().execution_options(writes=True) as writing,
            writing.begin(),
        ):
            return copy(reading, writing)
    except DBAPIError as error:
        raise StoreError(f"the copy was broken off: {' '.join(str(error.orig).split())}") from None


def _fill(source: Connection, target: Connection) -> int:
    found = target.execute(
        update(tables.revision).values(value=tables.revision.c.value).returning(tables.revision.c.value)
    )
    if newest := found.scalar_one():  # and from now on no controller writes
        cure = "name a new database, or remove this one's tables first"
        raise StoreError(f"expected an empty database, got one that was written to, up to revision {newest}; {cure}")
    return _copy(source, target)


def _copy(source: Connection, target: Connection) -> int:
    for table in tables.metadata.sorted_tables:
        if table is tables.schema_version:  # both are of this version: opening has seen to that
            continue
        target.execute(delete(table))
        rows = source.execution_options(yield_per=ROWS).execute(select(table)).mappings()
        for part in rows.partitions(ROWS):
            target.execute(insert(table), [dict(row) for row in part])
    if target.dialect.name != "sqlite":  # which goes on from the greatest number by itself
        target.execute(CONTINUE_AUDIT)
    count: int = source.execute(
        select(func.count()).select_from(tables.resources).where(tables.resources.c.kind == API)
    ).scalar_one()
    return count


def _into_one_file(file: Path) -> None:
    """Without a log beside it."""
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
