"""The controller's few verbs: what is written is valid, kept, translated and handed to the nodes, in this order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TypeVar

from gatewright_controller.definitions import DefinitionChanges, Definitions
from gatewright_controller.deployment import Deployment
from gatewright_controller.mistake import Invalid
from gatewright_controller.model import Api, JsonObject, to_document
from gatewright_controller.store import ContextTakenError, Store, StoredApi
from gatewright_controller.translate import Bundle, EdgeSettings, translate, unserved
from gatewright_controller.validation import context_taken, validate

log = logging.getLogger(__name__)
T = TypeVar("T")


class Controller:
    """Writes happen one after the other, so nodes hear of them in the order in which they were stored."""

    def __init__(self, store: Store, read_definitions: Callable[[], Definitions], edge: EdgeSettings) -> None:
        self.store = store
        self._read_definitions = read_definitions
        self.definitions = read_definitions()
        self.deployment = Deployment(store.revision)
        self._edge = edge
        self._writing = asyncio.Lock()

    def load(self) -> None:
        """Hands what is stored to the nodes. An API that this build's definitions no longer fit is held back."""
        for stored in self.store.list():
            self._offer(stored)

    def _offer(self, stored: StoredApi) -> None:
        try:
            api = validate(to_document(stored.api), self.definitions, {})
            self.deployment.put(self._translated(api), stored.revision)
        except Invalid as invalid:
            log.error("API held back", extra={"api": stored.name, "reason": str(invalid)})
            held = unserved(stored.name, stored.context, stored.api.spec.version, f"no longer valid: {invalid}")
            self.deployment.hold(held, stored.revision)

    async def reload_definitions(self) -> DefinitionChanges:
        """Reads the definitions again: new policies and versions may be attached from now on.

        Raises `Invalid`, and then nothing has changed, where one of them is wrong or is another one than before.
        """
        async with self._writing:
            changes = await asyncio.to_thread(self._reread)
            for stored in await asyncio.to_thread(self.store.list):
                if self.deployment.is_held(stored.name):
                    self._offer(stored)
        log.info("definitions read again", extra={"added": changes.added, "removed": changes.removed})
        return changes

    def _reread(self) -> DefinitionChanges:
        fresh = self._read_definitions()
        changes = DefinitionChanges.between(self.definitions, fresh)
        self.definitions = fresh
        return changes

    async def create(self, document: JsonObject) -> StoredApi:
        """Raises `Invalid`, `ApiExistsError`."""
        return await _finished(self._write(document, self.store.create))

    async def replace(self, document: JsonObject) -> StoredApi:
        """Raises `Invalid`, `NoSuchApiError`."""
        return await _finished(self._write(document, self.store.replace))

    async def delete(self, name: str) -> None:
        """Raises `NoSuchApiError`."""
        await _finished(self._delete(name))

    async def get(self, name: str) -> StoredApi:
        """Raises `NoSuchApiError`."""
        return await asyncio.to_thread(self.store.get, name)

    async def list(self) -> list[StoredApi]:
        """All, by name."""
        return await asyncio.to_thread(self.store.list)

    async def _write(self, document: JsonObject, write: Callable[[Api], StoredApi]) -> StoredApi:
        async with self._writing:
            stored, bundle = await asyncio.to_thread(self._written, document, write)
            self.deployment.put(bundle, stored.revision)
        log.info("API written", extra={"api": stored.name, "revision": stored.revision})
        return stored

    def _written(self, document: JsonObject, write: Callable[[Api], StoredApi]) -> tuple[StoredApi, Bundle]:
        api = validate(document, self.definitions, self._contexts_beside(document))
        bundle = self._translated(api)
        try:
            return write(api), bundle
        except ContextTakenError as error:
            raise Invalid([context_taken(error.context, error.api)]) from None

    def _contexts_beside(self, document: JsonObject) -> dict[str, str]:
        metadata = document.get("metadata")
        own = metadata.get("name") if isinstance(metadata, dict) else None
        return {context: name for context, name in self.store.contexts().items() if name != own}

    def _translated(self, api: Api) -> Bundle:
        return translate(api, self.definitions, self._edge)

    async def _delete(self, name: str) -> None:
        async with self._writing:
            revision = await asyncio.to_thread(self.store.delete, name)
            self.deployment.remove(name, revision)
        log.info("API deleted", extra={"api": name, "revision": revision})


async def _finished(write: Coroutine[None, None, T]) -> T:
    """A client that goes away must not leave a write that is stored and was never handed on."""
    return await asyncio.shield(asyncio.ensure_future(write))
