"""Whether a process that does not answer still makes progress, from plain values."""

from __future__ import annotations

from dataclasses import dataclass

CPU_STEP = 0.2
"""Seconds of CPU time that count as progress."""


@dataclass(frozen=True)
class Snapshot:
    """An observation of a process: the probe's obstacle, log lines so far, CPU seconds so far."""

    obstacle: str
    lines: int
    cpu: float

    def same_as(self, other: Snapshot) -> bool:
        """Whether there was no progress. CPU time counts in steps, since the probes cost a process a little."""
        return (self.obstacle, self.lines) == (other.obstacle, other.lines) and self.cpu < other.cpu + CPU_STEP


class Progress:
    """Keeps the last snapshot that showed progress."""

    def __init__(self, now: float) -> None:
        self._snapshot = Snapshot("", 0, 0.0)
        self._since = now

    def stalled_for(self, snapshot: Snapshot, now: float) -> float:
        """Seconds since something last changed."""
        if not snapshot.same_as(self._snapshot):
            self._snapshot, self._since = snapshot, now
        return now - self._since
