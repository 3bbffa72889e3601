"""A goal of a measurement."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """must, aim: the required and the desired value; None for none. more: whether they are minima, else maxima."""

    title: str
    value: float
    must: float | None = None
    aim: float | None = None
    more: bool = True

    def verdict(self) -> str:
        """The best limit that the value meets, in one word."""
        if math.isnan(self.value):
            return "–"
        for limit, word in ((self.aim, "aim"), (self.must, "must")):
            if limit is not None and (self.value >= limit if self.more else self.value <= limit):
                return word
        return "" if self.must is None else "**missed**"


def markdown(goals: Iterable[Goal]) -> str:
    """A table of goals."""
    lines = ["| what | got | must | aim | met |", "| --- | ---: | ---: | ---: | --- |"]
    return "\n".join([*lines, *map(_line, goals)])


def _line(goal: Goal) -> str:
    sign = "≥" if goal.more else "≤"
    limits = [f"{sign} {limit:g}" if limit is not None else "" for limit in (goal.must, goal.aim)]
    value = "–" if math.isnan(goal.value) else f"{goal.value:.3g}"
    return f"| {goal.title} | {value} | {' | '.join(limits)} | {goal.verdict()} |"
