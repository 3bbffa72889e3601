"""The controller's few verbs: what is written is valid, kept, translated and handed to the nodes, in this order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TypeVar

from gatewright_controller.definitions import Definitions
from gatewright_controller.deployment import Deployment
from gatewright_controller.mistake import Invalid
from gatewright_controller.model import Api, JsonObject, to_document
from gatewright_controller.store import ContextTakenError, Store, StoredApi
from gatewright_controller.translate import Bundle, EdgeSettings, translate
from gatewright_controller.validation import context_taken, validate

log = logging.getLogger(__name__)
T = TypeVar("T")


class Controller:
    """Writes happen one after the other, so nodes hear of them in the order in which they were stored."""

    def __init__(self, store: Store, definitions: Definitions, edge: EdgeSettings) -> None:
        self.store = store
        self.definitions = definitions
        self.deployment = Deployment(store.revision)
        self._edge = edge
        self._writing = asyncio.Lock()

    def load(self) -> None:
        """Hands what is stored to the nodes. An API that this build's definitions no longer fit is held back."""
        for stored in self.store.list():
            try:
                api = validate(to_document(stored.api), self.definitions, {})
                self.deployment.put(self._translated(api), stored.revision)
            except Invalid as invalid:
                log.error("API held back", extra={"api": stored.name, "reason": str(invalid)})
                self.deployment.hold(stored.name, f"no longer valid: {invalid}", stored.revision)

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
