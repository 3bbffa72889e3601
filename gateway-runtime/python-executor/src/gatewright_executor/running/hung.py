"""Executions that run on although their deadline is long past: nobody waits for them.

Python cannot stop a thread, so all that helps is to say so, and in the end another process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gatewright_executor.policies.failure import Where
from gatewright_executor.running.instance import Call, Instance

HUNG_SECONDS = 5.0  # past its deadline; a policy that is only a little late is none of these


@dataclass(frozen=True, slots=True)
class Hung:
    """Those of one instance."""

    instance: Instance
    count: int
    oldest_seconds: float  # since the oldest of them was started
    limit_seconds: float  # that it had
    where: Where  # it is

    @property
    def blocks_instance(self) -> bool:
        """Whether they hold all that may be under way of their instance: it answers nothing any more."""
        return self.count >= self.instance.limit > 0


def overdue(calls: Iterable[Call], now: float, seconds: float) -> list[Call]:
    """The calls that run `seconds` after their deadline. now: time.monotonic()."""
    return [call for call in calls if now - call.deadline > seconds]


def by_instance(calls: Iterable[Call], now: float, where: Callable[[Call], Where]) -> list[Hung]:
    """One `Hung` for each instance, the one with the oldest first."""
    hanging: dict[Instance, list[Call]] = {}
    for call in calls:
        hanging.setdefault(call.instance, []).append(call)
    found = []
    for instance, all_of_it in hanging.items():
        oldest = min(all_of_it, key=lambda call: call.started)
        limit = oldest.execution.timeout_us / 1e6
        found.append(Hung(instance, len(all_of_it), now - oldest.started, limit, where(oldest)))
    return sorted(found, key=lambda hung: -hung.oldest_seconds)
