"""Samples for tests."""

from __future__ import annotations

from bench.load_tool import Result
from bench.sample import Sample


def sample(
    row: str = "plain",
    round_: int = 0,
    rate: float = 1000.0,
    *,
    connections: int = 16,
    p50: int = 100,
    failures: int = 0,
    unsent: int = 0,
    foreign: float = 0.0,
    **cpu: float,
) -> Sample:
    """A sample with `rate` right answers per second. cpu: µs per answer, by column."""
    first = "expected status 200, got 418" if failures else ""
    load_result = Result(2.0, int(rate * 2), failures, first, unsent, p50, p50 * 2, p50 * 3, p50 * 4)
    return Sample(row, connections, round_, load_result, cpu or {"Envoy": 50.0}, foreign)
