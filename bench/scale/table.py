"""The figures of all numbers of APIs in one table, with what is wanted of the largest."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence

from bench.sample import Sample
from bench.scale.campaign import Figures, OneByOne, Singles, median_cpu, median_of, places, ratio
from bench.scale.node import COMMAND, CONTROLLER, ENGINE, ENVOY, PROCESSES, Cost, Memory
from bench.target import COLUMNS

BULK_SECONDS, LIVE_MS, LIVE_MS_AT_10, ONE_BY_ONE_SECONDS, REQUEST_RATIO = 40, 1000, 150, 25, 1.1
MEMORY_MB = {CONTROLLER: 500, ENGINE: 500, ENVOY: 600}
"""What is wanted at 10,000 APIs."""
EDGE = 50
"""Writes at the beginning and at the end of many one by one, whose medians are shown."""


def markdown(figures: Sequence[Figures], written: OneByOne | None, samples: Sequence[Sample]) -> Iterator[str]:
    """The lines of the table, and those about APIs that were written one by one."""
    yield f"| APIs | {' | '.join(f'{own.apis:,}' for own in figures)} | wanted at 10,000 |"
    yield f"| --- | {'---: | ' * len(figures)}--- |"
    yield from _changes(figures)
    yield from _memory(figures)
    yield from _requests(figures, samples)
    if written:
        first, last = statistics.median(written.writes[:EDGE]), statistics.median(written.writes[-EDGE:])
        took = f"{written.cost.seconds:.1f} s until all were deployed, wanted at most {ONE_BY_ONE_SECONDS}"
        edges = f"{1000 * first:.1f} ms each at first, {1000 * last:.1f} at the end"
        yield ""
        yield f"{len(written.writes):,} APIs one by one: {took} ({edges}); CPU s {_cpu(written.cost)}."


def _changes(figures: Sequence[Figures]) -> Iterator[str]:
    yield _row("in bulk, until deployed: s", figures, lambda own: f"{own.bulk.seconds:.1f}", f"≤ {BULK_SECONDS}")
    yield _row(f"· CPU s: {_names()}", figures, lambda own: _cpu(own.bulk))
    yield _row("the same folder again: s", figures, lambda own: f"{own.again.seconds:.1f}")
    yield _row("· CPU s", figures, lambda own: _cpu(own.again))
    wanted = f"p95 ≤ {LIVE_MS}, at 10 APIs ≤ {LIVE_MS_AT_10}"
    yield _row("one more, until live: ms, p50 / p95 / most", figures, lambda own: _live(own.new), wanted)
    yield _row("· CPU ms each", figures, lambda own: _each(own.new))
    yield _row("a change, until live: ms, p50 / p95 / most", figures, lambda own: _live(own.changed), wanted)
    yield _row("· CPU ms each", figures, lambda own: _each(own.changed))
    yield _row(
        "list of all, 1,000 a page: s, MB",
        figures,
        lambda own: f"{own.listed.seconds:.2f}, {own.listed.size / 1e6:.1f}",
    )


def _memory(figures: Sequence[Figures]) -> Iterator[str]:
    for name in PROCESSES:
        wanted = f"≤ {MEMORY_MB[name]}" if name in MEMORY_MB else ""
        cells = " | ".join(_resident(own.bulk_memory[name], own.memory[name]) for own in figures)
        yield f"| RSS of {name}, MB: after bulk / at the end / peak | {cells} | {wanted} |"


def _requests(figures: Sequence[Figures], samples: Sequence[Sample]) -> Iterator[str]:
    if not samples:
        return
    asked = places([own.apis for own in figures])
    reference = asked[0]
    for title in ("first", "middle", "last"):
        cells = [
            f"{median_cpu(samples, place):.0f} ({ratio(samples, place, reference):.2f} ×)"
            for place in asked
            if place.title == title
        ]
        yield f"| CPU of a request to the {title} API, µs | {' | '.join(cells)} | ≤ {REQUEST_RATIO} × |"
        parts = [
            ", ".join(f"{median_of(samples, place, column):.0f}" for column in COLUMNS)
            for place in asked
            if place.title == title
        ]
        yield f"| · {', '.join(COLUMNS)} | {' | '.join(parts)} |  |"


def _row(title: str, figures: Sequence[Figures], cell: Callable[[Figures], str], wanted: str = "") -> str:
    return f"| {title} | {' | '.join(map(cell, figures))} | {wanted} |"


def _names() -> str:
    return ", ".join((COMMAND, *PROCESSES))


def _cpu(cost: Cost) -> str:
    return ", ".join(f"{cost.cpu[name]:.1f}" for name in (COMMAND, *PROCESSES))


def _each(singles: Singles) -> str:
    return ", ".join(f"{1000 * singles.cost.cpu[name] / len(singles.live):.0f}" for name in PROCESSES)


def _live(singles: Singles) -> str:
    return " / ".join(f"{1000 * singles.percentile(share):.0f}" for share in (0.5, 0.95, 1.0))


def _resident(after_bulk: Memory, at_end: Memory) -> str:
    return f"{after_bulk.rss:.0f} / {at_end.rss:.0f} / {at_end.peak:.0f}"
