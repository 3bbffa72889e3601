"""Two controllers of one database: what another one has written is handed to this one's nodes, too."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from gatewright_documents.mistake import Invalid

from gatewright_controller.apis.controller import Controller
from gatewright_controller.apis.past_apis import decode_past
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.kinds import Kinds
from gatewright_controller.resource.claims import Claim, claims_of_api
from gatewright_controller.store import (
    API,
    Changes,
    NoSuchRevisionError,
    StorageError,
    StoredApi,
    StoredGateway,
)

log = logging.getLogger(__name__)
Step = Callable[[], None]
RETRY_SECONDS, JITTER = 0.5, 0.25
"""After the database did not answer; a share of itself longer at most."""


class Following:
    """Keeps a controller at what its database has. Make it before anything is loaded, and run it afterwards: what is
    written while the controller loads is read again."""

    def __init__(self, controller: Controller, gateways: Gateways, kinds: Kinds) -> None:
        self._store, self._controller, self._gateways, self._kinds = controller.store, controller, gateways, kinds
        self._seen = controller.deployment.revision

    async def run(self) -> None:
        """Until it is cancelled; ends at once where no other controller can write."""
        if not self._store.is_shared:
            return
        written = asyncio.Event()
        listening = asyncio.create_task(self._store.listen(written.set), name="listening for writes")
        try:
            while True:
                await written.wait()
                written.clear()
                try:
                    await self.catch_up()
                except StorageError as error:
                    if not error.away:  # which the store logs
                        log.error("what other controllers have written is not read", extra={"reason": str(error)})
                    await asyncio.sleep(RETRY_SECONDS * random.uniform(1, 1 + JITTER))  # noqa: S311 - no secret
                    written.set()
        finally:
            listening.cancel()
            await asyncio.wait([listening])

    async def catch_up(self) -> None:
        """Hands out what has been written since the last time, as far as this controller has not. Raises
        `StorageError`."""
        catching_up = asyncio.create_task(self._catch_up())
        try:
            await asyncio.shield(catching_up)
        finally:
            await asyncio.wait([catching_up])  # a cancelled task leaves no half of it, and no use of the store

    async def _catch_up(self) -> None:
        deployment = self._controller.deployment
        if await self._newest() == self._seen >= deployment.revision:
            return
        async with self._gateways.writing, self._controller.writing:
            known, newest = max(self._seen, deployment.revision), await self._newest()
            if is_behind := newest < known:
                reason = "the database lacks writes that this controller has seen: nodes are handed what it has"
                log.error(reason, extra={"seen": known, "newest": newest})
            changes, gateway, (adopting, offers) = await asyncio.to_thread(self._read, is_behind)
            if changes.gateway or is_behind:
                await self._gateways.follow(gateway)
            for adopt in adopting:  # before the APIs that name them
                adopt()
            steps = await asyncio.to_thread(self._all_steps if is_behind else self._steps, changes)
            for step in (*offers, *steps):  # together: no API is without both what it had and what it gets
                step()
            deployment.advance(changes.revision)
            if is_behind:
                deployment.revision = changes.revision
            self._seen = changes.revision

    def _read(self, is_behind: bool) -> tuple[Changes, StoredGateway | None, tuple[list[Step], list[Step]]]:
        """As of one moment: what was written, the Gateway, and the steps of the kinds beside APIs. An API of later is
        put beside no Defaults of before."""
        with self._store.snapshot():
            changes = self._store.changes_since(0 if is_behind else self._seen)
            return changes, self._store.gateway(), self._of_kinds(changes, is_behind)

    def _of_kinds(self, changes: Changes, is_behind: bool) -> tuple[list[Step], list[Step]]:
        """What adopts the kinds beside APIs, and what hands out the APIs that get something else with them."""
        adopting, offers = list[Step](), list[Step]()
        for resources in self._kinds:
            written = {name: stored for (kind, name), stored in changes.others.items() if kind == resources.kind.name}
            if is_behind or written:
                first, then = resources.followed_whole() if is_behind else resources.followed(written)
                adopting += first
                offers += then
        return adopting, offers

    async def _newest(self) -> int:
        return await asyncio.to_thread(lambda: self._store.revision)

    def _steps(self, changes: Changes) -> Sequence[Callable[[], None]]:
        """What is done on the event loop, one right behind the other: nodes are sent all of it together."""
        deployment = self._controller.deployment
        written = [api for api in changes.written if deployment.revision_of(api.name) < api.revision]
        removed = sorted(deployment.apis.intersection(changes.removed))
        successors = {name: set(self._successors(name, written)) for name in removed}
        return [
            *map(self._controller.offer_of, written),
            *(partial(deployment.remove, name, changes.revision, successors[name]) for name in removed),
        ]

    def _all_steps(self, changes: Changes) -> Sequence[Callable[[], None]]:
        """The same of changes since the beginning, whatever revisions nodes have: a standby that was promoted before it
        had all writes gives their numbers to others."""
        deployment = self._controller.deployment
        gone = deployment.apis - {api.name for api in changes.written}
        return [
            *map(self._controller.offer_of, changes.written),
            *(partial(deployment.remove, name, changes.revision) for name in sorted(gone)),
        ]

    def _successors(self, gone: str, written: Sequence[StoredApi]) -> Iterator[str]:
        """Those that have taken over what an API had that is gone; none where that is not known any more."""
        try:
            before = decode_past(self._store.at(API, gone, -1)).api
        except (Invalid, NoSuchRevisionError) as error:  # pruned, or of another release
            log.warning("an API goes at once", extra={"api": gone, "reason": f"what it was cannot be read: {error}"})
            return
        claims = list(claims_of_api(before)) if before else []
        for stored in written:
            if _clash(claims, list(claims_of_api(stored.api))):
                yield stored.name


def _clash(claims: Sequence[Claim], others: Sequence[Claim]) -> bool:
    """Whether an API takes a context over. A name is free once the API that had it is gone from a node."""
    return any(claim.clashes(other) and not claim.is_name for claim in claims for other in others)
