"""The goals of a whole gateway: medians of ratios within one round."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bench import summary
from bench.goal import Goal
from bench.rows import AIO_EXT_PROC, GO, GO_EXT_PROC, NAIVE, PYTHON, PYTHON_1, PYTHON_5
from bench.sample import Sample
from bench.summary import Figure
from bench.target import GO as ENGINE

CONNECTIONS = 64
"""The number of connections of the goals."""


def goals(samples: Sequence[Sample]) -> Iterator[Goal]:
    """All goals. A value is nan if a row was not measured."""

    def ratio(row: str, reference: str, figure: Figure = summary.rate) -> float:
        ours, theirs = (summary.of(samples, key, CONNECTIONS) for key in (row, reference))
        return summary.ratio(ours, theirs, figure)

    yield Goal("Go → Python → Go: req/s × Go → Go", ratio(PYTHON, GO), 0.55, 0.72)
    yield Goal("Go → Python → Go: req/s × naive engine and executor", ratio(PYTHON, NAIVE), 2.5, 3.5)
    yield Goal("Go → Python → Go: req/s × Python ext_proc by grpc.aio", ratio(PYTHON, AIO_EXT_PROC), 1.7, 2.3)
    added = summary.python_execution(samples, CONNECTIONS)
    share = added[1] if added else math.nan
    yield Goal("one Python execution: CPU over all processes × plain Envoy's request", share, 2.0, 1.3, more=False)
    yield Goal("five Python policies: req/s × one", ratio(PYTHON_5, PYTHON_1), 0.4, 0.55)
    engine = ratio(GO, GO_EXT_PROC, summary.cpu_of(ENGINE))
    yield Goal("Go → Go: engine's CPU × minimal Go ext_proc server's", engine, 1.4, 1.15, more=False)
