"""A store in SQLite: its tables, its writes, and how a database of an older version is brought to this one."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from gatewright_documents.values import JsonObject

from gatewright_controller.model import Api, from_document
from gatewright_controller.resource import hosts
from gatewright_controller.resource.claims import Claim, claims_of
from gatewright_controller.resource.versions import Versions, attachments, with_exact_versions
from gatewright_controller.store.api_store import (
    ApiExistsError,
    ContextTakenError,
    NoDatabaseError,
    NoSuchApiError,
    StorageError,
    Store,
    StoredApi,
    StoredGateway,
    StoreError,
    context_of,
    encode_api,
    is_same,
)
from gatewright_controller.store.database_obstacles import DamagedError, obstacle

log = logging.getLogger(__name__)
APIS = """
    name TEXT PRIMARY KEY,
    document TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    versions TEXT NOT NULL
"""
CLAIMS = """
CREATE TABLE claims (
    host TEXT NOT NULL,
    context TEXT NOT NULL,
    listener TEXT NOT NULL,
    api TEXT NOT NULL,
    PRIMARY KEY (host, context, listener)
) WITHOUT ROWID
"""
CLAIMS_INDEX = "CREATE INDEX claims_of ON claims (api)"
CLASHING = "SELECT api FROM claims WHERE host = ? AND context = ? AND (? IN ('', listener) OR listener = '')"
"""As `Claim.clashes`."""
SCHEMA = ";".join(
    [
        "CREATE TABLE revision (value INTEGER NOT NULL)",
        "INSERT INTO revision VALUES (0)",
        f"CREATE TABLE apis ({APIS}) WITHOUT ROWID",
        CLAIMS,
        CLAIMS_INDEX,
        "PRAGMA user_version = 5;",
    ]
)
SCHEMA_VERSION = 5
GATEWAY_TABLE = """
CREATE TABLE IF NOT EXISTS gateway (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    document TEXT NOT NULL,
    revision INTEGER NOT NULL,
    updated_at TEXT NOT NULL
);
"""
"""At most one row. A controller that does not know the table is not hurt by it, so it has no version of its own."""
COLUMNS = "document, revision, created_at, updated_at, versions"
Row = tuple[str, int, str, str, str]


class SqliteStore:
    """One connection, used by one thread at a time. `path` may be `:memory:`. Raises `StoreError`."""

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        try:
            self._connection = _connect(path)
        except (sqlite3.Error, OSError) as error:
            raise NoDatabaseError(f"the controller cannot open its database: {obstacle(path, error)}") from None

    @property
    def revision(self) -> int:
        with self._using():
            value: int = self._connection.execute("SELECT value FROM revision").fetchone()[0]
        return value

    def create(self, api: Api, versions: Versions = ()) -> StoredApi:
        with self._write() as (revision, now):
            if self._row(api.metadata.name):
                raise ApiExistsError(api.metadata.name)
            self._claim(api)
            return self._insert(api, versions, revision, now)

    def replace(self, api: Api, versions: Versions = ()) -> StoredApi:
        same = self.get(api.metadata.name)
        if is_same(same, api, versions):
            return same
        with self._write() as (revision, now):
            old = self._existing(api.metadata.name)
            self._claim(api)
            return self._update(old, api, versions, revision, now)

    def write_all(self, writes: Sequence[tuple[Api, Versions]]) -> list[StoredApi]:
        before = {stored.name: stored for stored in self.list()}
        changed = [
            (api, versions)
            for api, versions in writes
            if (stored := before.get(api.metadata.name)) is None or not is_same(stored, api, versions)
        ]
        after = {**before, **self._write_each(changed, before)} if changed else before
        return [after[api.metadata.name] for api, _ in writes]

    def _write_each(
        self, writes: Sequence[tuple[Api, Versions]], before: Mapping[str, StoredApi]
    ) -> dict[str, StoredApi]:
        """All of them in one transaction, which may pass a context from one to another."""
        written: dict[str, StoredApi] = {}
        with self._write() as (revision, now):
            for api, _ in writes:
                self._connection.execute("DELETE FROM claims WHERE api = ?", (api.metadata.name,))
            for api, versions in writes:
                self._claim(api)
                old = before.get(api.metadata.name)
                written[api.metadata.name] = (
                    self._update(old, api, versions, revision, now)
                    if old
                    else self._insert(api, versions, revision, now)
                )
        return written

    def move(self, name: str, versions: Versions) -> None:
        with self._using():
            self._connection.execute("UPDATE apis SET versions = ? WHERE name = ?", (json.dumps(versions), name))

    def delete(self, name: str) -> int:
        with self._write() as (revision, _):
            self._existing(name)
            self._connection.execute("DELETE FROM apis WHERE name = ?", (name,))
            self._connection.execute("DELETE FROM claims WHERE api = ?", (name,))
            return revision

    def get(self, name: str) -> StoredApi:
        with self._using():
            return self._existing(name)

    def list(self) -> list[StoredApi]:
        with self._using():
            rows = self._connection.execute(f"SELECT {COLUMNS} FROM apis ORDER BY name")  # noqa: S608 - a constant
            return [_decode(row) for row in rows]

    def claims(self) -> dict[Claim, str]:
        with self._using():
            rows = self._connection.execute("SELECT host, context, listener, api FROM claims")
            return {Claim(host, context, listener): api for host, context, listener, api in rows}

    def gateway(self) -> StoredGateway | None:
        with self._using():
            return self._gateway()

    def put_gateway(self, document: JsonObject) -> StoredGateway:
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        if (same := self.gateway()) and same.document == document:
            return same
        with self._write() as (revision, now):
            self._connection.execute("INSERT OR REPLACE INTO gateway VALUES (1, ?, ?, ?)", (text, revision, now))
            return StoredGateway(document, revision, now)

    def delete_gateway(self) -> int | None:
        if self.gateway() is None:
            return None
        with self._write() as (revision, _):
            self._connection.execute("DELETE FROM gateway")
            return revision

    def _gateway(self) -> StoredGateway | None:
        row = self._connection.execute("SELECT document, revision, updated_at FROM gateway").fetchone()
        return StoredGateway(json.loads(row[0]), row[1], row[2]) if row else None

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _using(self) -> Iterator[None]:
        """The connection, for one thread."""
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise StorageError(str(error), error.sqlite_errorcode == sqlite3.SQLITE_FULL) from error

    @contextmanager
    def _write(self) -> Iterator[tuple[int, str]]:
        """One transaction with its revision and time; committed at its end, undone by any exception."""
        with self._using():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                statement = "UPDATE revision SET value = value + 1 RETURNING value"
                revision: int = self._connection.execute(statement).fetchone()[0]
                yield revision, datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite itself undoes one for which there is no room
                    self._connection.execute("ROLLBACK")
                raise

    def _row(self, name: str) -> Row | None:
        statement = f"SELECT {COLUMNS} FROM apis WHERE name = ?"  # noqa: S608 - a constant
        row: Row | None = self._connection.execute(statement, (name,)).fetchone()
        return row

    def _insert(self, api: Api, versions: Versions, revision: int, now: str) -> StoredApi:
        row = (api.metadata.name, encode_api(api), revision, now, now, json.dumps(versions))
        self._connection.execute("INSERT INTO apis VALUES (?, ?, ?, ?, ?, ?)", row)
        return StoredApi(api, revision, now, now, versions)

    def _update(self, old: StoredApi, api: Api, versions: Versions, revision: int, now: str) -> StoredApi:
        row = (encode_api(api), revision, now, json.dumps(versions), old.name)
        columns = "document = ?, revision = ?, updated_at = ?, versions = ?"
        self._connection.execute(f"UPDATE apis SET {columns} WHERE name = ?", row)  # noqa: S608 - a constant
        return StoredApi(api, revision, old.created_at, now, versions)

    def _existing(self, name: str) -> StoredApi:
        if (row := self._row(name)) is None:
            raise NoSuchApiError(name)
        return _decode(row)

    def _claim(self, api: Api) -> None:
        """The API's context on each of its hosts and listeners, in place of what it had before."""
        context, name = context_of(api), api.metadata.name
        self._connection.execute("DELETE FROM claims WHERE api = ?", (name,))
        for claim in claims_of(api.spec.hosts, context, api.spec.listeners):
            if row := self._connection.execute(CLASHING, claim).fetchone():
                raise ContextTakenError(claim.host, context, row[0])
            self._connection.execute("INSERT INTO claims VALUES (?, ?, ?, ?)", (*claim, name))


def _connect(path: str) -> sqlite3.Connection:
    if path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=5)
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    # Of 10,000 APIs with five operations each, 45 MiB, this takes less than 0.1 s.
    if (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise DamagedError(found)
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
    elif 0 < version < SCHEMA_VERSION:
        for step in STEPS[version - 1 :]:
            step(connection)
    elif version != SCHEMA_VERSION:
        raise StoreError(
            f"{path}: expected a database of version {SCHEMA_VERSION}, got {version}; use a newer controller"
        )
    connection.executescript(GATEWAY_TABLE)


def _ask_by_major_version(connection: sqlite3.Connection) -> None:
    """From version 1, in which an attachment had only the exact version that `v1` once meant: it asks for `v1` again.

    It is not known whether the API asked for the exact version; as long as the build has it, that makes no difference.
    """
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("ALTER TABLE apis ADD COLUMN versions TEXT NOT NULL DEFAULT '[]'")
    for name, document in connection.execute("SELECT name, document FROM apis").fetchall():
        api = from_document(json.loads(document))
        versions = tuple(attachment.version for _, attachment in attachments(api))
        asked = with_exact_versions(api, tuple(version.partition(".")[0] for version in versions))
        row = (encode_api(asked), json.dumps(versions), name)
        connection.execute("UPDATE apis SET document = ?, versions = ? WHERE name = ?", row)
    connection.execute("PRAGMA user_version = 2")
    connection.execute("COMMIT")
    log.info("database brought to version 2: APIs ask for v1 of a policy, and keep the exact version that they have")


def _keep_loose_paths(connection: sqlite3.Connection) -> None:
    """From version 2, which knew no `strictPaths`: what an API answered then, it answers still."""
    connection.execute("BEGIN IMMEDIATE")
    for name, text in connection.execute("SELECT name, document FROM apis").fetchall():
        document: JsonObject = json.loads(text)
        document["spec"]["strictPaths"] = False
        changed = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        connection.execute("UPDATE apis SET document = ? WHERE name = ?", (changed, name))
    connection.execute("PRAGMA user_version = 3")
    connection.execute("COMMIT")
    log.info("database brought to version 3: the APIs in it have strictPaths: false")


def _claim_contexts(connection: sqlite3.Connection) -> None:
    """From version 3, in which a context was one API's on every host."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"CREATE TABLE moved ({APIS}) WITHOUT ROWID")
    columns = f"name, {COLUMNS}"
    connection.execute(f"INSERT INTO moved ({columns}) SELECT {columns} FROM apis")  # noqa: S608 - constants
    connection.execute(CLAIMS)
    connection.execute(f"INSERT INTO claims SELECT '{hosts.EVERY_HOST}', context, '', name FROM apis")  # noqa: S608
    connection.execute("DROP TABLE apis")
    connection.execute("ALTER TABLE moved RENAME TO apis")
    connection.execute(CLAIMS_INDEX)
    connection.execute("PRAGMA user_version = 4")
    connection.execute("COMMIT")
    log.info("database brought to version 4: a context is an API's on its hosts")


def _claim_listeners(connection: sqlite3.Connection) -> None:
    """From version 4, in which a context on a host was one API's on every listener."""
    connection.execute("BEGIN IMMEDIATE")
    joined = "SELECT host, context, api, document FROM claims JOIN apis ON apis.name = claims.api"
    rows = connection.execute(joined).fetchall()
    connection.execute("DROP TABLE claims")
    connection.execute(CLAIMS)
    for host, context, name, text in rows:
        for claim in claims_of([host], context, json.loads(text)["spec"].get("listeners", [])):
            connection.execute("INSERT INTO claims VALUES (?, ?, ?, ?)", (*claim, name))
    connection.execute(CLAIMS_INDEX)
    connection.execute("PRAGMA user_version = 5")
    connection.execute("COMMIT")
    log.info("database brought to version 5: a context is an API's on its listeners")


STEPS = (_ask_by_major_version, _keep_loose_paths, _claim_contexts, _claim_listeners)
"""From each version to the next."""


def _decode(row: Row) -> StoredApi:
    document: JsonObject = json.loads(row[0])
    return StoredApi(from_document(document), row[1], row[2], row[3], tuple(json.loads(row[4])))


def open_store(url: str) -> Store:
    """`sqlite:PATH` or `sqlite::memory:`. Raises `StoreError`."""
    scheme, separator, path = url.partition(":")
    if scheme != "sqlite" or not separator or not path:
        raise StoreError(f"expected a database such as sqlite:/var/lib/gatewright/controller.db, got {url!r}")
    return SqliteStore(path)
