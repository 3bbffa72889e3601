"""The event loops: one that async policies share, and one for each instance that has blocked the shared loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from gatewright_executor.running.coroutines import Coroutines
from gatewright_executor.running.instance import Execution, Instance
from gatewright_executor.running.loop_watchdog import LoopWatchdog
from gatewright_executor.running.streams import Streams


class Loops:
    """All event loops of an executor. Start, stop; each once. `dispatch` runs an execution that has got a slot.

    stream_works: called when a stream begins to work and no other does. clock: for starts and deadlines.
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
        self.own: dict[Instance, Coroutines] = {}  # of instances that do not use the shared loop
        self._gone = 0, 0  # executions that ended loops have started and finished

    def start(self) -> None:
        """Starts the watchdog; loops start with their first use."""
        self.watchdog.start()

    def stop(self, seconds: float) -> None:
        """Cancels all executions and closes the loops, unless a policy blocks one for longer than `seconds`."""
        self.watchdog.stop()
        for loop in self.all():
            loop.stop(seconds)

    def all(self) -> list[Coroutines]:
        """All loops, the shared one first."""
        return [self.shared, *self.own.copy().values()]

    def streams(self) -> list[Streams]:
        """The streams of all loops."""
        return [loop.streams for loop in self.all()]

    def give_own(self, instance: Instance) -> None:
        """Gives an instance that has not run yet a loop of its own."""
        self.own[instance] = self._make()

    def of(self, instance: Instance) -> Coroutines:
        """The loop of the instance's coroutines."""
        return self.own.get(instance, self.shared)

    def blocked(self, instance: Instance, since: float, until: float) -> str:
        """A clause about the policy that has delayed an instance's loop most in that time; "" if none has."""
        shares = instance not in self.own and any(hook.is_coroutine for hook in instance.hooks.values())
        return self.watchdog.blocked(instance, since, until) if shares else ""

    def end_own(self, instance: Instance) -> None:
        """Ends the loop of an instance that has ended, if it has one of its own."""
        with self._lock:
            loop = self.own.pop(instance, None)
            if loop is None:
                return
            started, finished = _done(loop)
            self._gone = self._gone[0] + started, self._gone[1] + finished
        loop.stop(0)

    def counts(self) -> tuple[int, int]:
        """The numbers of executions that were started and finished."""
        with self._lock:
            counts = [self._gone, *map(_done, self.all())]
        return sum(started for started, _ in counts), sum(finished for _, finished in counts)


def _done(loop: Coroutines) -> tuple[int, int]:
    """The numbers of executions that a loop has started and finished."""
    return loop.counts.started + loop.streams.started, loop.counts.finished + loop.streams.finished
