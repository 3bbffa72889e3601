"""The watchdog of executions that run in the thread that read them: it finds those that stall.

Nothing is measured in an execution itself. A thread looks at all runners as long as any of them runs something; one
that shows the same execution at LOOKS looks in a row has stalled, and is told so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Protocol

from gatewright_executor.critical_thread import WokenThread
from gatewright_executor.running.worker import Worker

LOOK_SECONDS = 0.004
LOOKS = 3  # at which the same execution is there: it has stalled
RESTING_LOOKS = 25  # that saw nothing run, after which the watchdog sleeps


class Runner(Protocol):
    """What runs executions inline (inline_runner.py)."""

    worker: Worker  # of the thread that reads now

    @property
    def is_running(self) -> bool: ...

    def look(self) -> None:
        """Called from the watchdog's thread every LOOK_SECONDS."""


class StallWatchdog(WokenThread):
    """Looks at all runners, as long as there is something to see. Each batch that begins wakes it.

    look_seconds: between two looks.
    """

    def __init__(self, look_seconds: float = LOOK_SECONDS) -> None:
        self._look_seconds = look_seconds
        self._runners: set[Runner] = set()
        self._stalled: set[Worker] = set()  # of threads whose last execution has stalled and has not ended
        self._gone = Worker()  # what threads have done that are gone
        self._lock = threading.Lock()
        super().__init__("stall-watchdog")

    @property
    def workers(self) -> list[Worker]:
        """All that have run executions inline so far, for whoever counts these."""
        with self._lock:
            return [*(runner.worker for runner in self._runners), *self._stalled, self._gone]

    # -------------------------------------------------------------- runners come and go

    def watch(self, runner: Runner) -> None:
        """Looks at it from now on."""
        with self._lock:
            self._runners.add(runner)

    def unwatch(self, runner: Runner) -> None:
        """Looks at it no more; what it has run stays counted."""
        with self._lock:
            if runner in self._runners:
                self._runners.discard(runner)
                self._add_to_gone(runner.worker)

    def note_stalled(self, worker: Worker) -> None:
        """It runs its last execution, and is no runner's any more."""
        with self._lock:
            self._stalled.add(worker)

    def note_stalled_ended(self, worker: Worker) -> None:
        """It has run that."""
        with self._lock:
            self._stalled.discard(worker)
            self._add_to_gone(worker)

    def _add_to_gone(self, worker: Worker) -> None:
        self._gone.started += worker.started
        self._gone.finished += worker.finished

    # -------------------------------------------------------------- its thread

    def _run(self) -> None:
        while self._awake.wait() and not self._stopped:
            self._look_until_all_rest()

    def _look_until_all_rest(self) -> None:
        before, resting = -1, 0
        while resting < RESTING_LOOKS and not self._stopped:
            time.sleep(self._look_seconds)
            runners = self._look()
            ran = _started(self.workers)
            resting = resting + 1 if ran == before and not any(runner.is_running for runner in runners) else 0
            before = ran
        self._awake.clear()
        with self._lock:
            is_running = any(runner.is_running for runner in self._runners)
        if is_running or _started(self.workers) != before or self._stopped:
            self._awake.set()  # whoever began meanwhile has seen that it was awake

    def _look(self) -> list[Runner]:
        with self._lock:
            runners = [*self._runners]
        for runner in runners:
            runner.look()
        return runners


def _started(workers: Iterable[Worker]) -> int:
    return sum(worker.started for worker in workers)
