"""What SIGINT, SIGTERM and SIGQUIT ask for: an orderly stop, then a forced one. Knows no process."""

from __future__ import annotations

from enum import Enum, auto

REPEAT_SECONDS = 1.0


class StopAction(Enum):
    """What a signal asks for; IGNORE: it repeats one that has come before."""

    STOP = auto()
    FORCE = auto()
    IGNORE = auto()


class StopSignals:
    """The first signal asks for an orderly stop, a second one to force it.

    One key in a terminal can come as several signals, for a wrapper may pass on what the whole group has got: those
    that follow the first within REPEAT_SECONDS repeat it.
    """

    def __init__(self) -> None:
        self._first: float | None = None
        self.forced = False

    def received(self, now: float) -> StopAction:
        """A signal has come. now: time.monotonic()."""
        if self._first is None:
            self._first = now
            return StopAction.STOP
        if now - self._first < REPEAT_SECONDS:
            return StopAction.IGNORE
        self.forced = True
        return StopAction.FORCE
