"""The watchdog of executions that run in the thread that read them: it finds those that stall.

Executions themselves carry no measurement. A thread checks all runners while any of them runs an execution; a runner
that shows the same execution in LOOKS checks in a row has stalled.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Protocol

from gatewright_executor.critical_thread import WokenThread
from gatewright_executor.running.worker import Worker

LOOK_SECONDS = 0.004
LOOKS = 3  # checks in a row that see the same execution, which has then stalled
RESTING_LOOKS = 25  # checks without an execution after which the watchdog sleeps


class Runner(Protocol):
    """Runs executions inline (inline_runner.py)."""

    worker: Worker  # of the thread that reads now

    @property
    def is_running(self) -> bool: ...

    def check(self) -> None:
        """Called in the watchdog's thread every LOOK_SECONDS."""


class StallWatchdog(WokenThread):
    """Checks all runners while any of them runs. Each batch that begins wakes it.

    look_seconds: between two checks.
    """

    def __init__(self, look_seconds: float = LOOK_SECONDS) -> None:
        self._look_seconds = look_seconds
        self._runners: set[Runner] = set()
        self._stalled: set[Worker] = set()  # of threads whose last execution has stalled and has not ended
        self._gone = Worker()  # the counts of threads that have ended
        self._lock = threading.Lock()
        super().__init__("stall-watchdog")

    @property
    def workers(self) -> list[Worker]:
        """The workers of all threads that have run executions inline so far, for counting these."""
        with self._lock:
            return [*(runner.worker for runner in self._runners), *self._stalled, self._gone]

    # -------------------------------------------------------------- runners come and go

    def watch(self, runner: Runner) -> None:
        """Watches a runner from now on."""
        with self._lock:
            self._runners.add(runner)

    def unwatch(self, runner: Runner) -> None:
        """Stops watching a runner; its executions remain counted."""
        with self._lock:
            if runner in self._runners:
                self._runners.discard(runner)
                self._add_to_gone(runner.worker)

    def note_stalled(self, worker: Worker) -> None:
        """Records a worker whose execution has stalled: it is its last, and the runner has another worker."""
        with self._lock:
            self._stalled.add(worker)

    def note_stalled_ended(self, worker: Worker) -> None:
        """Records that such a worker's last execution has ended."""
        with self._lock:
            self._stalled.discard(worker)
            self._add_to_gone(worker)

    def _add_to_gone(self, worker: Worker) -> None:
        self._gone.started += worker.started
        self._gone.finished += worker.finished

    # -------------------------------------------------------------- its thread

    def _run(self) -> None:
        while self._awake.wait() and not self._stopped:
            self._watch_until_idle()

    def _watch_until_idle(self) -> None:
        before, resting = -1, 0
        while resting < RESTING_LOOKS and not self._stopped:
            time.sleep(self._look_seconds)
            runners = self._check_runners()
            ran = _started(self.workers)
            resting = resting + 1 if ran == before and not any(runner.is_running for runner in runners) else 0
            before = ran
        self._awake.clear()
        with self._lock:
            is_running = any(runner.is_running for runner in self._runners)
        if is_running or _started(self.workers) != before or self._stopped:
            self._awake.set()  # a runner that began meanwhile has not woken this thread

    def _check_runners(self) -> list[Runner]:
        with self._lock:
            runners = [*self._runners]
        for runner in runners:
            runner.check()
        return runners


def _started(workers: Iterable[Worker]) -> int:
    return sum(worker.started for worker in workers)
