"""A thread that runs executions: what it does, and whether an execution was slow or only the machine busy."""

from __future__ import annotations

import resource
import time

from gatewright_executor.instance import Call
from gatewright_executor.pace import QUICK_SECONDS


class Worker:
    """What one thread does now, and has done. Written by that thread only."""

    __slots__ = ("_computed", "_marked", "_waits", "call", "finished", "started", "was_slow")

    def __init__(self) -> None:
        self.call: Call | None = None
        self.started = 0
        self.finished = 0
        self.was_slow = False  # the last execution
        self._marked = self._computed = 0.0
        self._waits = 0

    def mark(self) -> None:
        """From here on, what this thread waits for and computes is its executions' doing."""
        usage = resource.getrusage(resource.RUSAGE_THREAD)
        self._marked = time.monotonic()
        self._waits = usage.ru_nvcsw
        self._computed = usage.ru_utime + usage.ru_stime

    def end(self, call: Call, began: float) -> None:
        """The execution is over. Where it took long, it is slow if it waited or computed; else others had the core."""
        self.call = None
        self.finished += 1
        self.was_slow = time.monotonic() - began >= QUICK_SECONDS and self._waited_or_computed(began)
        call.instance.pace.note(self.was_slow)

    def _waited_or_computed(self, began: float) -> bool:
        waits, before, computed = self._waits, began - self._marked, self._computed
        self.mark()
        return self._waits > waits or self._computed - computed - before >= QUICK_SECONDS
