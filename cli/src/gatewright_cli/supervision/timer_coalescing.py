"""One beat for all that the supervisor does again and again.

A wake-up in a process that was idle costs several times what is then done, since no cache holds it any more: what wakes
up together shares that.
"""

from __future__ import annotations

import time


def until_next(period: float) -> float:
    """Seconds until the clock next passes a multiple of `period`; from half of it to one and a half."""
    left = period - time.monotonic() % period
    return left if left >= period / 2 else left + period
