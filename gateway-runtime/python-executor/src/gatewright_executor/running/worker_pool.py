"""The thread pool: worker threads that run executions, one after the other.

An execution goes to an idle thread, or else to the first thread that becomes idle. growth.py adds threads to the pool;
these end when they have been idle for long.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from gatewright_executor import memory
from gatewright_executor.critical_thread import CriticalThread
from gatewright_executor.running.instance import Execution
from gatewright_executor.running.worker import Worker

IDLE_SECONDS = 30.0  # after which an added thread ends
log = logging.getLogger(__name__)


class WorkerSlot:
    """The sleeping place of one thread of the pool."""

    __slots__ = ("_woken", "worker")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.worker = Worker(clock)
        self._woken = threading.Lock()
        self._woken.acquire()

    def wake(self) -> None:
        """Wakes the thread that sleeps here, or will sleep; once."""
        self._woken.release()

    def sleep(self, seconds: float) -> bool:
        """Sleeps until woken; returns at once if that was before. False: after `seconds` (-1: no limit)."""
        return self._woken.acquire(True, seconds)


class WorkerPool:
    """A pool whose threads call `run` with an execution and their worker. Start, stop; each once.

    size: the least number of threads. most: the most that `grow` may start. idle_seconds: after which an added thread
    ends. clock: of the workers.
    """

    def __init__(
        self,
        size: int,
        run: Callable[[Execution, Worker], None],
        most: int = 0,
        idle_seconds: float = IDLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._run = run
        self._size = size
        self._most = max(size, most)
        self._idle_seconds = idle_seconds
        self._slots = [WorkerSlot(clock) for _ in range(size)]
        self._gone = Worker()  # the counts of threads that have ended
        self._dismissing = threading.Lock()
        self._idle: list[WorkerSlot] = []
        self._queue: deque[Execution] = deque()
        self._one_wakes = False  # a thread was woken, and has not read the queue yet
        self._stopped = False

    @property
    def backlog(self) -> int:
        """The number of executions that wait for a thread."""
        return len(self._queue)

    @property
    def idle(self) -> int:
        """The number of threads that wait for an execution."""
        return len(self._idle)

    @property
    def grown(self) -> int:
        """The number of added threads."""
        return len(self._slots) - self._size

    @property
    def is_short(self) -> bool:
        """Whether `grow` would start threads."""
        return len(self._slots) < self._most and len(self._queue) > len(self._idle)

    @property
    def workers(self) -> list[Worker]:
        """The workers of all threads, and one with the counts of ended threads."""
        return [self._gone, *(slot.worker for slot in self._slots)]

    def start(self) -> None:
        """Starts the initial threads."""
        for number, slot in enumerate(self._slots):
            CriticalThread(self._work, slot, name=f"worker-{number}").start()

    def stop(self) -> None:
        """Ends each thread after its present execution; queued ones are not started."""
        self._stopped = True
        while self._wake_one():
            memory.make_room(self.grown + 1)

    def submit(self, execution: Execution) -> None:
        """Lets a thread run the execution."""
        self._queue.append(execution)
        self._wake_more()

    def grow(self) -> None:
        """Starts a thread for each execution that waits for one. If the system refuses one, the pool grows no more."""
        for _ in range(min(len(self._queue) - len(self._idle), self._most - len(self._slots))):
            memory.make_room(self.grown + 1)
            thread = CriticalThread(self._work, slot := WorkerSlot(self._clock), name=f"worker-{len(self._slots)}")
            self._slots.append(slot)
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:
                self._slots.remove(slot)
                self._most = len(self._slots)
                log.warning("no more than %d threads for executions could be started: %s", self._most, error)
                return

    # -------------------------------------------------------------- in its threads

    def _work(self, slot: WorkerSlot) -> None:
        """Runs executions until the pool is stopped, or this thread was idle for long."""
        slot.worker.measure_from_here()
        while not self._stopped:
            try:
                execution = self._queue.popleft()
            except IndexError:
                if not self._await_work(slot):
                    return
                slot.worker.measure_from_here()
            else:
                self._wake_more()
                self._run(execution, slot.worker)
                del execution  # or its frame would stay in memory until the next execution

    def _await_work(self, slot: WorkerSlot) -> bool:
        """Sleeps until there is work. False: the thread was idle for so long that it ends."""
        self._idle.append(slot)
        if self._queue and _removed(self._idle, slot):  # it came before this thread was listed as idle
            return True
        while not slot.sleep(self._idle_seconds if self.grown else -1):
            if self._dismiss(slot):
                self._wake_more()  # for executions that came while this thread was still listed as idle
                return False
        self._one_wakes = False
        return True

    def _dismiss(self, slot: WorkerSlot) -> bool:
        """Removes an idle thread, if threads were added."""
        with self._dismissing:
            if not self.grown or not _removed(self._idle, slot):
                return False
            self._gone.started += slot.worker.started
            self._gone.finished += slot.worker.finished
            self._slots.remove(slot)
        memory.make_room(self.grown)
        return True

    def _wake_more(self) -> None:
        """Wakes one thread at a time, since all that are awake wait for the GIL; it wakes the next one if needed."""
        while self._queue and not self._one_wakes:
            self._one_wakes = True
            if self._wake_one():
                return
            self._one_wakes = False
            if not self._idle:  # one that is idle now may have read the queue before others left waking to this thread
                return

    def _wake_one(self) -> bool:
        slot = _popped(self._idle)
        if slot is not None:
            slot.wake()
        return slot is not None


def _popped(slots: list[WorkerSlot]) -> WorkerSlot | None:
    try:
        return slots.pop()
    except IndexError:
        return None


def _removed(slots: list[WorkerSlot], slot: WorkerSlot) -> bool:
    try:
        slots.remove(slot)
    except ValueError:
        return False
    return True
