"""The event loops: one that all async policies share, and one for each instance that was caught blocking that one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from gatewright_executor.running.coroutines import Coroutines
from gatewright_executor.running.instance import Execution, Instance
from gatewright_executor.running.loop_watchdog import LoopWatchdog
from gatewright_executor.running.streams import Streams


class Loops:
    """Start, stop; each once. `dispatch` runs an execution that has got a slot.

    stream_works: called when a stream begins to work, and none did. clock: by which executions are begun and late.
    """

    def __init__(
        self,
        dispatch: Callable[[Execution], None],
        stream_works: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make: Callable[[], Coroutines] = lambda: Coroutines(dispatch, stream_works, clock)
        self.shared = self._make()
        self.watchdog = LoopWatchdog(self.shared)
        self._lock = threading.Lock()
        self.own: dict[Instance, Coroutines] = {}  # of those that do not share
        self._gone = 0, 0  # executions that loops which are gone have started and finished

    def start(self) -> None:
        """Starts the watchdog; loops start with their first use."""
        self.watchdog.start()

    def stop(self, seconds: float) -> None:
        """Cancels what runs and closes the loops, if a policy does not hold them up for longer than `seconds`."""
        self.watchdog.stop()
        for each in self.all():
            each.stop(seconds)

    def all(self) -> list[Coroutines]:
        """The shared one first."""
        return [self.shared, *self.own.copy().values()]

    def streams(self) -> list[Streams]:
        """Those of all loops."""
        return [loop.streams for loop in self.all()]

    def give_own(self, instance: Instance) -> None:
        """Gives an instance that has not run yet a loop of its own."""
        self.own[instance] = self._make()

    def of(self, instance: Instance) -> Coroutines:
        """What its coroutines run on."""
        return self.own.get(instance, self.shared)

    def blocked(self, instance: Instance, since: float, until: float) -> str:
        """Who has held up an instance's loop in that time, and for how long, in words; "" where nobody has."""
        shares = instance not in self.own and any(hook.is_coroutine for hook in instance.hooks.values())
        return self.watchdog.blocked(instance, since, until) if shares else ""

    def end_own(self, instance: Instance) -> None:
        """The instance has ended; so does its loop, if it has one of its own."""
        with self._lock:
            loop = self.own.pop(instance, None)
            if loop is None:
                return
            started, finished = _done(loop)
            self._gone = self._gone[0] + started, self._gone[1] + finished
        loop.stop(0)

    def counts(self) -> tuple[int, int]:
        """How many executions were started and finished."""
        with self._lock:
            counts = [self._gone, *map(_done, self.all())]
        return sum(started for started, _ in counts), sum(finished for _, finished in counts)


def _done(loop: Coroutines) -> tuple[int, int]:
    """How many executions it has started and finished."""
    return loop.counts.started + loop.streams.started, loop.counts.finished + loop.streams.finished
