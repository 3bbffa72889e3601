"""What must hold on any machine, however busy: right answers, and ratios that are not absurd."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bench import summary
from bench.rows import GO, NONE, PLAIN, PYTHON
from bench.sample import Sample
from bench.settings import Settings

BOUNDS = {
    (NONE, PLAIN): (0.5, 3.0),
    (GO, PLAIN): (1.2, 15.0),
    (PYTHON, GO): (1.05, 8.0),
}
"""(row, reference): CPU of the row against the reference, lowest and highest. CPU, since it is what others on a shared
machine move least; wide, since it is one round of one second."""


def wrong_answers(samples: Sequence[Sample]) -> Iterator[str]:
    """One sentence for each sample that has some, or no right one."""
    for sample in samples:
        where = f"{sample.row} at {sample.connections} connections, round {sample.round + 1}"
        if sample.result.failures:
            yield f"{where}: {sample.result.failures} wrong answers, the first: {sample.result.first_failure}"
        elif not sample.result.count:
            yield f"{where}: expected right answers, got none"


def absurd_ratios(samples: Sequence[Sample], settings: Settings) -> Iterator[str]:
    """One sentence for each ratio out of BOUNDS; rows that were not measured have none."""
    for connections in settings.connections:
        for (row, reference), (low, high) in BOUNDS.items():
            ours, theirs = (summary.of(samples, key, connections) for key in (row, reference))
            found = summary.ratio(ours, theirs, summary.total)
            if not math.isnan(found) and not low <= found <= high:
                expected = f"expected {low}–{high} × {reference}'s CPU"
                yield f"{row} at {connections} connections: {expected}, got {found:.2f}"
