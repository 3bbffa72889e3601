"""When a process that has ended is started again. Knows no clock and no process."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class RestartPolicy:
    """Delays in seconds: `first_delay`, doubled with each exit up to `longest_delay`, forgotten after a life of
    `forgiven_after`. `jitter` is the share of a delay that chance may take off, so that what fell together does not
    rise together. A process that has never been ready is tried `start_attempts` times in all.
    """

    first_delay: float = 0.1
    longest_delay: float = 5.0
    forgiven_after: float = 5.0
    jitter: float = 0.2
    start_attempts: int = 3


class Restarts:
    """The exits of one process, and what follows from them."""

    def __init__(self, policy: RestartPolicy, chance: Callable[[], float] = random.random) -> None:
        self._policy = policy
        self._chance = chance
        self._in_a_row = 0
        self.count = 0

    def delay_after(self, lived: float) -> float:
        """Seconds to wait after an exit of a process that lived for `lived` seconds."""
        if lived >= self._policy.forgiven_after:
            self._in_a_row = 0
        full = min(self._policy.first_delay * 2.0 ** min(self._in_a_row, 32), self._policy.longest_delay)
        self._in_a_row += 1
        self.count += 1
        return full * (1.0 - self._policy.jitter * self._chance())

    def another_start(self) -> bool:
        """Whether a process that has never been ready gets one more attempt."""
        return self.count < self._policy.start_attempts
