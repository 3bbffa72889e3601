"""More executions at once where those that run wait for something; not where they compute.

A thread that waits costs next to nothing, so an instance whose executions wait may have more slots than at first, and
the pool more threads. One that computes is not done sooner for running beside others, and holds these up. Which of the
two it is shows at a thread that does nothing but sleep: where others wait, it is back on time; where one computes, the
GIL is not free when it wakes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gatewright_executor.critical_thread import WokenThread
from gatewright_executor.running.instance import Execution, Instance
from gatewright_executor.running.worker_pool import WorkerPool

LOOK_SECONDS = 0.005
LATE_SECONDS = 0.001  # who computes keeps the GIL for so long, at least (main.SWITCH_SECONDS)
BUSY_CORES = 0.9  # what computes without the GIL, in C, shows in the CPU time of the process
AVERAGED = 8  # looks: one alone may be late because others had the core


class Room:
    """Whether the process has room for more threads, by what looks at it have found."""

    def __init__(self) -> None:
        self._busy = 0.0  # the share of looks that found it busy

    def record(self, late: float, cores: float) -> bool:
        """One look more. Returns whether there is room now.

        late: seconds that a sleep took too long. cores: CPU time of the process for each second.
        """
        busy = late >= LATE_SECONDS or cores >= BUSY_CORES
        self._busy += (busy - self._busy) / AVERAGED
        return not busy and self._busy < 0.5


class Growth(WokenThread):
    """Looks at instances whose executions wait for a slot, and at a pool whose executions wait for a thread, as long
    as there are any. `dispatch` runs an execution that has a slot."""

    def __init__(
        self, pool: WorkerPool, dispatch: Callable[[Execution], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self.cpu_clock: Callable[[], float] = time.process_time
        self._pool = pool
        self._dispatch = dispatch
        self._full: set[Instance] = set()  # those that may grow, and have executions that wait
        self._room = Room()
        super().__init__("growth")

    def watch(self, instance: Instance) -> None:
        """Executions of it may wait for a slot."""
        if instance.may_grow and instance not in self._full:
            self._full.add(instance)
            self.wake()

    def look(self, room: bool) -> None:
        """Gives slots and threads to those that wait for them; takes slots back where there is no room."""
        for instance in self._full.copy():
            self._full.discard(instance)  # before it is seen whether any wait
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
            self._awake.clear()  # before it is seen what there is
            while (self._full or self._pool.is_short) and not self._stopped:
                self.look(self._has_room())

    def _has_room(self) -> bool:
        began, computed = self._clock(), self.cpu_clock()
        time.sleep(LOOK_SECONDS)
        took = max(LOOK_SECONDS, self._clock() - began)
        return self._room.record(took - LOOK_SECONDS, (self.cpu_clock() - computed) / took)
