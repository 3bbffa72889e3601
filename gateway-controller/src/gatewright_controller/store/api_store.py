"""What a store of APIs is: its values, its errors, and `Store`, which every store has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gatewright_documents.values import JsonObject

from gatewright_controller.model import Api, to_document
from gatewright_controller.resource import paths
from gatewright_controller.resource.claims import Claim
from gatewright_controller.resource.versions import Versions

ExpectedRevisions = frozenset[int] | None
"""The revisions that a write is for; None: any."""


@dataclass(frozen=True)
class StoredApi:
    """An API as it was last written. `revision` is the store's revision of that write; times are RFC 3339, UTC.

    `versions` are those that its attachments run now, exactly: `api` may ask for `v1`.
    """

    api: Api
    revision: int
    created_at: str
    updated_at: str
    versions: Versions = ()

    @property
    def name(self) -> str:
        """The API's name, which no other API has."""
        return self.api.metadata.name

    @property
    def context(self) -> str:
        """Its context with the version in it: `/orders/v1`."""
        return context_of(self.api)


@dataclass(frozen=True)
class StoredGateway:
    """A Gateway as it was last written, a document that was valid then; `updated_at` is RFC 3339, UTC."""

    document: JsonObject
    revision: int
    updated_at: str


def context_of(api: Api) -> str:
    """The API's context with its version in it."""
    return paths.context_of(api.spec.context, api.spec.version)


def is_same(stored: StoredApi, api: Api, versions: Versions) -> bool:
    """Whether a write would change nothing of it."""
    return (encode_api(stored.api), stored.versions) == (encode_api(api), versions)  # as text: in Python, 1 == True


def encode_api(api: Api) -> str:
    """The API as a store keeps it: its document, as JSON."""
    return json.dumps(to_document(api), ensure_ascii=False, separators=(",", ":"))


class ApiExistsError(Exception):
    """An API of this name is there already."""


class NoSuchApiError(LookupError):
    """There is no API of this name."""


class OtherRevisionError(Exception):
    """The API, which is `stored`, has another revision than a write was made for."""

    def __init__(self, stored: StoredApi) -> None:
        self.stored = stored
        super().__init__(f"{stored.name} has revision {stored.revision}")


class ContextTakenError(Exception):
    """Another API, named `api`, has the context on the host; that is a pattern."""

    def __init__(self, host: str, context: str, api: str) -> None:
        self.host, self.context, self.api = host, context, api
        super().__init__(f"{context} on {host} is {api}'s")


class StorageError(Exception):
    """The storage does not do now what is asked of it; what was stored is as it was. `full`: for want of room."""

    def __init__(self, reason: str, full: bool) -> None:
        self.full = full
        super().__init__(reason)


class StoreError(Exception):
    """The database cannot be used; the message says why and what to do."""


class NoDatabaseError(StoreError):
    """The database cannot be opened now. It may be later: once there is room, or a good one in its place."""


class Store(Protocol):
    """Every write is whole and on disk when it returns, and has a revision of its own, greater than all before.

    All raise `StorageError`.
    """

    @property
    def revision(self) -> int:
        """Of the newest write; 0 before the first."""

    def create(self, api: Api, versions: Versions = ()) -> StoredApi:
        """Raises `ApiExistsError`, `ContextTakenError`."""

    def replace(self, api: Api, versions: Versions = ()) -> StoredApi:
        """What is there already stays, with its revision. Raises `NoSuchApiError`, `ContextTakenError`."""

    def write_all(self, writes: Sequence[tuple[Api, Versions]]) -> list[StoredApi]:
        """Creates or replaces all of these APIs, or none: they have one revision. What is there already stays, with its
        own. Raises `ContextTakenError`."""

    def move(self, name: str, versions: Versions) -> None:
        """The API's attachments run these versions from now on. That is no write of the API: its revision stays."""

    def delete(self, name: str) -> int:
        """The revision of the deletion. Raises `NoSuchApiError`."""

    def get(self, name: str) -> StoredApi:
        """Raises `NoSuchApiError`."""

    def list(self) -> list[StoredApi]:
        """All, by name."""

    def claims(self) -> dict[Claim, str]:
        """What APIs have → their names."""

    def gateway(self) -> StoredGateway | None:
        """The Gateway that was written last, None where none was or it was deleted."""

    def put_gateway(self, document: JsonObject) -> StoredGateway:
        """In the place of the one that there is. The same again stays, with its revision."""

    def delete_gateway(self) -> int | None:
        """The revision of the deletion, None where there was none."""

    def close(self) -> None:
        """After this nothing else is called."""
