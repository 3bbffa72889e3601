"""What the signals that end a run ask for. Knows no process."""

from __future__ import annotations

from enum import Enum, auto

REPEAT_SECONDS = 1.0


class Wish(Enum):
    """What somebody wants who has sent a signal."""

    STOP = auto()
    FORCE = auto()
    NOTHING_NEW = auto()


class Wishes:
    """The first signal asks for an orderly stop, a second one to force it.

    One key in a terminal can come as several signals, for a wrapper may pass on what the whole group has got: those
    that follow the first within REPEAT_SECONDS are the same wish.
    """

    def __init__(self) -> None:
        self._first: float | None = None
        self.forced = False

    def heard(self, now: float) -> Wish:
        """A signal has come. now: time.monotonic()."""
        if self._first is None:
            self._first = now
            return Wish.STOP
        if now - self._first < REPEAT_SECONDS:
            return Wish.NOTHING_NEW
        self.forced = True
        return Wish.FORCE
