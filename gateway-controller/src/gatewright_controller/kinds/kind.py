"""What a kind of resource is, beside Api and Gateway: one class for each, and `Resources` does the rest."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import msgspec
from gatewright_documents.mistake import Mistake
from gatewright_documents.strict import mistakes_of
from gatewright_documents.values import JsonObject, KeyPath

from gatewright_controller.access import Right
from gatewright_controller.model import Api
from gatewright_controller.store import StoredResource

Kept = Mapping[str, JsonObject | None]
"""Documents as they are kept, by name; None where there is none."""


class KindStatus(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What has become of a resource."""

    revision: int
    created_at: str
    """RFC 3339, UTC."""
    updated_at: str
    owner: str | msgspec.UnsetType = msgspec.UNSET
    """Who applies it, where a write said so."""


class ResourceUser(NamedTuple):
    """A resource that uses another one."""

    kind: str
    name: str


class Kind(ABC):
    """name: as documents have it. plural: in paths. model: its fields. read, write: rights. status_shape: what a client
    is told beside the document. hides_values: whether mistakes show no value of a document.

    What a method does not say of a kind is that of one whose documents are kept and shown as they are written.
    """

    name: ClassVar[str]
    plural: ClassVar[str]
    model: ClassVar[type[msgspec.Struct]]
    read: ClassVar[Right]
    write: ClassVar[Right]
    status_shape: ClassVar[type[KindStatus]] = KindStatus
    hides_values: ClassVar[bool] = False

    @classmethod
    def plural_name(cls) -> str:
        """`Secrets`"""
        return cls.name if cls.name.endswith("s") else f"{cls.name}s"

    @classmethod
    def mistakes(cls, document: JsonObject) -> Iterator[Mistake]:
        """All that keeps a document from being of this kind."""
        yield from mistakes_of(cls.model, document, hide_values=cls.hides_values)

    @classmethod
    def filled(cls, document: JsonObject, values: Mapping[str, str]) -> JsonObject:
        """A valid document with the values that came beside it. Raises `Invalid`."""
        del values
        return document

    def keep(self, document: JsonObject, stored: JsonObject | None) -> JsonObject:
        """A valid document in the form in which it is kept. stored: what it takes the place of; the same again is the
        same form. Raises `Invalid`."""
        del stored
        kept: JsonObject = msgspec.to_builtins(msgspec.convert(document, self.model))
        return kept

    def show(self, kept: JsonObject) -> JsonObject:
        """What clients are shown."""
        return kept

    def changed(self, before: JsonObject, after: JsonObject) -> Mapping[KeyPath, str]:
        """What a diff says behind values of `after` that are shown alike and are not."""
        del before, after
        return {}

    def digest(self, document: JsonObject) -> str:
        """Names what a document says, for a plan."""
        return msgspec.json.encode(document, order="sorted").decode()

    def status(self, stored: StoredResource) -> Mapping[str, Any]:
        """The fields of `status_shape` that `KindStatus` has not."""
        del stored
        return {}

    def effects(self, name: str, before: JsonObject | None, after: JsonObject | None) -> Iterator[str]:
        """What a step of a plan means, a sentence each."""
        del before, after
        yield f"{self.name} {name} changes nothing for requests by itself"

    def unfit(self, name: str, after: JsonObject | None, apis: Iterable[Api]) -> Iterator[Mistake]:
        """What keeps APIs from going on with this in the place of the resource; None: it goes. apis: with their
        Defaults."""
        del name, after, apis
        yield from ()

    def refused(self, changes: Mapping[str, Mapping[str, JsonObject | None]]) -> Iterator[Mistake]:
        """What keeps documents from being written together, beside what is stored. changes: by kind and name, all that
        the write changes; None: it goes."""
        del changes
        yield from ()

    def users(self, name: str) -> str:
        """A text that the JSON of each API, or of its Defaults, has that may name the resource; "" where none does."""
        del name
        return ""

    def used_by(self, stored: StoredResource) -> Iterable[ResourceUser]:
        """What would be something else without this resource."""
        del stored
        return ()

    @property
    def adopted(self) -> Collection[str]:
        """Names of those that nodes have heard of."""
        return ()

    def load_all(self, stored: Iterable[StoredResource], revision: int) -> None:
        """All that is stored, at a start. revision: of the store."""
        for resource in stored:
            self.adopt(resource, revision)

    def reread(self, name: str) -> Callable[[StoredResource, int], None]:
        """What is to be called, as `adopt`, for what another controller may have written; this may be called in any
        thread."""
        del name
        return self.adopt

    def reread_all(self, stored: Sequence[StoredResource]) -> Sequence[Callable[[], None]]:
        """What is to be called for all there are, of which nodes may have heard more or something else."""
        gone = set(self.adopted) - {resource.name for resource in stored}
        return [
            *(partial(self.adopt, resource, 0) for resource in stored),
            *(partial(self.forget, name, 0) for name in gone),
        ]

    def handing_out(self, documents: Kept) -> Sequence[Callable[[], None]]:
        """What hands out the APIs that get something else with these documents, once they are adopted; None: what goes.
        For any thread; what it returns is for the event loop."""
        del documents
        return ()

    def adopt(self, stored: StoredResource, revision: int) -> None:
        """It is stored; nodes hear of it. revision: of the store."""
        del stored, revision

    def forget(self, name: str, revision: int) -> None:
        """It is gone."""
        del name, revision
