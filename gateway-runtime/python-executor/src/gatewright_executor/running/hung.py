"""Executions that still run HUNG_SECONDS after their deadline: nobody waits for them.

Python cannot stop a thread, so all that helps is to say so, and in the end another process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gatewright_executor.policies.failure import Where
from gatewright_executor.running.instance import STREAMS, Execution, Instance

HUNG_SECONDS = 5.0  # past its deadline; one that is only late is not hung


@dataclass(frozen=True, slots=True)
class HungExecutions:
    """Those of one instance."""

    instance: Instance
    count: int
    oldest_seconds: float  # since the oldest of them was started
    limit_seconds: float  # that it had
    where: Where  # it is
    streams: int = 0  # among them

    @property
    def blocks_instance(self) -> bool:
        """Whether they hold all that may be under way of their instance: it answers nothing any more."""
        streams = self.streams
        return self.count - streams >= self.instance.limit > 0 or streams >= self.instance.stream_limit > 0


def hung_executions(executions: Iterable[Execution], now: float, seconds: float) -> list[Execution]:
    """Those that still run `seconds` after their deadline. now: time.monotonic()."""
    return [execution for execution in executions if now - execution.deadline > seconds]


def by_instance(
    executions: Iterable[Execution], now: float, where: Callable[[Execution], Where]
) -> list[HungExecutions]:
    """One `HungExecutions` for each instance, the one with the oldest first."""
    hung: dict[Instance, list[Execution]] = {}
    for execution in executions:
        hung.setdefault(execution.instance, []).append(execution)
    found = []
    for instance, all_of_it in hung.items():
        oldest = min(all_of_it, key=lambda execution: execution.started)
        limit = oldest.message.timeout_us / 1e6
        streams = sum(execution.phase in STREAMS for execution in all_of_it)
        age = now - oldest.started
        found.append(HungExecutions(instance, len(all_of_it), age, limit, where(oldest), streams))
    return sorted(found, key=lambda each: -each.oldest_seconds)
