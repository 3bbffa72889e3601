"""The thread pool: worker threads that run executions, one after the other.

An execution goes to a thread that is idle, or else to the first that is again. There are more threads where they are
told to grow (growth.py); those go when they have been idle for long.
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

IDLE_SECONDS = 30.0  # after which a thread goes that was not there at first
log = logging.getLogger(__name__)


class WorkerSlot:
    """What each thread of the pool has: it sleeps here until it is woken."""

    __slots__ = ("_woken", "worker")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.worker = Worker(clock)
        self._woken = threading.Lock()
        self._woken.acquire()

    def wake(self) -> None:
        """Lets the thread that sleeps here, or will, go on; once."""
        self._woken.release()

    def sleep(self, seconds: float) -> bool:
        """Returns once woken; at once if that was before. False: not woken for so long; -1: for ever."""
        return self._woken.acquire(True, seconds)


class WorkerPool:
    """`run` runs an execution as the worker of its thread. Start, stop; each once.

    size: threads at first, and always. most: those that `grow` may make of them. idle_seconds: after which one of the
    latter goes. clock: of the workers.
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
        self._gone = Worker()  # what those threads have done that are no more
        self._dismissing = threading.Lock()
        self._idle: list[WorkerSlot] = []
        self._queue: deque[Execution] = deque()
        self._one_wakes = False  # woken, and not at the queue yet
        self._stopped = False

    @property
    def backlog(self) -> int:
        """How many executions wait for a thread."""
        return len(self._queue)

    @property
    def grown(self) -> int:
        """How many threads more there are than at first."""
        return len(self._slots) - self._size

    @property
    def is_short(self) -> bool:
        """Whether `grow` would make more."""
        return len(self._slots) < self._most and len(self._queue) > len(self._idle)

    @property
    def workers(self) -> list[Worker]:
        """Those of all threads, and one more with what threads have done that are gone."""
        return [self._gone, *(slot.worker for slot in self._slots)]

    def start(self) -> None:
        """Starts as many threads as there are at first."""
        for number, slot in enumerate(self._slots):
            CriticalThread(self._work, slot, name=f"worker-{number}").start()

    def stop(self) -> None:
        """Ends each thread after what it does now; what is queued behind is not started."""
        self._stopped = True
        while self._wake_one():
            memory.make_room(self.grown + 1)

    def submit(self, execution: Execution) -> None:
        """Lets a thread run it."""
        self._queue.append(execution)
        self._wake_more()

    def grow(self) -> None:
        """A thread more for each execution that waits for one. Where the system refuses one, it is not asked again."""
        for _ in range(min(len(self._queue) - len(self._idle), self._most - len(self._slots))):
            memory.make_room(self.grown + 1)
            thread = CriticalThread(self._work, slot := WorkerSlot(self._clock), name=f"worker-{len(self._slots)}")
            self._slots.append(slot)
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:
                self._slots.remove(slot)
                self._most = len(self._slots)
                log.warning("policies that wait have %d threads and get no more: %s", self._most, error)
                return

    # -------------------------------------------------------------- in its threads

    def _work(self, slot: WorkerSlot) -> None:
        """Until the pool is stopped, or this thread was idle for long."""
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
                del execution  # or its frame would stay in memory until the next one

    def _await_work(self, slot: WorkerSlot) -> bool:
        """False: there was nothing for so long that the thread is to end."""
        self._idle.append(slot)
        if self._queue and _removed(self._idle, slot):  # it came when nobody could see that this one is idle
            return True
        while not slot.sleep(self._idle_seconds if self.grown else -1):
            if self._dismiss(slot):
                self._wake_more()  # what came when this one still seemed to be idle
                return False
        self._one_wakes = False
        return True

    def _dismiss(self, slot: WorkerSlot) -> bool:
        """Takes out a thread that is idle, if there are more than at first."""
        with self._dismissing:
            if not self.grown or not _removed(self._idle, slot):
                return False
            self._gone.started += slot.worker.started
            self._gone.finished += slot.worker.finished
            self._slots.remove(slot)
        memory.make_room(self.grown)
        return True

    def _wake_more(self) -> None:
        """One at a time, for all who are awake wait for the GIL: who comes sees whether there is more to do."""
        if self._queue and not self._one_wakes:
            self._one_wakes = True
            if not self._wake_one():
                self._one_wakes = False

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
