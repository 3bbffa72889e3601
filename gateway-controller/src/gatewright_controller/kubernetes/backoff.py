"""Pauses between tries: each is twice the one before, up to a bound, and a random share longer."""

from __future__ import annotations

import random
from collections.abc import Callable

FIRST_SECONDS, LONGEST_SECONDS, JITTER = 0.2, 30.0, 0.5


class Backoff:
    """Of one thing that is tried again. draw: a random number between 0 and 1, so that controllers which failed
    together do not try together."""

    def __init__(
        self,
        first: float = FIRST_SECONDS,
        longest: float = LONGEST_SECONDS,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._first, self._longest, self._draw = first, longest, draw
        self._failures = 0

    def reset(self) -> None:
        """It has worked: the next pause is the first one again."""
        self._failures = 0

    def next_pause(self, least: float = 0.0) -> float:
        """Seconds until the next try; at least as many as the server asks for."""
        pause = min(self._first * 2.0 ** min(self._failures, 30), self._longest)
        self._failures += 1
        return max(pause, least) * (1 + JITTER * self._draw())
