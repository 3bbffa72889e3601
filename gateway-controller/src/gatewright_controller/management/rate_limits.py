"""How often something may happen for each key: a bucket of tokens, which fills up again."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from gatewright_controller.management.problems import Problem

MOST_KEYS = 10_000
"""The one that was used longest ago is forgotten first, and begins anew."""


class RateLimit:
    """`burst` at once, `rate` a second after that. clock: seconds."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str = "") -> float:
        """0 where it may happen now; else the seconds after which it may."""
        now = self._clock()
        left, at = self._buckets.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        is_free = left >= 1
        self._buckets[key] = (left - 1 if is_free else left, now)
        if len(self._buckets) > MOST_KEYS:
            self._buckets.popitem(last=False)
        return 0.0 if is_free else (1 - left) / self._rate


def refuse_more(seconds: float, what: str) -> None:
    """Raises `Problem` where something may happen again only after so many seconds."""
    if seconds:
        after = {"retry-after": str(math.ceil(seconds))}
        raise Problem(429, f"there were too many {what} in a short time; try again later", after)
