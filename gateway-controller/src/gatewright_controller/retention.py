"""The controller prunes its database from time to time, so that it does not grow for ever under steady writes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from datetime import timedelta

import msgspec

from gatewright_controller.store import Pruned, Retention, StorageError, Store
from gatewright_controller.times import timestamp, utc_now

log = logging.getLogger(__name__)
FIRST_SECONDS = 30.0
"""Until the first round: a start has other work."""
PAUSE_SECONDS = 600.0


class Keep(msgspec.Struct, frozen=True):
    """What the operator wants kept: `Settings.history_keep` and its like."""

    revisions: int
    deleted_days: int
    audit_days: int
    audit_entries: int

    def retention(self) -> Retention:
        """By the clock of now."""
        now = utc_now()
        deleted_since, audit_since = (now - timedelta(days=days) for days in (self.deleted_days, self.audit_days))
        return Retention(
            timestamp(now), self.revisions, timestamp(deleted_since), timestamp(audit_since), self.audit_entries
        )


class Pruning:
    """Deletes what need not be kept. count: gets the revisions and entries of the audit log that
    each step has deleted, a small transaction. Another controller
    of the same database may prune at the same time: what is gone is deleted by neither again."""

    def __init__(self, store: Store, keep: Keep, count: Callable[[int, int], None]) -> None:
        self._store, self._keep, self._count = store, keep, count

    async def run(self) -> None:
        """Until it is cancelled."""
        await asyncio.sleep(FIRST_SECONDS)
        while True:
            try:
                await self.prune()
            except StorageError as error:
                log.error("the history is not pruned now", extra={"reason": str(error)})
            await asyncio.sleep(PAUSE_SECONDS)

    async def prune(self) -> Pruned:
        """One round; returns what it has deleted. Raises `StorageError`."""
        steps, total = self._store.prune(self._keep.retention()), Pruned()
        while (pruned := await self._step(steps)) is not None:
            self._count(pruned.revisions, pruned.audit_entries)
            total += pruned
        if total:
            log.info("pruned", extra={"revisions": total.revisions, "auditEntries": total.audit_entries})
        return total

    async def _step(self, steps: Iterator[Pruned]) -> Pruned | None:
        step = asyncio.create_task(asyncio.to_thread(next, steps, None))
        try:
            return await asyncio.shield(step)
        finally:
            await asyncio.wait([step])  # a cancelled task leaves no use of the store
