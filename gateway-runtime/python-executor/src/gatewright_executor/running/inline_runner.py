"""Executions that the thread which read them runs itself: leader/followers.

To hand an execution to another thread costs more than most policies. So the thread that reads a connection, its leader,
runs those of a frame that are known to be quick (latency.py), one after the other. If one of them stalls after all, the
watchdog (stall_watchdog.py) makes another thread the leader: that one does what is left of the batch, and reads on. The
thread that was held up ends its one execution, and then itself. There is one leader at a time: each has its term.
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
FLUSH_SECONDS = 0.0004  # after which it sends what it has; then after four times as long, and so on
log = logging.getLogger(__name__)


def drained(executions: deque[Execution]) -> Iterator[Execution]:
    """Takes them out, first in first out; each goes to one thread, however many threads drain at once."""
    while True:
        try:
            execution = executions.popleft()
        except IndexError:
            return
        yield execution


class InlineBatch:
    """Executions of one frame, and the worker of the thread that runs them."""

    __slots__ = ("began", "executions", "sink", "stalled", "worker")

    def __init__(self, executions: deque[Execution], sink: ResultSink, worker: Worker) -> None:
        self.executions = executions
        self.sink = sink
        self.worker = worker
        self.began = worker.clock()
        self.stalled: Execution | None = None  # that one; another thread is the leader

    def run(self, slots: SlotBatch) -> None:
        """Runs the executions, as many as there is time for; workers run those of instances that are quick no more."""
        self.worker.measure_from_here()
        until, pause, due = self.began + BATCH_SECONDS, FLUSH_SECONDS, self.began + FLUSH_SECONDS
        for execution in drained(self.executions):
            if not execution.instance.latency.is_quick:
                slots.submit(execution)
                continue
            slots.run(execution)
            if self.stalled is not None:
                if self.stalled is execution and not self.worker.was_slow:  # others had the core
                    execution.instance.latency.undo_demotion()
                break
            if (ended := self.worker.ended) < due:
                continue
            if ended >= until:
                break
            self.sink.flush()  # whoever waits for these goes on meanwhile
            pause *= 4
            due = min(ended + pause, until)
        slots.release()


class InlineRunner:
    """Of one connection. `read(term)` is its reading loop: it reads until there is no more, or `term` is another one.

    It is called here in each further thread that becomes the leader, with that one's term.
    """

    def __init__(self, dispatcher: Dispatcher, read: Callable[[int], None]) -> None:
        self._dispatcher = dispatcher
        self._watchdog = dispatcher.watchdog
        self._read = read
        self._lock = threading.Lock()  # of these three:
        self._batch: InlineBatch | None = None  # that runs
        self.worker = Worker(dispatcher.clock)
        self.term = 0  # of the leader: how many were leaders before it
        self._seen: Execution | None = None
        self._looks = 0  # that have seen it
        self._watchdog.watch(self)

    @property
    def is_running(self) -> bool:
        """Whether a batch is under way."""
        return self._batch is not None

    def run(self, executions: deque[Execution], sink: ResultSink) -> None:
        """Runs the executions, all of `sink`, in this thread: as many as there is time for; workers run the rest.

        If one stalls, another thread does what is left of this, and reads on.
        """
        batch = self._batch = InlineBatch(executions, sink, self.worker)
        self._watchdog.wake()
        try:
            batch.run(SlotBatch(self._dispatcher, batch.worker))
        except Exception:
            log.exception("executions were accepted and not all answered; the stream ends")
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
        """Lets another thread read on, where the one that calls is the leader and runs an execution, which is about to
        wait for what is read. False: no other thread can be had."""
        batch = self._batch
        if batch is None or batch.worker.thread != threading.get_ident() or batch.worker.execution is None:
            return True
        return self._replace_leader(batch, batch.worker.execution)

    def close(self) -> None:
        """The connection has ended."""
        self._watchdog.unwatch(self)

    def look(self) -> None:
        """Lets another thread lead if this one's execution has stalled. For the watchdog."""
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
        except (RuntimeError, MemoryError):  # the one that has stalled leads on
            replacement_needed.thread_failed = True
            log.critical("no thread can be had to read on; this process should be replaced", exc_info=True)
            return False
        return True

    def _take_over(self, batch: InlineBatch, execution: Execution) -> None:
        """Becomes the leader in place of a thread whose execution has stalled, unless that goes on already."""
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
            log.exception("executions were accepted and not all answered; the stream ends")
            batch.sink.abort()
        self._read(term)
