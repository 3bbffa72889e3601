"""Whether a process that was ready still answers: asked from outside, and judged by its progress as well."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from gatewright_cli.supervision.child import Child
from gatewright_cli.supervision.probes import ATTEMPT_SECONDS, Probe
from gatewright_cli.supervision.progress import Progress, Sign
from gatewright_cli.supervision.timer_coalescing import until_next

PAUSE_SECONDS = 1.0
LONGEST_STEP_SECONDS = ATTEMPT_SECONDS + 2 * PAUSE_SECONDS
PATIENCE_WITH_WORK = 12  # times as long may a process be silent that uses CPU or logs


class Silence:
    """What is remembered of a process that is asked again and again. Knows no clock and no process."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._since = 0.0
        self._progress = Progress(0.0)

    def verdict(self, sign: Sign, now: float) -> str | None:
        """Why the process is given up; None while it is not. `sign` has no obstacle if the process has answered.

        Silent and idle, `limit` seconds are enough; a busy one, or one on a busy machine, gets much longer.
        """
        if not sign.obstacle:
            self._since, self._progress = now, Progress(now)
        idle, silent = self._progress.stalled_for(replace(sign, obstacle=""), now), now - self._since
        if min(idle, silent) >= self._limit:
            return f"it has answered nothing and done nothing for {silent:.1f} s ({sign.obstacle})"
        if silent >= self._limit * PATIENCE_WITH_WORK:
            return f"it has answered nothing for {silent:.0f} s, although it works ({sign.obstacle})"
        return None


async def until_silent(probe: Probe, child: Child, limit: float) -> str:
    """Returns why the process is given up; as long as it is well, never.

    Time in which the supervisor itself got no CPU is not counted against the process.
    """
    silence, clock = Silence(limit), 0.0
    while True:
        began = time.monotonic()
        obstacle = await probe.obstacle()
        clock += min(time.monotonic() - began, LONGEST_STEP_SECONDS)
        if reason := silence.verdict(Sign(obstacle or "", child.lines_read, child.cpu_seconds()), clock):
            return reason
        pause = until_next(PAUSE_SECONDS)
        await asyncio.sleep(pause)
        clock += pause
