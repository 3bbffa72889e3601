"""Whether a process that is not ready yet still gets somewhere. Knows no clock and no process."""

from __future__ import annotations

from dataclasses import dataclass

CPU_STEP = 0.2


@dataclass(frozen=True)
class Sign:
    """What can be seen from outside: the probe's obstacle, log lines so far, CPU seconds so far."""

    obstacle: str
    lines: int
    cpu: float

    def same_as(self, other: Sign) -> bool:
        """CPU counts in steps: being asked costs a process a little, and is no progress."""
        return (self.obstacle, self.lines) == (other.obstacle, other.lines) and self.cpu < other.cpu + CPU_STEP


class Progress:
    """Remembers the last sign that differed."""

    def __init__(self, now: float) -> None:
        self._sign = Sign("", 0, 0.0)
        self._since = now

    def stalled_for(self, sign: Sign, now: float) -> float:
        """Seconds since something last changed."""
        if not sign.same_as(self._sign):
            self._sign, self._since = sign, now
        return now - self._since
