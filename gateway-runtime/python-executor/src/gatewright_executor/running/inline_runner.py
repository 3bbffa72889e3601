"""Runs executions in the thread that read them, by the leader/followers pattern.

Handing an execution to another thread costs more than most policies. So the thread that reads a connection, its leader,
runs the executions of a frame that are known to be quick (latency.py), one after the other. If one of them stalls, the
watchdog (stall_watchdog.py) makes another thread the leader, which runs the rest of the batch and reads on. The stalled
thread ends after its present execution. There is one leader at a time; its number is the term.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator

from gatewright_executor.critical_thread import CriticalThread
from gatewright_executor.replacement import replacement_needed
from gatewright_executor.running.dispatch import Dispatcher, SlotBatch
from gatewright_executor.running.instance import Execution, ResultSink
from gatewright_executor.running.stall_watchdog import LOOKS
from gatewright_executor.running.worker import Worker

BATCH_SECONDS = 0.005  # after which a batch leaves the rest to the workers
FLUSH_SECONDS = 0.0004  # after which a batch sends its actions; then after four times as long, and so on
log = logging.getLogger(__name__)


def drained(executions: deque[Execution]) -> Iterator[Execution]:
    """Removes the executions, first in first out. Several threads may drain at once, and each execution goes to one."""
    while True:
        try:
            execution = executions.popleft()
        except IndexError:
            return
        yield execution


class InlineBatch:
    """The executions of one frame, and the worker of the thread that runs them."""

    __slots__ = ("began", "executions", "sink", "stalled", "worker")

    def __init__(self, executions: deque[Execution], sink: ResultSink, worker: Worker) -> None:
        self.executions = executions
        self.sink = sink
        self.worker = worker
        self.began = worker.clock()
        self.stalled: Execution | None = None  # the execution that has stalled, so that another thread is the leader

    def run(self, slots: SlotBatch) -> None:
        """Runs the executions within BATCH_SECONDS; workers run those of instances that are no longer quick."""
        self.worker.measure_from_here()
        until, pause, due = self.began + BATCH_SECONDS, FLUSH_SECONDS, self.began + FLUSH_SECONDS
        for execution in drained(self.executions):
            if not execution.instance.latency.is_quick:
                slots.submit(execution)
                continue
            slots.run(execution)
            if self.stalled is not None:
                if self.stalled is execution and not self.worker.was_slow:  # other threads had the core
                    execution.instance.latency.undo_demotion()
                break
            if (ended := self.worker.ended) < due:
                continue
            if ended >= until:
                break
            self.sink.flush()  # so that the engine can go on with these meanwhile
            pause *= 4
            due = min(ended + pause, until)
        slots.release()


class InlineRunner:
    """Runs the executions of one connection. `read(term)` is its reading loop, which ends with the connection, or when
    the runner's term is no longer `term`.

    The runner calls `read` in each further thread that becomes the leader, with its term.
    """

    def __init__(self, dispatcher: Dispatcher, read: Callable[[int], None]) -> None:
        self._dispatcher = dispatcher
        self._watchdog = dispatcher.watchdog
        self._read = read
        self._lock = threading.Lock()  # for the next members:
        self._batch: InlineBatch | None = None  # under way
        self.worker = Worker(dispatcher.clock)
        self.term = 0  # the number of leaders before the present one
        self._seen: Execution | None = None
        self._looks = 0  # checks of the watchdog that have seen it
        self._watchdog.watch(self)

    @property
    def is_running(self) -> bool:
        """Whether a batch is under way."""
        return self._batch is not None

    def run(self, executions: deque[Execution], sink: ResultSink) -> None:
        """Runs the executions, all of `sink`, in this thread within BATCH_SECONDS; workers run the rest.

        If one stalls, another thread runs the rest of the batch and reads on.
        """
        batch = self._batch = InlineBatch(executions, sink, self.worker)
        self._watchdog.wake()
        try:
            batch.run(SlotBatch(self._dispatcher, batch.worker))
        except Exception:
            log.exception("not all accepted executions could be answered; the stream ends")
            sink.abort()
        with self._lock:
            if batch.stalled is None:
                self._batch = None
        if batch.stalled is not None:
            self._watchdog.note_stalled_ended(batch.worker)
        else:
            for execution in drained(executions):
                self._dispatcher.submit(execution)
        sink.flush()

    def give_way(self) -> bool:
        """Makes another thread the leader if the caller is the leader and runs an execution that is about to wait for
        incoming data. False: no other thread could be started."""
        batch = self._batch
        if batch is None or batch.worker.thread != threading.get_ident() or batch.worker.execution is None:
            return True
        return self._replace_leader(batch, batch.worker.execution)

    def close(self) -> None:
        """Ends the runner with its connection."""
        self._watchdog.unwatch(self)

    def check(self) -> None:
        """Makes another thread the leader if the leader's execution has stalled. Called by the watchdog."""
        batch = self._batch
        execution = batch.worker.execution if batch is not None else None
        self._looks = self._looks + 1 if execution is self._seen else 1
        self._seen = execution
        if batch is None or execution is None or self._looks < LOOKS:
            return
        self._looks = 0
        self._replace_leader(batch, execution)

    def _replace_leader(self, batch: InlineBatch, execution: Execution) -> bool:
        try:
            CriticalThread(self._take_over, batch, execution, name="connection").start()
        except (RuntimeError, MemoryError):  # the stalled thread remains the leader
            replacement_needed.thread_failed = True
            log.critical("no thread could be started to read on; this process should be replaced", exc_info=True)
            return False
        return True

    def _take_over(self, batch: InlineBatch, execution: Execution) -> None:
        """Becomes the leader instead of a thread whose execution has stalled, unless that thread goes on already."""
        with self._lock:
            if self._batch is not batch or batch.worker.execution is not execution:
                return
            self._watchdog.note_stalled(batch.worker)
            execution.instance.latency.demote()
            self._batch, self.worker, self.term = None, Worker(self._dispatcher.clock), self.term + 1
            batch.stalled, term = execution, self.term
        try:
            batch.sink.flush()
            self.run(batch.executions, batch.sink)
        except Exception:
            log.exception("not all accepted executions could be answered; the stream ends")
            batch.sink.abort()
        self._read(term)
