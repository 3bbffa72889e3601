"""The liveness check of a process that has been ready: by a probe from outside, its CPU time and its log lines."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from gatewright_cli.local_http import ATTEMPT_SECONDS
from gatewright_cli.supervision.child import Child
from gatewright_cli.supervision.probes import Probe
from gatewright_cli.supervision.progress import Progress, Snapshot
from gatewright_cli.supervision.timer_coalescing import until_next_tick

PAUSE_SECONDS = 1.0
LONGEST_STEP_SECONDS = ATTEMPT_SECONDS + 2 * PAUSE_SECONDS
BUSY_FACTOR = 12
"""A process that uses CPU or logs may be silent for this many times the limit."""


class Liveness:
    """Decides when a process has been silent for too long, from plain values.

    limit: seconds for which a process may answer no health check and show no progress.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._since = 0.0
        self._progress = Progress(0.0)

    def verdict(self, snapshot: Snapshot, now: float) -> str | None:
        """Why to kill the process; None while it is alive.

        snapshot: its obstacle is empty if the process has answered. now: seconds, by any clock that only goes forward.
        A process that is silent and idle is killed after `limit` seconds, one that is silent and busy after
        BUSY_FACTOR times as many.
        """
        if not snapshot.obstacle:
            self._since, self._progress = now, Progress(now)
        idle, silent = self._progress.stalled_for(replace(snapshot, obstacle=""), now), now - self._since
        if min(idle, silent) >= self._limit:
            return f"it has neither answered nor made progress for {silent:.1f} s ({snapshot.obstacle})"
        if silent >= self._limit * BUSY_FACTOR:
            return f"it has not answered for {silent:.0f} s, although it makes progress ({snapshot.obstacle})"
        return None


async def until_silent(probe: Probe, child: Child, limit: float) -> str:
    """Returns, once the process has been silent for too long, why to kill it. limit: as in Liveness.

    Time in which the supervisor itself got no CPU is not counted.
    """
    liveness, clock = Liveness(limit), 0.0
    while True:
        began = time.monotonic()
        obstacle = await probe.obstacle()
        clock += min(time.monotonic() - began, LONGEST_STEP_SECONDS)
        if reason := liveness.verdict(Snapshot(obstacle or "", child.lines_read, child.cpu_seconds()), clock):
            return reason
        pause = until_next_tick(PAUSE_SECONDS)
        await asyncio.sleep(pause)
        clock += pause
