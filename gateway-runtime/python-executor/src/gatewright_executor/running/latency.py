"""Whether an instance's executions are so short that others may wait for them: quick, slow, or now and then slow.

To be quick is earned by a row of quick ones, and lost by slow ones: at once where one stood still, else by the third,
for a quick policy may have to wait now and then, for Python's lock or a log. Each loss makes it four times as hard to
earn again, so a policy that blocks at one execution in a hundred is soon never taken for a quick one; each further row
makes it easier. Slow is where one in nine is, or more.
"""

from __future__ import annotations

QUICK_SECONDS = 0.001
ROW = 32  # quick executions that earn it at first
LONGEST_ROW = 1 << 16
STRIKES = 3
QUICK_ONES = 8  # outweigh a slow one
HEAVIEST = 64  # what was long ago weighs no more than so many quick ones


class Pace:
    """Of one instance, by what it has done. Noted by any thread: a count that gets lost between two does no harm."""

    __slots__ = ("_balance", "_needed", "_row", "_strikes", "is_quick")

    def __init__(self) -> None:
        self.is_quick = False
        self._balance = 0  # of quick ones and slow ones
        self._needed = ROW
        self._row = 0
        self._strikes = 0

    def note(self, slow: bool) -> None:
        """One execution more."""
        if slow:
            self._balance = max(self._balance - QUICK_ONES, -HEAVIEST)
            self._strike()
            return
        if self._balance < HEAVIEST:
            self._balance += 1
        self._row += 1
        if self._row >= self._needed:
            self._earn()

    @property
    def is_slow(self) -> bool:
        return self._balance < 0

    def lose(self) -> None:
        """One stood still."""
        if self.is_quick:
            self._needed = min(4 * self._needed, LONGEST_ROW)
        self.is_quick, self._row, self._strikes = False, 0, 0

    def forgive(self) -> None:
        """It had not stood still after all: others had the core."""
        self.is_quick, self._needed = True, max(ROW, self._needed // 4)

    def _strike(self) -> None:
        self._strikes += 1
        if not self.is_quick or self._strikes >= STRIKES:
            self.lose()

    def _earn(self) -> None:
        if self.is_quick:
            self._needed = max(ROW, self._needed // 2)
        self.is_quick, self._row, self._strikes = True, 0, 0
