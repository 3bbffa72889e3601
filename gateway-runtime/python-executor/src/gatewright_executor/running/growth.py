"""Allows more executions at once while the running ones wait for something, but not while they compute.

A thread that waits costs almost nothing, so an instance whose executions wait may get more slots, and the pool more
threads. An execution that computes does not end sooner beside others, and delays them. A thread that only sleeps
distinguishes the two: it wakes on time if the others wait; if one of them computes, the GIL is not free when it wakes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gatewright_executor.critical_thread import WokenThread
from gatewright_executor.running.instance import Execution, Instance
from gatewright_executor.running.worker_pool import WorkerPool

LOOK_SECONDS = 0.005
LATE_SECONDS = 0.001  # the least time for which a thread that computes keeps the GIL (main.SWITCH_SECONDS)
BUSY_CORES = 0.9  # code that computes in C without the GIL shows in the CPU time of the process
AVERAGED = 8  # samples: one alone may be late because other processes had the core


class Room:
    """Whether the process has room for more threads, by an average of samples."""

    def __init__(self) -> None:
        self._busy = 0.0  # the share of samples that were busy

    def record(self, late: float, cores: float) -> bool:
        """Adds a sample, and returns whether there is room now.

        late: seconds by which a sleep took too long. cores: CPU seconds of the process for each second.
        """
        busy = late >= LATE_SECONDS or cores >= BUSY_CORES
        self._busy += (busy - self._busy) / AVERAGED
        return not busy and self._busy < 0.5


class Growth(WokenThread):
    """Adds slots to instances whose executions wait for a slot, and threads to a pool whose executions wait for one, as
    long as there is room. `dispatch` runs an execution that has a slot."""

    def __init__(
        self, pool: WorkerPool, dispatch: Callable[[Execution], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self.cpu_clock: Callable[[], float] = time.process_time
        self._pool = pool
        self._dispatch = dispatch
        self._full: set[Instance] = set()  # that may grow, and have executions that wait
        self._room = Room()
        super().__init__("growth")

    def watch(self, instance: Instance) -> None:
        """Watches an instance whose executions may wait for a slot."""
        if instance.may_grow and instance not in self._full:
            self._full.add(instance)
            self.wake()

    def adjust(self, room: bool) -> None:
        """Adds slots and threads for waiting executions if there is room, else takes slots back."""
        for instance in self._full.copy():
            self._full.discard(instance)  # before has_waiting is read
            if room:
                for execution in instance.grow():
                    self._dispatch(execution)
            else:
                instance.shrink()
            if instance.has_waiting:
                self._full.add(instance)
        if room:
            self._pool.grow()

    # -------------------------------------------------------------- its thread

    def _run(self) -> None:
        while self._awake.wait() and not self._stopped:
            self._awake.clear()  # before _full is read
            while (self._full or self._pool.is_short) and not self._stopped:
                self.adjust(self._has_room())

    def _has_room(self) -> bool:
        began, computed = self._clock(), self.cpu_clock()
        time.sleep(LOOK_SECONDS)
        took = max(LOOK_SECONDS, self._clock() - began)
        return self._room.record(took - LOOK_SECONDS, (self.cpu_clock() - computed) / took)
