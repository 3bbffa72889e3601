"""The verbs of the resources of one kind: what is written is valid, kept and handed to the nodes, in this order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Literal

import msgspec
from gatewright_documents.mistake import Invalid
from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_writer import yaml_text
from msgspec.structs import replace

from gatewright_controller.access import Permit
from gatewright_controller.apis.api_change import NOTHING, unified
from gatewright_controller.apis.controller import Controller
from gatewright_controller.kinds.kind import Kind, ResourceUser
from gatewright_controller.store import (
    ANY_TERMS,
    API,
    Entry,
    NoSuchResourceError,
    OtherRevisionError,
    PastResource,
    StorageError,
    StoredResource,
    Terms,
    kept_document,
    name_in,
    refuse,
)
from gatewright_controller.store.finished import finished

log = logging.getLogger(__name__)
AT_ONCE = 1000
"""Resources that a start reads."""
TRIES = 10
"""Of a write, while other controllers write the same resource."""


class ResourceChange(msgspec.Struct, frozen=True):
    """What a write would do, or has done. revision: of what was there, None where nothing was. diff: unified, of the
    YAML that is shown."""

    action: Literal["created", "changed", "unchanged"]
    revision: int | None
    diff: str


class Resources:
    """One for each kind and controller."""

    def __init__(self, kind: Kind, controller: Controller) -> None:
        self.kind, self._controller, self._store = kind, controller, controller.store

    def load(self) -> None:
        """Hands what is stored to the nodes."""
        revision = self._store.revision
        self.kind.load_all(self._stored(), revision)

    def _stored(self) -> Iterator[StoredResource]:
        """All, by name, as many at a time as memory is to hold."""
        found = self._store.resources(self.kind.name, "", AT_ONCE)
        while found:
            yield from found
            found = self._store.resources(self.kind.name, found[-1].name, AT_ONCE)

    def followed(
        self, written: Mapping[str, StoredResource | None]
    ) -> tuple[Sequence[Callable[[], None]], Sequence[Callable[[], None]]]:
        """What adopts that which another controller has written, by name, and what then hands out the APIs that get
        something else with it. For any thread; what it returns is for the event loop. The revision is reached with the
        APIs."""
        adopting = [
            partial(self.kind.reread(name), stored, 0) if stored else partial(self.kind.forget, name, 0)
            for name, stored in written.items()
        ]
        documents = {name: stored.document if stored else None for name, stored in written.items()}
        return adopting, self.kind.handing_out(documents)

    def followed_whole(self) -> tuple[Sequence[Callable[[], None]], Sequence[Callable[[], None]]]:
        """As `followed`, of all there are: for a database that has gone back behind what nodes have."""
        all_stored = self.list_stored()
        documents = {**dict.fromkeys(self.kind.adopted), **{stored.name: stored.document for stored in all_stored}}
        return self.kind.reread_all(all_stored), self.kind.handing_out(documents)

    def adopt(self, name: str, stored: StoredResource | None, revision: int) -> None:
        """What is stored of this name from now on."""
        if stored:
            self.kind.adopt(stored, revision)
        else:
            self.kind.forget(name, revision)

    def list_stored(self) -> Sequence[StoredResource]:
        """All, by name; for any thread."""
        return self._store.resources(self.kind.name)

    def find_stored(self, names: Collection[str]) -> Sequence[StoredResource]:
        """Those of these names, as far as there are any; for any thread."""
        return self._store.find_resources(self.kind.name, names)

    async def list(self, after: str, limit: int) -> Sequence[StoredResource]:
        """The first of those behind a name, by name."""
        return await asyncio.to_thread(self._store.resources, self.kind.name, after, limit)

    async def get(self, name: str) -> StoredResource:
        """Raises `NoSuchResourceError`."""
        if (stored := await asyncio.to_thread(self._store.resource, self.kind.name, name)) is None:
            raise NoSuchResourceError(self.kind.name, name)
        return stored

    async def users(self, name: str, permit: Permit) -> Sequence[ResourceUser]:
        """What uses it, by kind and name, as far as the permit covers that. Raises `NoSuchResourceError`,
        `NotPermittedError`."""
        return await asyncio.to_thread(self._users, name, permit)

    def _users(self, name: str, permit: Permit) -> Sequence[ResourceUser]:
        if (stored := self._store.resource(self.kind.name, name)) is None:
            raise NoSuchResourceError(self.kind.name, name)
        permit.refuse_other_resources(self.kind.name, stored.document)
        users = sorted(self.kind.used_by(stored))
        return users if permit.apis is None else [user for user in users if self._is_covered(user, permit)]

    def _is_covered(self, user: ResourceUser, permit: Permit) -> bool:
        if user.kind == API:
            return any(permit.covers(found.api) for found in self._store.find([user.name]).values())
        resource = self._store.resource(user.kind, user.name)
        return resource is not None and permit.covers_resource(resource.document)

    async def put(self, document: JsonObject, terms: Terms = ANY_TERMS) -> tuple[StoredResource, ResourceChange]:
        """In the place of what there is of this name. Raises `Invalid`, `OtherRevisionError`, `OtherOwnerError`."""
        if mistakes := list(self.kind.mistakes(document)):
            raise Invalid(mistakes)
        return await finished(self._put(document, terms, None))

    async def roll_back(
        self, name: str, revision: int, terms: Terms = ANY_TERMS
    ) -> tuple[StoredResource, ResourceChange]:
        """As it was; also one that was deleted. Raises as `put`, and `NoSuchRevisionError`."""
        past = await self.past(name, revision)
        kept_document(past)
        return await finished(self._put(None, terms, past))

    async def try_put(self, document: JsonObject, terms: Terms = ANY_TERMS) -> tuple[JsonObject, ResourceChange]:
        """As `put`, and nothing is written: what would be kept. Raises the same."""
        if mistakes := list(self.kind.mistakes(document)):
            raise Invalid(mistakes)
        return await asyncio.to_thread(self._tried, document, terms, None)

    async def try_roll_back(
        self, name: str, revision: int, terms: Terms = ANY_TERMS
    ) -> tuple[JsonObject, ResourceChange]:
        """As `roll_back`, and nothing is written. Raises the same."""
        past = await self.past(name, revision)
        kept_document(past)
        return await asyncio.to_thread(self._tried, None, terms, past)

    async def delete(self, name: str, terms: Terms = ANY_TERMS) -> None:
        """Raises `NoSuchResourceError`, `Invalid` where an API needs it, `OtherRevisionError`, `OtherOwnerError`."""
        await finished(self._delete(name, terms))

    async def history(self, name: str, before: int | None, limit: int) -> Sequence[Entry]:
        """The newest first; those older than the revision `before`. Raises `NoSuchResourceError`: there never was
        one."""
        entries = await asyncio.to_thread(self._store.history, self.kind.name, name, before, limit)
        if not entries and not await asyncio.to_thread(self._store.history, self.kind.name, name, None, 1):
            raise NoSuchResourceError(self.kind.name, name)
        return entries

    async def past(self, name: str, revision: int) -> PastResource:
        """As that write left it: `Store.at`. Raises `NoSuchRevisionError`."""
        return await asyncio.to_thread(self._store.at, self.kind.name, name, revision)

    async def diff(self, before: PastResource, after: PastResource) -> str:
        """Unified, of the YAML that is shown of both."""
        labels = [f"{past.entry.name}@{past.entry.revision}" for past in (before, after)]
        return await asyncio.to_thread(self.diff_of, before.document, after.document, *labels)

    def diff_of(self, before: JsonObject | None, after: JsonObject | None, *labels: str) -> str:
        """Unified, of the YAML that is shown of two kept documents. labels: of both in the diff's head."""
        old = yaml_text(self.kind.show(before)) if before else ""
        changed = self.kind.changed(before, after) if before and after else {}
        new = yaml_text(self.kind.show(after), changed) if after else ""
        return unified(old, new, labels[0] if before else NOTHING, labels[1] if after else NOTHING)

    def kept(self, document: JsonObject, stored: StoredResource | None) -> JsonObject:
        """What a write of a valid document stores. Raises `Invalid`."""
        return self.kind.keep(document, stored.document if stored else None)

    async def _put(
        self, document: JsonObject | None, terms: Terms, past: PastResource | None
    ) -> tuple[StoredResource, ResourceChange]:
        async with self._controller.writing:
            before, stored = await asyncio.to_thread(self._written, document, terms, past)
            change = await asyncio.to_thread(self._change, before, stored.document)
            if before is None or stored.revision > before.revision:
                offers = await asyncio.to_thread(self.kind.handing_out, {stored.name: stored.document})
                self.kind.adopt(stored, stored.revision)
                for offer in offers:
                    offer()
                log.info(f"{self.kind.name} written", extra={"resource": stored.name, "revision": stored.revision})
        return stored, change

    def _written(
        self, document: JsonObject | None, terms: Terms, past: PastResource | None
    ) -> tuple[StoredResource | None, StoredResource]:
        """What was there, and what is stored. Where another controller has written it since it was read, the write is
        made anew."""
        for _ in range(TRIES):
            before, kept = self._prepared(document, terms, past)
            seen = frozenset([before.revision if before else 0])
            expected = seen if terms.expected is None else terms.expected
            try:
                return before, self._store.put_resource(self.kind.name, kept, replace(terms, expected=expected), past)
            except OtherRevisionError:
                if terms.expected is not None:
                    raise
        raise StorageError(f"the {self.kind.name} was written by others {TRIES} times meanwhile", full=False)

    def _prepared(
        self, document: JsonObject | None, terms: Terms, past: PastResource | None
    ) -> tuple[StoredResource | None, JsonObject]:
        """What is there, and what is to be kept: of a document, or of a past write, which is kept as it was."""
        name = name_in(document) if document else past.entry.name if past else ""
        before = self._store.resource(self.kind.name, name)
        refuse(self.kind.name, name, before, terms)
        kept = self.kept(document, before) if document else kept_document(past) if past else {}
        terms.permit.refuse_other_resources(self.kind.name, kept)
        self._refuse_unfit(name, kept)
        return before, kept

    def _tried(
        self, document: JsonObject | None, terms: Terms, past: PastResource | None
    ) -> tuple[JsonObject, ResourceChange]:
        before, kept = self._prepared(document, terms, past)
        return kept, self._change(before, kept)

    def _change(self, before: StoredResource | None, kept: JsonObject) -> ResourceChange:
        name = name_in(kept)
        if before is None:
            return ResourceChange("created", None, self.diff_of(None, kept, NOTHING, name))
        diff = self.diff_of(before.document, kept, f"{name} of revision {before.revision}", name)
        return ResourceChange("changed" if diff else "unchanged", before.revision, diff)

    def _refuse_unfit(self, name: str, after: JsonObject | None) -> None:
        """Raises `Invalid` where an API could not go on, or beside what is stored."""
        text = self.kind.users(name)
        apis = self._controller.apis_containing(text) if text else []
        changes = {self.kind.name: {name: after}}
        if mistakes := [*self.kind.unfit(name, after, apis), *self.kind.refused(changes)]:
            raise Invalid(mistakes)

    async def _delete(self, name: str, terms: Terms) -> None:
        async with self._controller.writing:
            revision = await asyncio.to_thread(self._deleted, name, terms)
            offers = await asyncio.to_thread(self.kind.handing_out, {name: None})
            self.kind.forget(name, revision)
            for offer in offers:
                offer()
        log.info(f"{self.kind.name} deleted", extra={"resource": name, "revision": revision})

    def _deleted(self, name: str, terms: Terms) -> int:
        if (stored := self._store.resource(self.kind.name, name)) is None:
            raise NoSuchResourceError(self.kind.name, name)
        refuse(self.kind.name, name, stored, terms)
        self._refuse_unfit(name, None)
        return self._store.delete_resource(self.kind.name, name, terms)
