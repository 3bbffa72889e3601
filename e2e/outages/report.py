"""What came of an outage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

MOST_SHOWN = 20


@dataclass(frozen=True)
class Result:
    """figures: by name. mistakes: what is not as promised, in sentences."""

    name: str
    figures: Mapping[str, float]
    mistakes: Sequence[str] = ()


def show(result: Result) -> Result:
    """Prints it at once: a run is long."""
    more = len(result.mistakes) - MOST_SHOWN
    lines = [line_of(result), *(f"  ✗ {mistake}" for mistake in result.mistakes[:MOST_SHOWN])]
    print(*lines, *([f"  … and {more} more"] if more > 0 else []), sep="\n", flush=True)
    return result


def line_of(result: Result) -> str:
    figures = ", ".join(
        f"{name} {value:.4g}" if value % 1 else f"{name} {value:.0f}" for name, value in result.figures.items()
    )
    return f"{'✗' if result.mistakes else '✓'} {result.name}: {figures}"


def summary_of(results: Sequence[Result], figure: str) -> str:
    """The median and the greatest of a figure that several results have."""
    values = [result.figures[figure] for result in results if figure in result.figures]
    return f"{figure}: p50 {median(values):.2f}, max {max(values):.2f}, of {len(values)}" if values else ""
