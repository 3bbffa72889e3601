"""Settlements that are repeated until the store answers: what was spent while it was away is not lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from sdk.metrics import Counter
from sdk.store import AsyncStore, StoreUnavailableError

log = logging.getLogger(__name__)
REPEATED = Counter("llm_budget_settlements_repeated_total", "Calls of the store that were repeated to settle a budget.")
UNKNOWN = Counter("llm_budget_settlements_unknown_total", "Settlements whose reservation the store no longer had.")
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
ENOUGH = 0.3
"""Seconds that the end of an answer waits for its settlement, which goes on without it after that."""


@dataclass(frozen=True, slots=True)
class Settlement:
    key: str
    name: str
    amount: int


class Settler:
    """Settles in tasks of its own, which end with the policy's instance."""

    def __init__(self, store: AsyncStore) -> None:
        self._store = store
        self.tasks: set[asyncio.Task[None]] = set()
        """What is under way."""

    def begin(self, settlements: Iterable[Settlement]) -> list[asyncio.Task[None]]:
        """Starts to settle, without waiting. It may be called where the caller is being cancelled."""
        tasks = [asyncio.create_task(self._settle(settlement)) for settlement in settlements]
        self.tasks.update(tasks)
        for task in tasks:
            task.add_done_callback(self.tasks.discard)
        return tasks

    async def settle(self, settlements: Iterable[Settlement]) -> None:
        """Settles, and returns when that is done, or goes on in the background."""
        if tasks := self.begin(settlements):
            await asyncio.wait(tasks, timeout=ENOUGH)

    async def _settle(self, settlement: Settlement) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                if not await self._store.settle(settlement.key, settlement.name, settlement.amount):
                    UNKNOWN.inc()
                return
            except StoreUnavailableError:
                REPEATED.inc()
            except ValueError:
                log.exception("a settlement of %d is lost", settlement.amount)
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
