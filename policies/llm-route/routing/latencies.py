"""How long targets take until their answer begins, as this process has seen it."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

WEIGHT = 0.2
"""The part of the last answer in the moving average."""
FAILED = 30.0
"""The seconds as which a failure counts."""
EXPLORED = 0.05
"""The part of requests of which another target than the fastest is first."""


class Latencies:
    """Moving averages of seconds, by upstream."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._seconds: dict[str, float] = {}

    def add(self, upstream: str, seconds: float) -> None:
        before = self._seconds.get(upstream, seconds)
        self._seconds[upstream] = before + WEIGHT * (seconds - before)

    def in_order(self, upstreams: Sequence[str]) -> list[str]:
        """Those of which nothing is known first, at random, then the fastest. Now and then another one is first, so
        that a target that was slow gets another chance."""
        drawn = self._random.sample(list(upstreams), len(upstreams))
        ordered = sorted(drawn, key=lambda upstream: self._seconds.get(upstream, -1.0))
        if len(ordered) > 1 and self._random.random() < EXPLORED:
            ordered.insert(0, ordered.pop(self._random.randrange(1, len(ordered))))
        return ordered
