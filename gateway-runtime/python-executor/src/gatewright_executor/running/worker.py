"""The state of a thread that runs executions, and whether an execution was slow or the machine busy."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable

from gatewright_executor.running.instance import Execution
from gatewright_executor.running.latency import QUICK_SECONDS


class Worker:
    """The present execution of one thread, and its counts. Written by that thread only; times are by its clock."""

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
        self.execution: Execution | None = None  # under way
        self.started = 0  # executions
        self.finished = 0
        self.was_slow = False  # the last execution
        self.thread = 0  # threading.get_ident()
        self.ended = 0.0  # when the last execution ended
        self._measured_from = self._computed = 0.0
        self._waits = 0

    def measure_from_here(self) -> None:
        """Starts measuring: from now on, waiting and CPU time of this thread count for its executions."""
        usage = resource.getrusage(resource.RUSAGE_THREAD)
        self._measured_from = self.clock()
        self.thread = threading.get_ident()
        self._waits = usage.ru_nvcsw
        self._computed = usage.ru_utime + usage.ru_stime

    def note_start(self, execution: Execution, now: float) -> None:
        """Records that the thread begins `execution`."""
        execution.started = now
        self.execution = execution
        self.started += 1

    def note_end(self, execution: Execution) -> None:
        """Records that it has ended. A long execution is slow if it waited or computed; else others had the core."""
        self.execution = None
        self.finished += 1
        self.ended = self.clock()
        self.was_slow = self.ended - execution.started >= QUICK_SECONDS and self._waited_or_computed(execution.started)
        execution.instance.latency.record(self.was_slow)

    def _waited_or_computed(self, since: float) -> bool:
        waits, before, computed = self._waits, since - self._measured_from, self._computed
        self.measure_from_here()
        return self._waits > waits or self._computed - computed - before >= QUICK_SECONDS
