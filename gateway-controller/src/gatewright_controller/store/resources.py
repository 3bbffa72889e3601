"""What a store keeps: resources as they were last written, and the history of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from gatewright_documents.mistake import Invalid, Mistake
from gatewright_documents.values import JsonObject

from gatewright_controller.model import Api, to_document
from gatewright_controller.resource import paths
from gatewright_controller.resource.versions import Versions
from gatewright_controller.store.authors import NO_OWNER, Author, Terms
from gatewright_controller.store.errors import OtherOwnerError, OtherRevisionError

API, GATEWAY, TOKEN = "Api", "Gateway", "Token"
SECRET, DEFAULTS, NAMESPACE = "Secret", "Defaults", "Namespace"
NODE_GATEWAY = "NodeGateway"
CONSUMER, PLAN, CONSUMER_KEY = "Consumer", "Plan", "ConsumerKey"
"""Kinds of resources."""
THE_GATEWAY = "gateway"
"""The name by which the one Gateway is kept."""
Action = Literal["created", "changed", "deleted", "renamed", "rolledBack"]


class StoredApi(msgspec.Struct, frozen=True):
    """An API as it was last written. `revision` is the store's revision of that write; times are RFC 3339, UTC.

    `versions` are those that its attachments run now, exactly: `api` may ask for `v1`.
    """

    api: Api
    revision: int
    created_at: str
    updated_at: str
    versions: Versions = ()
    owner: str = NO_OWNER

    @property
    def name(self) -> str:
        """The API's name, which no other API has."""
        return self.api.metadata.name

    @property
    def context(self) -> str:
        """Its context with the version in it: `/orders/v1`."""
        return context_of(self.api)


class StoredGateway(msgspec.Struct, frozen=True):
    """A Gateway as it was last written, a document that was valid then; `updated_at` is RFC 3339, UTC."""

    document: JsonObject
    revision: int
    updated_at: str
    owner: str = NO_OWNER


class StoredResource(msgspec.Struct, frozen=True):
    """A resource of another kind than these, as it was last written. document: in the form in which its kind is kept,
    which has `metadata` in clear; times are RFC 3339, UTC.
    """

    kind: str
    document: JsonObject
    revision: int
    created_at: str
    updated_at: str
    owner: str = NO_OWNER

    @property
    def name(self) -> str:
        """Its name, which no other one of the kind has."""
        return name_in(self.document)


class Entry(msgspec.Struct, frozen=True):
    """One write in the history of a resource.

    counterpart: of a `rolledBack` one the revision that it was made of, `NAME@REVISION`. What was renamed ends with a
    `renamed` entry, whose counterpart is what it became, and that begins with one whose counterpart is what it was.
    """

    kind: str
    name: str
    revision: int
    action: Action
    owner: str
    at: str
    author: Author
    counterpart: str = ""

    @property
    def source(self) -> str:
        """What the resource was made of, `NAME@REVISION`; "" where the write itself says all."""
        return "" if self.successor else self.counterpart

    @property
    def successor(self) -> str:
        """What the resource became by this write, with another name, `NAME@REVISION`; "" where it stayed."""
        return self.counterpart if self.counterpart.endswith(f"@{self.revision}") else ""


class PastResource(msgspec.Struct, frozen=True):
    """A resource as a write left it. document: as it was stored, secrets with it; None where it was gone then."""

    entry: Entry
    document: JsonObject | None
    versions: Versions = ()


class Batch(msgspec.Struct, frozen=True):
    """apis: created, or put in the place of those that there are, as they are: one that is the same gets the revision
    too. renamed: new names, of `apis`, with those that they had. gateway: takes the place of the one that there is.
    seen: the revisions of all APIs of which the batch was made, by name; None: they may be any. resources: of other
    kinds, which take the place of those that there are, by kind and name; None: that one goes. seen_resources: the
    revisions that these were made of.
    """

    apis: Sequence[tuple[Api, Versions]] = ()
    renamed: Mapping[str, str] = msgspec.field(default_factory=dict)
    deleted: Sequence[str] = ()
    gateway: JsonObject | None = None
    deletes_gateway: bool = False
    seen: Mapping[str, int] | None = None
    resources: Mapping[tuple[str, str], JsonObject | None] = msgspec.field(default_factory=dict)
    seen_resources: Mapping[tuple[str, str], int] = msgspec.field(default_factory=dict)


class Changes(msgspec.Struct, frozen=True):
    """What was written after a revision. written: APIs as they are now. removed: names of those that are gone.
    gateway: whether the Gateway is among it. others: all else, by kind and name; None: it is gone. revision: of the
    newest write."""

    revision: int
    written: Sequence[StoredApi] = ()
    removed: Sequence[str] = ()
    gateway: bool = False
    others: Mapping[tuple[str, str], StoredResource | None] = msgspec.field(default_factory=dict)


class WrittenBatch(msgspec.Struct, frozen=True):
    """revision: of all that was written. gateway: the one that the batch had, as it is kept; None where it had none.
    resources: those of other kinds that the batch had."""

    revision: int
    gateway: StoredGateway | None = None
    resources: Sequence[StoredResource] = ()


def context_of(api: Api) -> str:
    """The API's context with its version in it."""
    return paths.context_of(api.spec.context, api.spec.version)


def is_same(stored: StoredApi, api: Api, versions: Versions) -> bool:
    """Whether a write would change nothing of the API and what it runs."""
    return (encode_api(stored.api), stored.versions) == (encode_api(api), versions)  # as text: in Python, 1 == True


def owner_after(owner: str, terms: Terms) -> str:
    """Whose a resource is after a write, which was `owner`'s before."""
    return terms.owner or owner


def name_in(document: JsonObject) -> str:
    """The name of the resource that a valid document says."""
    return str(document["metadata"]["name"])


def refuse(kind: str, name: str, stored: StoredApi | StoredGateway | StoredResource | None, terms: Terms) -> None:
    """Raises `NotPermittedError`, `OtherRevisionError` and `OtherOwnerError` where what is stored is not what the write
    may change, or is for."""
    if isinstance(stored, StoredApi):
        terms.permit.refuse_others(stored.api)
    if isinstance(stored, StoredResource):
        terms.permit.refuse_other_resources(kind, stored.document)
    if kind == GATEWAY:
        terms.permit.refuse_gateway()
    revision, updated_at = (stored.revision, stored.updated_at) if stored else (0, "")
    if terms.expected is not None and revision not in terms.expected:
        raise OtherRevisionError(kind, name, revision, updated_at)
    if stored and not terms.take_over and NO_OWNER not in (stored.owner, terms.owner) and stored.owner != terms.owner:
        raise OtherOwnerError(kind, name, stored.owner, terms.owner)


def kept_document(past: PastResource) -> JsonObject:
    """What can be rolled back to. Raises `Invalid` where the resource was gone then."""
    if past.document is None:
        expected = "a revision with a document"
        got = f"{past.entry.name}@{past.entry.revision}, by which it was {past.entry.action}"
        raise Invalid([Mistake.expecting(expected, got, "name an older one of its history", field="revision")])
    return past.document


def encode(document: JsonObject) -> str:
    """A document as a store keeps it, as JSON."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def encode_api(api: Api) -> str:
    """The API as a store keeps it: its document, as JSON."""
    return encode(to_document(api))
