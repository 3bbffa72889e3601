"""Samples as figures: medians, ranges, and ratios within a round."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.rows import GO, PLAIN, PYTHON
from bench.sample import Sample

Figure = Callable[[Sample], float]
EXECUTIONS = 2
"""The executions of the Python policy in one exchange: one in each direction."""


@dataclass(frozen=True)
class Spread:
    """The median over rounds, and the range."""

    median: float
    low: float
    high: float


def spread(samples: Sequence[Sample], figure: Figure) -> Spread:
    """The spread over rounds with right answers; nan without such a round."""
    return _spread(map(figure, samples))


def ratio(samples: Iterable[Sample], reference: Iterable[Sample], figure: Figure) -> float:
    """The median of `ratios`."""
    return ratios(samples, reference, figure).median


def ratios(samples: Iterable[Sample], reference: Iterable[Sample], figure: Figure) -> Spread:
    """The spread of the ratios within rounds, since a disturbance hits both rows. nan without a common round."""
    theirs = {sample.round: figure(sample) for sample in reference}
    pairs = [(figure(sample), theirs.get(sample.round, math.nan)) for sample in samples]
    return _spread(ours / other for ours, other in pairs if other)


def differences(samples: Iterable[Sample], reference: Iterable[Sample], figure: Figure) -> Spread:
    """The spread of the differences within rounds; nan without a common round."""
    theirs = {sample.round: figure(sample) for sample in reference}
    return _spread(figure(sample) - theirs.get(sample.round, math.nan) for sample in samples)


def _spread(figures: Iterable[float]) -> Spread:
    values = [value for value in figures if not math.isnan(value)]
    return Spread(median(values), min(values), max(values)) if values else Spread(math.nan, math.nan, math.nan)


def rate(sample: Sample) -> float:
    return sample.rate


def total(sample: Sample) -> float:
    return sample.total


def p50(sample: Sample) -> float:
    return sample.result.p50 if sample.result.count else math.nan


def p99(sample: Sample) -> float:
    return sample.result.p99 if sample.result.count else math.nan


def cpu_of(column: str) -> Figure:
    """The CPU of one column; 0 for a row without a process in it."""
    return lambda sample: sample.cpu.get(column, 0.0)


def of(samples: Iterable[Sample], row: str, connections: int) -> list[Sample]:
    """The samples of one line of the table."""
    return [sample for sample in samples if (sample.row, sample.connections) == (row, connections)]


def python_execution(samples: Sequence[Sample], connections: int) -> tuple[float, float] | None:
    """The cost of one Python execution: µs of CPU over all processes, and its ratio to a whole request in plain Envoy.

    None if its rows were not measured.
    """
    by_row = {row: of(samples, row, connections) for row in (PLAIN, GO, PYTHON)}
    if not all(by_row.values()):
        return None
    plain, go, python = ({sample.round: sample.total for sample in by_row[row]} for row in (PLAIN, GO, PYTHON))
    added = {n: (python[n] - go[n]) / EXECUTIONS for n in python.keys() & go.keys() & plain.keys()}
    return median(added.values()), median(added[n] / plain[n] for n in added)
