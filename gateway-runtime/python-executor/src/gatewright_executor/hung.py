"""Executions that run on although their deadline is long past: nobody waits for them.

Python cannot stop a thread, so all that helps is to say so, and in the end another process.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gatewright_executor.instance import Call, Instance

HUNG_SECONDS = 5.0  # past its deadline; a policy that is only a little late is none of these


@dataclass(frozen=True, slots=True)
class Hung:
    """Those of one instance."""

    instance: Instance
    count: int
    oldest_seconds: float  # since the oldest of them was started

    @property
    def blocks_instance(self) -> bool:
        """Whether they hold all that may be under way of their instance: it answers nothing any more."""
        return self.count >= self.instance.limit > 0


def overdue(calls: Iterable[Call], now: float, seconds: float) -> list[Call]:
    """The calls that run `seconds` after their deadline. now: time.monotonic()."""
    return [call for call in calls if now - call.deadline > seconds]


def by_instance(calls: Iterable[Call], now: float) -> list[Hung]:
    """One `Hung` for each instance, the one with the oldest first."""
    starts: dict[Instance, list[float]] = {}
    for call in calls:
        starts.setdefault(call.instance, []).append(call.started)
    found = [Hung(instance, len(started), now - min(started)) for instance, started in starts.items()]
    return sorted(found, key=lambda hung: -hung.oldest_seconds)
