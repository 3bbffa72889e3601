"""Several commits in one run, in Markdown: each figure of this tree, divided by that of another commit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bench import summary
from bench.rows import key_at_commit
from bench.sample import Sample
from bench.settings import Settings
from bench.summary import Figure, Spread
from bench.target import ENVOY, GO, PYTHON

FIGURES = {
    "req/s": summary.rate,
    "p50": summary.p50,
    "p99": summary.p99,
    **{f"CPU {column}": summary.cpu_of(column) for column in (ENVOY, GO, PYTHON)},
    "CPU all": summary.total,
}


def markdown(samples: Sequence[Sample], settings: Settings) -> str:
    """A table for each commit: medians of the ratios within a round, and their ranges; a dash where there is nothing to
    compare."""
    return "\n\n".join("\n".join(_table(samples, settings, revision)) for revision in settings.compare)


def ratio(samples: Sequence[Sample], key: str, revision: str, connections: int, figure: Figure) -> Spread:
    """The ratio of a row's figure to that of its twin at the commit."""
    now, before = (summary.of(samples, row, connections) for row in (key, key_at_commit(key, revision)))
    return summary.ratios(now, before, figure)


def _table(samples: Sequence[Sample], settings: Settings, revision: str) -> Iterator[str]:
    yield from (f"### This tree / {revision}", "", f"| connections | row | {' | '.join(FIGURES)} |")
    yield f"| ---: | --- |{' ---: |' * len(FIGURES)}"
    for connections in settings.connections:
        for row in settings.measured_at(connections):
            if row.policies is not None and not row.revision:
                spreads = (ratio(samples, row.key, revision, connections, figure) for figure in FIGURES.values())
                yield f"| {connections} | {row.title} | {' | '.join(map(with_range, spreads))} |"


def with_range(spread: Spread) -> str:
    """ "0.75 (0.50–1.00)"."""
    return "–" if math.isnan(spread.median) else f"{spread.median:.2f} ({spread.low:.2f}–{spread.high:.2f})"
