"""Calls functions later, all in one thread, since each thread takes memory for its stack (memory.py)."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable

from gatewright_executor.critical_thread import CriticalThread


class DelayedCalls:
    """Calls functions in its thread, which starts with the first use. They have to be quick.

    clock: for the times when calls are due; it is read when the first is due, and when another call is scheduled.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, Callable[[], object]]] = []  # a heap by the time when calls are due
        self._numbers = itertools.count()
        self._has_thread = False

    def schedule(self, seconds: float, function: Callable[[], object]) -> None:
        """Calls `function` in so many seconds."""
        with self._changed:
            heapq.heappush(self._waiting, (self._clock() + seconds, next(self._numbers), function))
            self._changed.notify()
            if self._has_thread:
                return
            self._has_thread = True
        CriticalThread(self._run, name="delayed-calls").start()

    def _run(self) -> None:
        while True:
            self._next()()

    def _next(self) -> Callable[[], object]:
        """Waits until the first call is due, and returns its function."""
        with self._changed:
            while True:
                left = self._waiting[0][0] - self._clock() if self._waiting else None
                if left is not None and left <= 0:
                    return heapq.heappop(self._waiting)[2]
                self._changed.wait(left)
