"""The store in a database that SQLAlchemy speaks to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from gatewright_documents.values import JsonObject
from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from gatewright_controller.access import Token
from gatewright_controller.model import Api
from gatewright_controller.resource.claims import Claim
from gatewright_controller.resource.versions import Versions
from gatewright_controller.store.audit_rows import AuditEntry, AuditFilter, insert_entries, read_entries, read_entry
from gatewright_controller.store.authors import ANY_TERMS, NO_OWNER, Author, Terms
from gatewright_controller.store.batches import write_batch
from gatewright_controller.store.changes import changes_since
from gatewright_controller.store.consumer_keys import ConsumerKey, delete_key, insert_key, read_keys
from gatewright_controller.store.database_obstacles import is_full, reason_of
from gatewright_controller.store.database_state import DatabaseState, Obstacle
from gatewright_controller.store.errors import ApiExistsError, NoSuchApiError, NoSuchResourceError, StorageError
from gatewright_controller.store.past import entries, newest_document, past_resource
from gatewright_controller.store.pruning import START, Position, Pruned, PruningRound, Retention, find_excess
from gatewright_controller.store.resources import (
    API,
    CONSUMER,
    CONSUMER_KEY,
    GATEWAY,
    THE_GATEWAY,
    TOKEN,
    Action,
    Batch,
    Changes,
    Entry,
    PastResource,
    StoredApi,
    StoredGateway,
    StoredResource,
    WrittenBatch,
    encode,
    is_same,
    name_in,
    owner_after,
    refuse,
)
from gatewright_controller.store.rewriting import Rewriting, rewrite
from gatewright_controller.store.tables import resources, revision
from gatewright_controller.store.token_rows import delete_token, insert_token, read_tokens, token_of
from gatewright_controller.store.transaction import (
    HOLDERS,
    READ_SOME,
    RESOURCE,
    Transaction,
    decode_api,
    decode_claims,
    decode_resource,
    read_api,
    read_apis,
    read_gateway,
    read_holders,
    read_resource,
    read_resources,
)
from gatewright_controller.times import timestamp, utc_now

SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
UNHURRIED = "SET LOCAL idle_in_transaction_session_timeout = 0"
"""A snapshot holds no lock, and what is read may be worked on in between."""
NEXT_REVISION = update(revision).values(value=revision.c.value + 1).returning(revision.c.value)


Listen = Callable[[Callable[[], None]], Coroutine[None, None, None]]
"""Calls what it is given whenever something may have been written."""


class _UnchangedError(Exception):
    """Raised within a transaction that has nothing to write, which is undone with its revision."""


class SqlStore:
    """`turn`: what a thread holds while it uses the engine; SQLite's one connection is used by one thread at a time.
    notify: the statement by which other controllers hear of a write, and `listen` how this one hears of theirs; None
    where there are no others. obstacle: why the database does not answer, by the driver's error.
    """

    def __init__(
        self,
        engine: Engine,
        turn: AbstractContextManager[object],
        notify: str = "",
        listen: Listen | None = None,
        obstacle: Obstacle = reason_of,
    ) -> None:
        self.engine = engine
        self._turn, self._notify, self._listen = turn, notify, listen
        self._database = DatabaseState(obstacle)
        self._of_thread = threading.local()

    @property
    def trouble(self) -> str:
        return self._database.trouble

    @property
    def is_shared(self) -> bool:
        return self._listen is not None

    async def listen(self, written: Callable[[], None]) -> None:
        if self._listen:
            await self._listen(written)

    def changes_since(self, revision: int) -> Changes:
        with self.snapshot(), self._using() as connection:
            return changes_since(connection, revision)

    @property
    def revision(self) -> int:
        with self._using() as connection:
            value: int = connection.execute(select(revision.c.value)).scalar_one()
        return value

    def create(self, api: Api, versions: Versions = (), terms: Terms = ANY_TERMS) -> StoredApi:
        with self._write(terms) as transaction:
            if read_api(transaction.connection, api.metadata.name):
                raise ApiExistsError(api.metadata.name)
            return transaction.insert(api, versions)

    def replace(self, api: Api, versions: Versions = (), terms: Terms = ANY_TERMS) -> StoredApi:
        stored = self.get(api.metadata.name)
        refuse(API, stored.name, stored, terms)
        if not _changes(stored, api, versions, terms):
            return stored
        try:
            with self._write(terms) as transaction:
                stored = transaction.existing(api.metadata.name)
                if not _changes(stored, api, versions, terms):
                    raise _UnchangedError
                return transaction.update(stored, api, versions)
        except _UnchangedError:
            return stored

    def write_all(self, writes: Sequence[tuple[Api, Versions]], terms: Terms = ANY_TERMS) -> list[StoredApi]:
        with self._using() as connection:
            present = _present(connection, writes)
        if _changed(writes, present, terms):
            with self._write(terms) as transaction:
                present = _present(transaction.connection, writes)
                for api, versions in _changed(writes, present, terms):
                    name = api.metadata.name
                    present[name] = _put(transaction, present.get(name), api, versions)
        return [present[api.metadata.name] for api, _ in writes]

    def write_batch(self, batch: Batch, terms: Terms = ANY_TERMS) -> WrittenBatch:
        with self._write(terms) as transaction:
            return write_batch(batch, transaction)

    def rename(self, name: str, api: Api, versions: Versions = (), terms: Terms = ANY_TERMS) -> StoredApi:
        with self._write(terms) as transaction:
            old = transaction.existing(name)
            if read_api(transaction.connection, api.metadata.name):
                raise ApiExistsError(api.metadata.name)
            transaction.delete(old, "renamed", f"{api.metadata.name}@{transaction.revision}")
            was = f"{name}@{old.revision}"
            return transaction.insert(api, versions, "renamed", was, created_at=old.created_at, owner=old.owner)

    def roll_back(self, past: PastResource, api: Api, versions: Versions = (), terms: Terms = ANY_TERMS) -> StoredApi:
        source = f"{past.entry.name}@{past.entry.revision}"
        try:
            with self._write(terms) as transaction:
                stored = read_api(transaction.connection, past.entry.name)
                refuse(API, past.entry.name, stored, terms)
                if stored is None:
                    return transaction.insert(api, versions, "rolledBack", source, owner=past.entry.owner)
                if not _changes(stored, api, versions, terms):
                    raise _UnchangedError
                return transaction.update(stored, api, versions, "rolledBack", source)
        except _UnchangedError:
            return self.get(past.entry.name)

    def move(self, name: str, versions: Versions) -> None:
        statement = update(resources).where(resources.c.kind == API, resources.c.name == name)
        with self._using(writes=True) as connection:
            connection.execute(statement.values(versions=json.dumps(versions)))

    def delete(self, name: str, terms: Terms = ANY_TERMS) -> int:
        with self._write(terms) as transaction:
            transaction.delete(transaction.existing(name))
            return transaction.revision

    def get(self, name: str) -> StoredApi:
        with self._using() as connection:
            if (stored := read_api(connection, name)) is None:
                raise NoSuchApiError(name)
            return stored

    def find(self, names: Iterable[str]) -> dict[str, StoredApi]:
        with self._using() as connection:
            return read_apis(connection, names)

    def list(self, after: str = "", limit: int | None = None, containing: str = "") -> list[StoredApi]:
        if "\0" in after:  # which PostgreSQL has in no text, and no name has
            after = after.partition("\0")[0]
        statement = READ_SOME.where(resources.c.name > after) if after else READ_SOME
        if containing:
            statement = statement.where(resources.c.document.contains(containing, autoescape=True))
        with self._using() as connection:
            return [decode_api(row) for row in connection.execute(statement.limit(limit))]

    def claims(self) -> dict[Claim, str]:
        with self._using() as connection:
            return decode_claims(connection.execute(HOLDERS))

    def holders(self, wanted: Iterable[Claim]) -> dict[Claim, str]:
        with self._using() as connection:
            return read_holders(connection, wanted)

    def gateway(self) -> StoredGateway | None:
        with self._using() as connection:
            return read_gateway(connection)

    def put_gateway(
        self, document: JsonObject, terms: Terms = ANY_TERMS, past: PastResource | None = None
    ) -> StoredGateway:
        stored = self.gateway()
        refuse(GATEWAY, THE_GATEWAY, stored, terms)
        if stored and not _changes_document(stored, document, terms):
            return stored
        source = f"{THE_GATEWAY}@{past.entry.revision}" if past else ""
        with self._write(terms) as transaction:
            stored = read_gateway(transaction.connection)
            refuse(GATEWAY, THE_GATEWAY, stored, terms)
            owner = owner_after(stored.owner if stored else past.entry.owner if past else NO_OWNER, terms)
            action: Action = "rolledBack" if past else "changed" if stored else "created"
            return transaction.put_gateway(stored, document, action, source, owner)

    def delete_gateway(self, terms: Terms = ANY_TERMS) -> int | None:
        if self.gateway() is None:
            return None
        with self._write(terms) as transaction:
            if stored := read_gateway(transaction.connection):
                refuse(GATEWAY, THE_GATEWAY, stored, terms)
                transaction.delete_gateway(stored)
            return transaction.revision

    def record_gateway(self, document: JsonObject, author: Author) -> None:
        text = encode(document)
        with self._using() as connection:
            newest = newest_document(connection, GATEWAY, THE_GATEWAY)
        if newest == text:
            return
        with self._write(Terms(author)) as transaction:
            transaction.note(GATEWAY, THE_GATEWAY, "changed" if newest else "created", NO_OWNER, text)

    def resource(self, kind: str, name: str) -> StoredResource | None:
        with self._using() as connection:
            return read_resource(connection, kind, name)

    def resources(self, kind: str, after: str = "", limit: int | None = None) -> Sequence[StoredResource]:
        of_kind = select(*RESOURCE).where(resources.c.kind == kind).order_by(resources.c.name).limit(limit)
        if after:
            of_kind = of_kind.where(resources.c.name > after.partition("\0")[0])  # PostgreSQL has \0 in no text
        with self._using() as connection:
            return [decode_resource(kind, row) for row in connection.execute(of_kind)]

    def find_resources(self, kind: str, names: Iterable[str]) -> Sequence[StoredResource]:
        with self._using() as connection:
            return read_resources(connection, kind, names)

    def put_resource(
        self, kind: str, document: JsonObject, terms: Terms = ANY_TERMS, past: PastResource | None = None
    ) -> StoredResource:
        name = name_in(document)
        stored = self.resource(kind, name)
        refuse(kind, name, stored, terms)
        if stored and not _changes_document(stored, document, terms):
            return stored
        source = f"{name}@{past.entry.revision}" if past else ""
        with self._write(terms) as transaction:
            stored = read_resource(transaction.connection, kind, name)
            refuse(kind, name, stored, terms)
            action: Action = "rolledBack" if past else "changed" if stored else "created"
            owner = past.entry.owner if past else NO_OWNER
            return transaction.put_resource(kind, stored, document, action, source, owner)

    def delete_resource(self, kind: str, name: str, terms: Terms = ANY_TERMS) -> int:
        with self._write(terms) as transaction:
            if (stored := read_resource(transaction.connection, kind, name)) is None:
                raise NoSuchResourceError(kind, name)
            refuse(kind, name, stored, terms)
            transaction.delete_resource(stored)
            return transaction.revision

    def rewrite(self, kind: str, rewritten: Callable[[JsonObject], JsonObject]) -> Rewriting:
        return rewrite(lambda: self._using(writes=True), kind, rewritten)

    def history(self, kind: str, name: str, before: int | None = None, limit: int = 1000) -> Sequence[Entry]:
        with self._using() as connection:
            return entries(connection, kind, name, before, limit)

    def at(self, kind: str, name: str, revision: int) -> PastResource:
        with self._using() as connection:
            return past_resource(connection, kind, name, revision)

    def create_token(self, token: Token, digest: str, author: Author) -> None:
        with self._write(Terms(author)) as transaction:
            insert_token(transaction.connection, token, digest)
            transaction.audit("created", TOKEN, token.name)

    def delete_token(self, name: str, author: Author) -> None:
        with self._write(Terms(author)) as transaction:
            delete_token(transaction.connection, name)
            transaction.audit("deleted", TOKEN, name)

    def tokens(self) -> Sequence[Token]:
        with self._using() as connection:
            return read_tokens(connection)

    def token_of(self, digest: str) -> Token | None:
        with self._using() as connection:
            return token_of(connection, digest)

    def consumer_keys(self, consumer: str | None = None) -> Sequence[ConsumerKey]:
        if consumer is not None and "\0" in consumer:  # which PostgreSQL has in no text, and no name has
            return []
        with self._using() as connection:
            return read_keys(connection, consumer)

    def create_consumer_key(self, key: ConsumerKey, terms: Terms = ANY_TERMS) -> int:
        with self._write(terms) as transaction:
            _refuse_consumer(transaction, key.consumer)
            insert_key(transaction.connection, key, transaction.revision)
            transaction.audit("created", CONSUMER_KEY, f"{key.consumer}/{key.name}")
            return transaction.revision

    def delete_consumer_key(self, consumer: str, name: str, terms: Terms = ANY_TERMS) -> int:
        with self._write(terms) as transaction:
            _refuse_consumer(transaction, consumer)
            delete_key(transaction.connection, consumer, name, transaction.revision)
            transaction.audit("deleted", CONSUMER_KEY, f"{consumer}/{name}")
            return transaction.revision

    def audit(self, asked: AuditFilter, limit: int) -> Sequence[AuditEntry]:
        with self._using() as connection:
            return read_entries(connection, asked, limit)

    def audit_entry(self, number: int) -> AuditEntry | None:
        with self._using() as connection:
            return read_entry(connection, number)

    def record(self, entry: AuditEntry) -> None:
        with self._using(writes=True) as connection:
            insert_entries(connection, [entry])

    def prune(self, keep: Retention) -> Iterator[Pruned]:
        pruning = PruningRound(keep)
        after: Position | None = START
        while after is not None:
            with self._using() as connection:
                excess, after = find_excess(connection, after, keep)
            yield Pruned()
            while excess:
                with self._using(writes=True) as connection:
                    pruned, excess = pruning.delete_excess(connection, excess)
                yield pruned
        while pruned := self._prune_audit_log(pruning):
            yield pruned

    def _prune_audit_log(self, pruning: PruningRound) -> Pruned:
        with self._using(writes=True) as connection:
            return pruning.delete_audit_entries(connection)

    def close(self) -> None:
        with self._turn:
            self.engine.dispose()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        if not self.is_shared or self._snapshot is not None:
            yield
            return
        with self._using() as connection:
            connection.exec_driver_sql(SNAPSHOT)
            connection.exec_driver_sql(UNHURRIED)
            self._of_thread.snapshot = connection
            try:
                yield
            finally:
                self._of_thread.snapshot = None

    @property
    def _snapshot(self) -> Connection | None:
        """In which this thread reads."""
        snapshot: Connection | None = getattr(self._of_thread, "snapshot", None)
        return snapshot

    @contextmanager
    def _using(self, *, writes: bool = False) -> Iterator[Connection]:
        """A connection in one transaction; committed at its end, undone by any exception. A read within a snapshot has
        that one's."""
        if not writes and (snapshot := self._snapshot) is not None:
            yield snapshot
            return
        connected = committing = False
        with self._database.trying(), self._turn:
            try:
                with self.engine.connect().execution_options(writes=writes) as connection:
                    connected = True
                    self._database.note_answer()
                    with connection.begin():
                        yield connection
                        committing = writes
            except DBAPIError as error:
                if error.connection_invalidated or not connected:
                    reason = self._database.note_failure(error.orig)
                    raise StorageError(reason, full=False, away=True, unknown=committing) from error
                raise StorageError(reason_of(error.orig), is_full(error.orig)) from error
            except PoolTimeoutError as error:
                raise StorageError("all connections to the database are in use", full=False) from error

    @contextmanager
    def _write(self, terms: Terms) -> Iterator[Transaction]:
        """One transaction with its revision and time."""
        with self._using(writes=True) as connection:
            number: int = connection.execute(NEXT_REVISION).scalar_one()
            transaction = Transaction(connection, number, timestamp(utc_now()), terms)
            yield transaction
            transaction.flush()
            if self._notify:
                connection.exec_driver_sql(self._notify)


def _refuse_consumer(transaction: Transaction, name: str) -> None:
    """Raises `NoSuchResourceError`, `NotPermittedError`."""
    if (stored := read_resource(transaction.connection, CONSUMER, name)) is None:
        raise NoSuchResourceError(CONSUMER, name)
    transaction.terms.permit.refuse_other_resources(CONSUMER, stored.document)


def _changes(stored: StoredApi, api: Api, versions: Versions, terms: Terms) -> bool:
    return not is_same(stored, api, versions) or owner_after(stored.owner, terms) != stored.owner


def _changes_document(stored: StoredGateway | StoredResource, document: JsonObject, terms: Terms) -> bool:
    return encode(stored.document) != encode(document) or owner_after(stored.owner, terms) != stored.owner


def _present(connection: Connection, writes: Sequence[tuple[Api, Versions]]) -> dict[str, StoredApi]:
    return read_apis(connection, (api.metadata.name for api, _ in writes))


def _changed(
    writes: Sequence[tuple[Api, Versions]], present: dict[str, StoredApi], terms: Terms
) -> list[tuple[Api, Versions]]:
    """The writes that change something. Raises what refuses one of them."""
    changed = []
    for api, versions in writes:
        stored = present.get(api.metadata.name)
        if stored:
            refuse(API, stored.name, stored, terms)
        if not stored or _changes(stored, api, versions, terms):
            changed.append((api, versions))
    return changed


def _put(transaction: Transaction, old: StoredApi | None, api: Api, versions: Versions) -> StoredApi:
    return transaction.update(old, api, versions) if old else transaction.insert(api, versions)
