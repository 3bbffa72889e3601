"""Two commits in one run, in Markdown: each figure of this tree, divided by that of the other commit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bench import summary
from bench.rows import Row, key_at_commit
from bench.sample import Sample
from bench.settings import Settings
from bench.summary import Spread
from bench.target import ENVOY, GO, PYTHON

FIGURES = {
    "req/s": summary.rate,
    "p50": summary.p50,
    "p99": summary.p99,
    **{f"CPU {column}": summary.cpu_of(column) for column in (ENVOY, GO, PYTHON)},
    "CPU all": summary.total,
}


def markdown(samples: Sequence[Sample], settings: Settings) -> str:
    """Medians of the ratios within a round, and their ranges; a dash where there is nothing to compare."""
    lines = [f"### This tree / {settings.compare}", "", f"| connections | row | {' | '.join(FIGURES)} |"]
    lines.append(f"| ---: | --- |{' ---: |' * len(FIGURES)}")
    for connections in settings.connections:
        compared = [row for row in settings.measured_at(connections) if row.policies is not None and not row.revision]
        lines += [
            f"| {connections} | {row.title} | {' | '.join(_cells(samples, row, connections))} |" for row in compared
        ]
    return "\n".join(lines)


def _cells(samples: Sequence[Sample], row: Row, connections: int) -> Iterator[str]:
    now, before = (summary.of(samples, key, connections) for key in (row.key, key_at_commit(row.key)))
    return (_with_range(summary.ratios(now, before, figure)) for figure in FIGURES.values())


def _with_range(spread: Spread) -> str:
    return "–" if math.isnan(spread.median) else f"{spread.median:.2f} ({spread.low:.2f}–{spread.high:.2f})"
