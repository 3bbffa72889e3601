"""A thread that runs executions: what it does, and whether an execution was slow or only the machine busy."""

from __future__ import annotations

import resource
import threading
import time
from contextvars import Context

from gatewright_executor.policies.policy_loader import Hook
from gatewright_executor.running.execution import execute
from gatewright_executor.running.instance import Call
from gatewright_executor.running.latency import QUICK_SECONDS


class Worker:
    """What one thread does now, and has done. Written by that thread only."""

    __slots__ = ("_computed", "_marked", "_waits", "call", "ended", "finished", "started", "thread", "was_slow")

    def __init__(self) -> None:
        self.call: Call | None = None
        self.started = 0
        self.finished = 0
        self.was_slow = False  # the last execution
        self.thread = 0  # threading.get_ident()
        self.ended = 0.0  # when it did; time.monotonic()
        self._marked = self._computed = 0.0
        self._waits = 0

    def mark(self) -> None:
        """From here on, what this thread waits for and computes is its executions' doing."""
        usage = resource.getrusage(resource.RUSAGE_THREAD)
        self._marked = time.monotonic()
        self.thread = threading.get_ident()
        self._waits = usage.ru_nvcsw
        self._computed = usage.ru_utime + usage.ru_stime

    def run(self, call: Call, hook: Hook, began: float) -> bytes:
        """Runs an execution. Where it took long, it is slow if it waited or computed; else others had the core."""
        call.started = began
        self.call = call
        self.started += 1
        action = Context().run(execute, call, hook)
        self.call = None
        self.finished += 1
        self.ended = time.monotonic()
        self.was_slow = self.ended - began >= QUICK_SECONDS and self._waited_or_computed(began)
        call.instance.pace.note(self.was_slow)
        return action

    def _waited_or_computed(self, began: float) -> bool:
        waits, before, computed = self._waits, began - self._marked, self._computed
        self.mark()
        return self._waits > waits or self._computed - computed - before >= QUICK_SECONDS
