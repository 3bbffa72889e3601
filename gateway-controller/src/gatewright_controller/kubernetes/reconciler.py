"""The loop of a leader: from changes of objects to documents, Deployments and Services, and from what nodes run to
statuses."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from gatewright_documents.values import JsonObject

from gatewright_controller.gateway_api import Deployed, Key, Objects, Translation, complete
from gatewright_controller.kubernetes.backoff import Backoff
from gatewright_controller.kubernetes.cache import Cache
from gatewright_controller.kubernetes.conditions import is_programmed
from gatewright_controller.kubernetes.documents import Documents, DocumentsError
from gatewright_controller.kubernetes.infrastructure import Infrastructure
from gatewright_controller.kubernetes.statuses import Statuses
from gatewright_controller.kubernetes.tolerant import TolerantTranslation
from gatewright_controller.kubernetes.writing import Writer
from gatewright_controller.nodes.deployment import Deployment
from gatewright_controller.resource.conditions import Conditions
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.resource.private_upstreams import PrivateUpstreams
from gatewright_controller.store import Author, StorageError

log = logging.getLogger(__name__)
COALESCE_SECONDS = 0.05
"""For which changes are gathered before they are looked at; for as long as a look took, if that is longer."""

RECONNECT_SECONDS = 20.0
"""For which a new leader waits for nodes before it says that none serves a Gateway."""

Surroundings = tuple[Definitions, Conditions, PrivateUpstreams]
"""What the translation asks of this build and its operator, beside objects."""


class Seen(NamedTuple):
    """What a translation was made of, and what the store had with it: the same again needs no other one."""

    inputs: int
    surroundings: Surroundings
    revision: int


class Reconciler:
    """Of one term. synced: is told each time that the store has what the objects say."""

    def __init__(
        self,
        cache: Cache,
        translation: TolerantTranslation,
        documents: Documents,
        infrastructure: Infrastructure,
        statuses: Statuses,
        writer: Writer,
        deployment: Deployment,
        surroundings: Callable[[], Surroundings],
        author: Author,
        synced: Callable[[], None],
    ) -> None:
        self._cache, self._translation, self._documents = cache, translation, documents
        self._infrastructure, self._statuses, self._writer = infrastructure, statuses, writer
        self._deployment, self._surroundings, self._author, self._synced = deployment, surroundings, author, synced
        self._seen: Seen | None = None
        self._made, self._objects = Translation(), Objects({})
        self._completed: tuple[int, Mapping[str, Deployed], int] | None = None
        self._trouble, self._began = "", time.monotonic()

    async def run(self) -> None:
        """Until it is cancelled."""
        wake, backoff = asyncio.Event(), Backoff()
        pumps = [asyncio.create_task(_pump(source, wake)) for source in (self._cache, self._deployment)]
        try:
            while True:
                wake.clear()
                began = time.monotonic()
                is_done = not self._cache.is_complete or await self._pass()
                if is_done:
                    backoff.reset()
                rest = max(COALESCE_SECONDS, time.monotonic() - began)
                await _first_of(wake, None if is_done else backoff.next_pause())
                await asyncio.sleep(rest)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.wait(pumps)

    async def _pass(self) -> bool:
        """Whether all is as it is to be, as far as it is known now."""
        is_stored = await self._store()
        is_placed = not await self._infrastructure.ensure(self._made.gateways, self._objects.by_key)
        return await self._report() and is_stored and is_placed

    async def _store(self) -> bool:
        """Whether the store has what the objects say."""
        seen = Seen(self._cache.inputs, self._surroundings(), self._deployment.revision)
        if seen == self._seen:
            return True
        if self._seen is None or seen[:2] != self._seen[:2]:
            objects = Objects(self._cache.objects(), *seen.surroundings)
            self._made = await asyncio.to_thread(self._translation.translate, objects)
            self._objects = objects
        try:
            await self._documents.apply(self._made.documents, self._author, self._writer.check)
        except (DocumentsError, StorageError) as error:
            if str(error) != self._trouble:
                log.error("what Gateway API says is not stored; it is tried again", extra={"reason": str(error)})
            self._trouble = str(error)
            return False
        self._trouble = ""
        self._seen = seen._replace(revision=self._deployment.revision)
        self._synced()
        return True

    async def _report(self) -> bool:
        """Whether all statuses say what is so."""
        deployed = self._documents.deployed(self._made.documents)
        now = self._cache.inputs, deployed, self._cache.changes
        if now == self._completed:
            return True
        addresses = self._infrastructure.addresses(self._made.gateways)
        drafts: Mapping[Key, JsonObject] = await asyncio.to_thread(complete, self._made, deployed, addresses)
        postponed = self._list_postponed()
        if not await self._statuses.write(drafts, postponed) or postponed:
            return False
        self._completed = now
        return True

    def _list_postponed(self) -> set[Key]:
        """What was served before this term, and of which no node has said anything yet: nodes still look for the new
        leader."""
        if time.monotonic() > self._began + RECONNECT_SECONDS:
            return set()
        names = self._documents.unanswered(self._made.documents)
        keys = {key for name in names for key in self._made.sources.get(name, ())}
        return {key for key in keys if is_programmed((self._cache.get(key) or {}).get("status"))}


class Changing(Protocol):
    """What the loop looks at."""

    async def wait_for_change(self) -> None:
        """Returns after the next change."""


async def _pump(source: Changing, wake: asyncio.Event) -> None:
    while True:
        await source.wait_for_change()
        wake.set()


async def _first_of(wake: asyncio.Event, pause: float | None) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(pause):
            await wake.wait()
