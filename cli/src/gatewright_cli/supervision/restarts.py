"""When a process that has ended is started again, from plain values."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class RestartPolicy:
    """Exponential back-off with jitter; all times in seconds.

    first_delay: before the first restart; doubled with each exit, up to max_delay. reset_after: an uptime after which
    the next exit counts as the first. jitter: the share of a delay, 0 to 1, that is omitted at random, so that
    processes that ended together do not start together. start_attempts: how often a process that has never been ready
    is started in total.
    """

    first_delay: float = 0.1
    max_delay: float = 5.0
    reset_after: float = 5.0
    jitter: float = 0.2
    start_attempts: int = 3


class Restarts:
    """Counts the exits of one process, and decides when it is started again. count: restarts so far."""

    def __init__(self, policy: RestartPolicy, random_share: Callable[[], float] = random.random) -> None:
        self._policy = policy
        self._random_share = random_share
        self._consecutive = 0
        self.count = 0

    def delay_after(self, uptime: float) -> float:
        """Seconds to wait after the exit of a process that ran for `uptime` seconds."""
        if uptime >= self._policy.reset_after:
            self._consecutive = 0
        full = min(self._policy.first_delay * 2.0 ** min(self._consecutive, 32), self._policy.max_delay)
        self._consecutive += 1
        self.count += 1
        return full * (1.0 - self._policy.jitter * self._random_share())

    def may_start_again(self) -> bool:
        """Whether a process that has never been ready gets one more attempt."""
        return self.count < self._policy.start_attempts
