"""Aligns the supervisor's periodic timers, so that one wake-up serves several of them.

A wake-up of an idle process costs several times the work that follows, since its memory is no longer cached.
"""

from __future__ import annotations

import time
from collections.abc import Callable


def until_next_tick(period: float, clock: Callable[[], float] = time.monotonic) -> float:
    """Seconds until the clock next passes a multiple of `period`; at least half a period, at most one and a half."""
    left = period - clock() % period
    return left if left >= period / 2 else left + period
