"""Whether an instance's executions are so short that others may wait for them: its latency class.

An instance is promoted to quick after a run of quick executions, and demoted by slow ones: at once where one stalled,
else by the third, for a quick policy may have to wait now and then, for the GIL or a log. Each demotion makes the run
that promotes again four times as long, so a policy that blocks at one execution in a hundred is soon never taken for a
quick one; each further run makes it shorter.
"""

from __future__ import annotations

QUICK_SECONDS = 0.001
RUN = 32  # quick executions that promote at first
LONGEST_RUN = 1 << 16
STRIKES = 3
_NEVER = 1 << 62


class LatencyClass:
    """Of one instance, by what it has done. Recorded by any thread: a count that gets lost between two does no harm."""

    __slots__ = ("_needed", "_run", "_strikes", "is_quick")

    def __init__(self) -> None:
        self.is_quick = False
        self._needed = RUN
        self._run = 0
        self._strikes = 0

    def record(self, slow: bool) -> None:
        """One execution more."""
        if slow:
            self._strike()
            return
        self._run += 1
        if self._run >= self._needed:
            self._promote()

    def demote(self) -> None:
        """One stalled: its executions are not taken for quick ones any more."""
        if self.is_quick:
            self._needed = min(4 * self._needed, LONGEST_RUN)
        self.is_quick, self._run, self._strikes = False, 0, 0

    def note_waits(self) -> None:
        """Its executions wait for others: it is no quick one, and never becomes one."""
        self.is_quick, self._needed = False, _NEVER

    def undo_demotion(self) -> None:
        """It had not stalled after all: others had the core."""
        if self._needed == _NEVER:
            return
        self.is_quick, self._needed = True, max(RUN, self._needed // 4)

    def _strike(self) -> None:
        self._strikes += 1
        if not self.is_quick or self._strikes >= STRIKES:
            self.demote()

    def _promote(self) -> None:
        if self.is_quick:
            self._needed = max(RUN, self._needed // 2)
        self.is_quick, self._run, self._strikes = True, 0, 0
