"""Decides what SIGINT, SIGTERM and SIGQUIT mean: an orderly stop, then a forced one. It has no access to processes."""

from __future__ import annotations

from enum import Enum, auto

REPEAT_SECONDS = 1.0


class StopAction(Enum):
    """What a signal asks for; IGNORE: it repeats an earlier one."""

    STOP = auto()
    FORCE = auto()
    IGNORE = auto()


class StopSignals:
    """The first signal asks for an orderly stop, a second one to force it.

    One key in a terminal can arrive as several signals, since a wrapper may forward the signal that the whole process
    group got: those within REPEAT_SECONDS after the first repeat it.
    """

    def __init__(self) -> None:
        self._first: float | None = None
        self.forced = False

    def received(self, now: float) -> StopAction:
        """What the signal that has just arrived asks for. now: time.monotonic()."""
        if self._first is None:
            self._first = now
            return StopAction.STOP
        if now - self._first < REPEAT_SECONDS:
            return StopAction.IGNORE
        self.forced = True
        return StopAction.FORCE
