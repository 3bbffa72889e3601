"""Both modes of a node in one run, in Markdown: figures of the engine inside Envoy, divided by those of the engine
behind ext_proc, of plain Envoy and of pyvoy; and the goals of that mode."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bench import summary
from bench.comparison import with_range
from bench.goal import Goal
from bench.rows import GO, NONE, PLAIN, PYTHON, PYTHON_1, PYVOY, key_in_envoy
from bench.sample import Sample
from bench.settings import Settings
from bench.summary import Figure, Spread

CONNECTIONS = 64
"""The number of connections of all goals but the last."""
FIGURES = {"req/s": summary.rate, "CPU": summary.total}


def markdown(samples: Sequence[Sample], settings: Settings) -> str:
    """The goals, and a table of ratios: medians of those within a round, and their ranges; a dash where a row is not
    measured."""
    return "\n".join([*_goals(samples), "", *_ratios(samples, settings)])


def _goals(samples: Sequence[Sample]) -> Iterator[str]:
    yield from ("### Goals of the engine inside Envoy", "", "| what | got | goal | |", "| --- | ---: | ---: | --- |")
    for goal in goals(samples):
        got = "–" if math.isnan(goal.value) else f"{goal.value:.3g}"
        yield f"| {goal.title} | {got} | {'≥' if goal.more else '≤'} {goal.must:g} | {verdict(goal)} |"


def goals(samples: Sequence[Sample]) -> Iterator[Goal]:
    """All goals. A value is nan if a row was not measured."""

    def ratio(row: str, reference: str, figure: Figure = summary.rate) -> float:
        ours, theirs = (summary.of(samples, key, CONNECTIONS) for key in (key_in_envoy(row), reference))
        return summary.ratio(ours, theirs, figure)

    yield Goal("Go → Go: req/s × plain Envoy", ratio(GO, PLAIN), 0.8)
    yield Goal("Go → Go: req/s × ext_proc", ratio(GO, GO), 1.8)
    yield Goal("1 Python policy: req/s × pyvoy", ratio(PYTHON_1, PYVOY), 0.95)
    yield Goal("1 Python policy: CPU × pyvoy", ratio(PYTHON_1, PYVOY, summary.total), 0.75, more=False)
    yield Goal("1 Python policy: req/s × ext_proc", ratio(PYTHON_1, PYTHON_1), 1.5)
    yield Goal("Go → Python → Go: req/s × ext_proc", ratio(PYTHON, PYTHON), 1.5)
    yield Goal("no policies: req/s × plain Envoy", ratio(NONE, PLAIN), 0.95)
    with_policy, plain = (summary.of(samples, key, 1) for key in (key_in_envoy(PYTHON_1), PLAIN))
    added = summary.differences(with_policy, plain, summary.p50).median / 1000
    yield Goal("1 Python policy, 1 connection: added p50, ms", added, 0.4, more=False)


def verdict(goal: Goal) -> str:
    """Whether the goal is reached; a dash if it was not measured."""
    return {"must": "reached"}.get(goal.verdict(), goal.verdict())


def _ratios(samples: Sequence[Sample], settings: Settings) -> Iterator[str]:
    references = ("ext_proc", "plain", "pyvoy")
    columns = [f"{name} × {reference}" for reference in references for name in FIGURES]
    yield from (
        "### The engine inside Envoy, and behind ext_proc",
        "",
        f"| connections | row | {' | '.join(columns)} |",
    )
    yield f"| ---: | --- |{' ---: |' * len(columns)}"
    for connections in settings.connections:
        for row in (row for row in settings.measured_at(connections) if row.policies is not None and not row.engine):
            cells = (
                with_range(ratio(samples, row.key, reference, connections, figure))
                for reference in (row.key, PLAIN, PYVOY)
                for figure in FIGURES.values()
            )
            yield f"| {connections} | {row.title} | {' | '.join(cells)} |"


def ratio(samples: Sequence[Sample], key: str, reference: str, connections: int, figure: Figure) -> Spread:
    """The ratio of a row's figure inside Envoy to that of the reference's row."""
    ours, theirs = (summary.of(samples, row, connections) for row in (key_in_envoy(key), reference))
    return summary.ratios(ours, theirs, figure)
