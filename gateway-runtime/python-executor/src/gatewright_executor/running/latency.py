"""The latency class of an instance: whether its executions are so short that others may wait for them.

An instance is promoted to quick after a run of quick executions, and demoted by slow ones: at once if one stalled, else
by the third, since a quick policy may sometimes wait for the GIL or a log. Each demotion makes the run that promotes
again four times as long, so a policy that blocks in one execution of a hundred soon stays slow; each further run makes
it shorter.
"""

from __future__ import annotations

QUICK_SECONDS = 0.001
RUN = 32  # quick executions until the first promotion
LONGEST_RUN = 1 << 16
STRIKES = 3
_NEVER = 1 << 62


class LatencyClass:
    """The class of one instance, by its executions. Recorded by any thread, since a lost count does no harm."""

    __slots__ = ("_needed", "_run", "_strikes", "is_quick")

    def __init__(self) -> None:
        self.is_quick = False
        self._needed = RUN
        self._run = 0
        self._strikes = 0

    def record(self, slow: bool) -> None:
        """Records an execution."""
        if slow:
            self._strike()
            return
        self._run += 1
        if self._run >= self._needed:
            self._promote()

    def demote(self) -> None:
        """Demotes the instance, since an execution has stalled."""
        if self.is_quick:
            self._needed = min(4 * self._needed, LONGEST_RUN)
        self.is_quick, self._run, self._strikes = False, 0, 0

    def note_waits(self) -> None:
        """Demotes the instance for good, since its executions wait for the store."""
        self.is_quick, self._needed = False, _NEVER

    def undo_demotion(self) -> None:
        """Undoes a demotion for an execution that had not stalled: other threads had the core."""
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
