"""Finds executions that still run HUNG_SECONDS after their deadline, when the engine has answered `timeout` for them.

Python cannot stop a thread, so they can only be reported, until another process replaces this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gatewright_executor.policies.failure import Where
from gatewright_executor.running.instance import STREAMS, Execution, Instance

HUNG_SECONDS = 5.0  # past its deadline; an execution that is only late is not hung


@dataclass(frozen=True, slots=True)
class HungExecutions:
    """The hung executions of one instance."""

    instance: Instance
    count: int
    oldest_seconds: float  # since the oldest of them started
    limit_seconds: float  # the time limit of the oldest
    where: Where  # the place that the oldest has reached
    streams: int = 0  # the number of streams among them

    @property
    def blocks_instance(self) -> bool:
        """Whether they hold all slots of their instance, which therefore runs nothing any more."""
        streams = self.streams
        return self.count - streams >= self.instance.limit > 0 or streams >= self.instance.stream_limit > 0


def hung_executions(executions: Iterable[Execution], now: float, seconds: float) -> list[Execution]:
    """The executions that still run `seconds` after their deadline. now: time.monotonic()."""
    return [execution for execution in executions if now - execution.deadline > seconds]


def by_instance(
    executions: Iterable[Execution], now: float, where: Callable[[Execution], Where]
) -> list[HungExecutions]:
    """A HungExecutions for each instance, beginning with that of the oldest execution."""
    executions_of: dict[Instance, list[Execution]] = {}
    for execution in executions:
        executions_of.setdefault(execution.instance, []).append(execution)
    hung = []
    for instance, of_instance in executions_of.items():
        oldest = min(of_instance, key=lambda execution: execution.started)
        limit = oldest.message.timeout_us / 1e6
        streams = sum(execution.phase in STREAMS for execution in of_instance)
        age = now - oldest.started
        hung.append(HungExecutions(instance, len(of_instance), age, limit, where(oldest), streams))
    return sorted(hung, key=lambda executions: -executions.oldest_seconds)
