"""The results, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from bench import goal
from bench.executor.campaign import Figures, Sample, by_case
from bench.executor.goals import cpu, goals, p50, rate, value
from bench.sample import FOREIGN_LIMIT
from bench.table import number


def markdown(samples: Sequence[Sample]) -> str:
    """The goals, then all figures."""
    cases = by_case(samples)
    lines = [
        goal.markdown(goals(cases)),
        "",
        "| case | server | executions/s | p50 µs | p99 µs | CPU µs | refused | other |",
    ]
    lines += ["| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |", *_figures(cases)]
    disturbed = sum(sample.disturbed for sample in samples)
    if disturbed:
        most = f"others took more than {100 * FOREIGN_LIMIT:.0f} % of a core"
        lines += ["", f"- The machine was noisy: in {disturbed} of {len(samples)} samples {most}."]
    return "\n".join(lines)


def _figures(figures: Figures) -> Iterator[str]:
    for (case, server), samples in sorted(figures.items(), key=lambda item: item[0]):
        if samples[0].result is None:
            yield f"| {case} | {server} | | | | | | {median(map(value, samples)):.3g} |"
            continue
        p99 = median(float(sample.result.p99) for sample in samples if sample.result)
        refused = sum(sample.result.failures for sample in samples if sample.result)
        columns = (median(map(rate, samples)), median(map(p50, samples)), p99, median(map(cpu, samples)), refused)
        yield f"| {case} | {server} | {' | '.join(map(number, columns))} | |"
