"""Conditions that hold on any machine, however busy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.sample import Sample


def wrong_answers(samples: Sequence[Sample]) -> Iterator[str]:
    """An error for each sample with wrong answers, or without a right one."""
    for sample in samples:
        where = f"{sample.row} at {sample.connections} connections, round {sample.round + 1}"
        if sample.result.failures:
            yield f"{where}: {sample.result.failures} wrong answers, the first: {sample.result.first_failure}"
        elif not sample.result.count:
            yield f"{where}: expected right answers, got none"
