"""The verbs of keys of consumers: a key is made or deleted in the database, and handed to the nodes."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Sequence

from gatewright_controller.access import Permit
from gatewright_controller.apis.controller import Controller
from gatewright_controller.kinds.consumer_kind import ConsumerKind
from gatewright_controller.store import CONSUMER, ConsumerKey, NoSuchResourceError, Terms
from gatewright_controller.store.finished import finished
from gatewright_controller.times import timestamp, utc_now

log = logging.getLogger(__name__)
PREFIX = "gwk_"
"""By which scanners find a key that was published by mistake."""
RANDOM_BYTES = 32


class ConsumerKeys:
    """One for each controller."""

    def __init__(self, kind: ConsumerKind, controller: Controller) -> None:
        self._kind, self._controller, self._store = kind, controller, controller.store

    async def list(self, consumer: str, permit: Permit) -> Sequence[ConsumerKey]:
        """By name. Raises `NoSuchResourceError`, `NotPermittedError`."""

        def read() -> Sequence[ConsumerKey]:
            if (stored := self._store.resource(CONSUMER, consumer)) is None:
                raise NoSuchResourceError(CONSUMER, consumer)
            permit.refuse_other_resources(CONSUMER, stored.document)
            return self._store.consumer_keys(consumer)

        return await asyncio.to_thread(read)

    async def create(self, consumer: str, name: str, expires_at: str, terms: Terms) -> tuple[str, ConsumerKey]:
        """The text of a new key, which is not kept, and what is. Raises as `keep`."""
        text = f"{PREFIX}{secrets.token_urlsafe(RANDOM_BYTES)}"
        return text, await self.keep(consumer, name, text, expires_at, terms)

    async def keep(self, consumer: str, name: str, text: str, expires_at: str, terms: Terms) -> ConsumerKey:
        """Keeps the digest of a key, which nodes accept from then on. Raises `NoSuchResourceError`,
        `NotPermittedError`, `ConsumerKeyExistsError`, `ConsumerKeyInUseError`."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        key = ConsumerKey(consumer, name, digest, timestamp(utc_now()), terms.author.actor, expires_at)

        async def write() -> None:
            async with self._controller.writing:
                revision = await asyncio.to_thread(self._store.create_consumer_key, key, terms)
                await self._adopt(consumer, revision)

        await finished(write())
        log.info("key of a consumer made", extra={"consumer": consumer, "key": name, "expires": expires_at})
        return key

    async def delete(self, consumer: str, name: str, terms: Terms) -> None:
        """Raises `NoSuchResourceError`, `NotPermittedError`, `NoSuchConsumerKeyError`."""

        async def write() -> None:
            async with self._controller.writing:
                revision = await asyncio.to_thread(self._store.delete_consumer_key, consumer, name, terms)
                await self._adopt(consumer, revision)

        await finished(write())
        log.info("key of a consumer deleted", extra={"consumer": consumer, "key": name})

    async def _adopt(self, consumer: str, revision: int) -> None:
        keys = await asyncio.to_thread(self._store.consumer_keys, consumer)
        self._kind.adopt_keys(consumer, keys, revision)
