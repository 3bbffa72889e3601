"""A clock that stands still until a test moves it: `gatewright.testing.clock`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager

from gatewright import background
from gatewright import clock as time_of_policies

START = 1_767_225_600.0  # 2026-01-01T00:00:00Z


@contextmanager
def clock(now: float = START) -> Iterator[MovedClock]:
    """Within it, `sdk.clock` stands at `now` (seconds since 1970) until `advance` moves it. Work of `sdk.background`
    runs at its turns, without jitter, in the order of these turns."""
    moved = MovedClock(now)
    before, runner = time_of_policies.use(moved), background.clock_runner
    background.clock_runner = moved._runner
    try:
        yield moved
    finally:
        time_of_policies.use(before)
        background.clock_runner = runner


class MovedClock:
    """The clock that `clock` yields."""

    def __init__(self, now: float) -> None:
        self._now = now
        self._runners: list[_MovedRunner] = []

    def now(self) -> float:
        """Seconds since 1970."""
        return self._now

    def monotonic(self) -> float:
        """The same number as `now`."""
        return self._now

    def advance(self, seconds: float = 0.0) -> None:
        """Moves the clock on, and runs the work that becomes due before it returns. TypeError if that work is async."""
        for runner in self._due(seconds):
            runner.run()

    async def advance_async(self, seconds: float = 0.0) -> None:
        """Like `advance`, in an event loop, for work that is async."""
        for runner in self._due(seconds):
            await runner.run_async()

    def _due(self, seconds: float) -> Iterator[_MovedRunner]:
        end = self._now + seconds
        while due := min(
            (runner for runner in self._runners if runner.turn <= end), key=lambda runner: runner.turn, default=None
        ):
            self._now = max(self._now, due.turn)
            yield due
            due.plan()
        self._now = end

    def _runner(self, work: background.Every) -> _MovedRunner:
        return _MovedRunner(self, work)


class _MovedRunner:
    """Runs one piece of work at its turns."""

    def __init__(self, moved: MovedClock, work: background.Every) -> None:
        self._clock, self._every = moved, work
        self.turn = float("inf")

    def start(self) -> None:
        self.plan()
        self._clock._runners.append(self)

    def plan(self) -> None:
        """Sets the next turn."""
        self.turn = self._clock.now() + self._every.wait_seconds(jitter=0.0)

    def wake(self) -> None:
        self.turn = self._clock.now()

    def stop(self) -> None:
        self._clock._runners.remove(self)

    async def stopped(self) -> None:
        """Returns at once: the runner has no thread or task."""

    def run(self) -> None:
        if inspect.iscoroutinefunction(self._every.work):
            raise TypeError(
                f"expected `await clock.advance_async(…)`, since {self._every.name} is async; got `advance`"
            )
        self._every.run_once()

    async def run_async(self) -> None:
        await self._every.run_once_async()
