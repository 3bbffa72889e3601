"""A thread that runs executions: what it does, and whether an execution was slow or only the machine busy."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable

from gatewright_executor.running.instance import Execution
from gatewright_executor.running.latency import QUICK_SECONDS


class Worker:
    """What one thread does now, and has done. Written by that thread only; times are those of its clock."""

    __slots__ = (
        "_computed",
        "_measured_from",
        "_waits",
        "clock",
        "ended",
        "execution",
        "finished",
        "started",
        "thread",
        "was_slow",
    )

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.execution: Execution | None = None  # that it runs
        self.started = 0  # executions
        self.finished = 0
        self.was_slow = False  # the last execution
        self.thread = 0  # threading.get_ident()
        self.ended = 0.0  # when the last execution did
        self._measured_from = self._computed = 0.0
        self._waits = 0

    def measure_from_here(self) -> None:
        """From here on, what this thread waits for and computes is its executions' doing."""
        usage = resource.getrusage(resource.RUSAGE_THREAD)
        self._measured_from = self.clock()
        self.thread = threading.get_ident()
        self._waits = usage.ru_nvcsw
        self._computed = usage.ru_utime + usage.ru_stime

    def note_start(self, execution: Execution, now: float) -> None:
        """It runs `execution` from now on."""
        execution.started = now
        self.execution = execution
        self.started += 1

    def note_end(self, execution: Execution) -> None:
        """It has run that. Where it took long, it is slow if it waited or computed; else others had the core."""
        self.execution = None
        self.finished += 1
        self.ended = self.clock()
        self.was_slow = self.ended - execution.started >= QUICK_SECONDS and self._waited_or_computed(execution.started)
        execution.instance.latency.record(self.was_slow)

    def _waited_or_computed(self, since: float) -> bool:
        waits, before, computed = self._waits, since - self._measured_from, self._computed
        self.measure_from_here()
        return self._waits > waits or self._computed - computed - before >= QUICK_SECONDS
