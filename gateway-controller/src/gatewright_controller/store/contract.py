"""`Store`: what every store does, wherever it keeps things."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from gatewright_documents.values import JsonObject

from gatewright_controller.access import Token
from gatewright_controller.model import Api
from gatewright_controller.resource.claims import Claim
from gatewright_controller.resource.versions import Versions
from gatewright_controller.store.audit_rows import AuditEntry, AuditFilter
from gatewright_controller.store.authors import ANY_TERMS, Author, Terms
from gatewright_controller.store.consumer_keys import ConsumerKey
from gatewright_controller.store.pruning import Pruned, Retention
from gatewright_controller.store.resources import (
    Batch,
    Changes,
    Entry,
    PastResource,
    StoredApi,
    StoredGateway,
    StoredResource,
    WrittenBatch,
)
from gatewright_controller.store.rewriting import Rewriting


class Store(Protocol):
    """Every write is whole and on disk when it returns, and has a revision of its own, greater than all before. It
    leaves an entry in the history of each resource that it changes, and in the audit log; one that changes nothing
    leaves none, and has no revision.

    All raise `StorageError`; all writes of resources raise `NotPermittedError`, `OtherRevisionError` and
    `OtherOwnerError`.
    """

    @property
    def revision(self) -> int:
        """Of the newest write; 0 before the first."""

    @property
    def trouble(self) -> str:
        """Why the database does not answer, with the cure, by its last use; "" while it does."""

    def create(self, api: Api, versions: Versions = (), terms: Terms = ANY_TERMS) -> StoredApi:
        """Raises `ApiExistsError`, `ContextTakenError`."""

    def replace(self, api: Api, versions: Versions = (), terms: Terms = ANY_TERMS) -> StoredApi:
        """What is there already stays, with its revision. Raises `NoSuchApiError`, `ContextTakenError`."""

    def write_all(self, writes: Sequence[tuple[Api, Versions]], terms: Terms = ANY_TERMS) -> list[StoredApi]:
        """Creates or replaces all of these APIs, or none: they have one revision. What is there already stays, with its
        own. Raises `ContextTakenError`."""

    def write_batch(self, batch: Batch, terms: Terms = ANY_TERMS) -> WrittenBatch:
        """All of it, or nothing. Raises `NoSuchApiError`, `ContextTakenError`."""

    def rename(self, name: str, api: Api, versions: Versions = (), terms: Terms = ANY_TERMS) -> StoredApi:
        """`api` takes the place of the API of this name, which is gone from then on. Raises `NoSuchApiError`,
        `ApiExistsError`, `ContextTakenError`."""

    def roll_back(self, past: PastResource, api: Api, versions: Versions = (), terms: Terms = ANY_TERMS) -> StoredApi:
        """Creates or replaces the API, which was made of a past one. Raises `ContextTakenError`."""

    def move(self, name: str, versions: Versions) -> None:
        """The API's attachments run these versions from now on. That is no write of the API: its revision stays."""

    def delete(self, name: str, terms: Terms = ANY_TERMS) -> int:
        """The revision of the deletion. Raises `NoSuchApiError`."""

    def get(self, name: str) -> StoredApi:
        """Raises `NoSuchApiError`."""

    def find(self, names: Iterable[str]) -> dict[str, StoredApi]:
        """The APIs of these names, as far as there are any, by name."""

    def list(self, after: str = "", limit: int | None = None, containing: str = "") -> list[StoredApi]:
        """By name, those behind `after`; at most `limit` of them. containing: only those whose JSON, without spaces,
        has this text."""

    def claims(self) -> dict[Claim, str]:
        """What APIs have → their names."""

    def holders(self, wanted: Iterable[Claim]) -> dict[Claim, str]:
        """What APIs have at the hosts and contexts of these claims, on any listener → their names."""

    def gateway(self) -> StoredGateway | None:
        """The Gateway that was written last, None where none was or it was deleted."""

    def put_gateway(
        self, document: JsonObject, terms: Terms = ANY_TERMS, past: PastResource | None = None
    ) -> StoredGateway:
        """In the place of the one that there is. The same again stays, with its revision. past: what it was made of, in
        a rollback."""

    def delete_gateway(self, terms: Terms = ANY_TERMS) -> int | None:
        """The revision of the deletion, None where there was none."""

    def record_gateway(self, document: JsonObject, author: Author) -> None:
        """An entry in the Gateway's history for one that is not kept here, as a file's: none where the newest entry has
        the same document."""

    def resource(self, kind: str, name: str) -> StoredResource | None:
        """Of another kind than these, if there is one."""

    def resources(self, kind: str, after: str = "", limit: int | None = None) -> Sequence[StoredResource]:
        """Those of the kind behind the name `after`, by name; limit: the first of them."""

    def find_resources(self, kind: str, names: Iterable[str]) -> Sequence[StoredResource]:
        """Those of these names, as far as there are any, by name."""

    def put_resource(
        self, kind: str, document: JsonObject, terms: Terms = ANY_TERMS, past: PastResource | None = None
    ) -> StoredResource:
        """In the place of the one of this name, if there is one. The same again stays, with its revision. past: what it
        was made of, in a rollback."""

    def delete_resource(self, kind: str, name: str, terms: Terms = ANY_TERMS) -> int:
        """The revision of the deletion. Raises `NoSuchResourceError`."""

    def rewrite(self, kind: str, rewritten: Callable[[JsonObject], JsonObject]) -> Rewriting:
        """Puts another form of the same in the place of each document of the kind, past ones too: that is no write of
        a resource. Each is done by itself, and left alone where the form is the same or another write was quicker."""

    def history(self, kind: str, name: str, before: int | None = None, limit: int = 1000) -> Sequence[Entry]:
        """The newest first; those older than the revision `before`."""

    def at(self, kind: str, name: str, revision: int) -> PastResource:
        """As the write of that revision left it; 0: the newest, -1: the one before it, and so on. Raises
        `NoSuchRevisionError`."""

    def create_token(self, token: Token, digest: str, author: Author) -> None:
        """digest: of its text. Raises `TokenExistsError`."""

    def delete_token(self, name: str, author: Author) -> None:
        """Raises `NoSuchTokenError`."""

    def tokens(self) -> Sequence[Token]:
        """All, by name."""

    def token_of(self, digest: str) -> Token | None:
        """The token whose text has this digest, if there is one."""

    def consumer_keys(self, consumer: str | None = None) -> Sequence[ConsumerKey]:
        """Keys by consumer and name. consumer: of this one alone."""

    def create_consumer_key(self, key: ConsumerKey, terms: Terms = ANY_TERMS) -> int:
        """The revision of this write. Raises `NoSuchResourceError`, `NotPermittedError`, `ConsumerKeyExistsError`,
        `ConsumerKeyInUseError`."""

    def delete_consumer_key(self, consumer: str, name: str, terms: Terms = ANY_TERMS) -> int:
        """As `create_consumer_key`. Raises `NoSuchConsumerKeyError`."""

    def audit(self, asked: AuditFilter, limit: int) -> Sequence[AuditEntry]:
        """Entries of the audit log, the newest first."""

    def audit_entry(self, number: int) -> AuditEntry | None:
        """The entry with this number, if there is one."""

    def record(self, entry: AuditEntry) -> None:
        """An entry for something that left none by itself, as a write that was refused."""

    def prune(self, keep: Retention) -> Iterator[Pruned]:
        """Deletes what need not be kept of the history and the audit log. Each step is a small transaction of its own,
        and returns what it has deleted; all of them have one entry in the audit log, where anything was deleted."""

    def snapshot(self) -> AbstractContextManager[None]:
        """What this thread reads within it is as of one moment, whatever other controllers write; its own writes are
        not seen. Reads raise the driver's errors in it, and it raises `StorageError`."""

    @property
    def is_shared(self) -> bool:
        """Whether other controllers may write here, too."""

    async def listen(self, written: Callable[[], None]) -> None:
        """Calls `written` whenever something may have been written, by whichever controller, until it is cancelled;
        only where `is_shared`."""

    def changes_since(self, revision: int) -> Changes:
        """What was written after that revision."""

    def close(self) -> None:
        """After this nothing else is called."""
