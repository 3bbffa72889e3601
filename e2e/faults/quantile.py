"""Percentiles of latencies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import quantiles

from e2e.kit.answers import Answer


def p99(values: Iterable[float]) -> float:
    """By nearest rank; 0.0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))] if ordered else 0.0


def latencies(answers: Sequence[Answer], outcome: str = "200", flow: str | None = None) -> list[float]:
    return [answer.took for answer in answers if answer.outcome == outcome and flow in {None, answer.flow}]


def lower_quartile(values: Sequence[float]) -> float:
    """The figure of rounds of one kind on a quiet machine. Two values at least."""
    return quantiles(values, n=4)[0]
