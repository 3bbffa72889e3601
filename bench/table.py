"""The table, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bench import summary
from bench.rows import GO, PLAIN, Row
from bench.sample import FOREIGN_LIMIT, GENERATOR, UPSTREAM, Sample
from bench.settings import Settings
from bench.summary import Figure, Spread
from bench.target import COLUMNS

HEADINGS = (
    "row", "req/s", "× plain", "× Go", "p50 µs", "× plain", "p99 µs",
    *(f"CPU {column}" for column in COLUMNS), "CPU all", "× plain", UPSTREAM, GENERATOR,
)  # fmt: skip


def markdown(samples: Sequence[Sample], settings: Settings) -> str:
    """One table for each number of connections, with its notes."""
    return "\n\n".join(_block(samples, settings, connections) for connections in settings.connections)


def _block(samples: Sequence[Sample], settings: Settings, connections: int) -> str:
    lines = [f"### {connections} connection{'s' if connections > 1 else ''}", "", _line(HEADINGS)]
    lines.append(_line(["---", *["---:"] * (len(HEADINGS) - 1)]))
    lines += [_line(_cells(samples, row, connections)) for row in settings.measured_at(connections)]
    notes = list(_notes(samples, settings, connections))
    return "\n".join([*lines, "", *notes] if notes else lines)


def _cells(samples: Sequence[Sample], row: Row, connections: int) -> Iterator[str]:
    ours, plain, go = (summary.of(samples, key, connections) for key in (row.key, PLAIN, GO))
    yield row.title + " \\*" * any(sample.disturbed for sample in ours)
    yield with_range(summary.spread(ours, summary.rate))
    yield times(summary.ratio(ours, plain, summary.rate))
    yield times(summary.ratio(ours, go, summary.rate))
    yield with_range(summary.spread(ours, summary.p50))
    yield times(summary.ratio(ours, plain, summary.p50))
    yield with_range(summary.spread(ours, summary.p99))
    yield from (_median(ours, summary.cpu_of(column)) for column in COLUMNS)
    yield with_range(summary.spread(ours, summary.total))
    yield times(summary.ratio(ours, plain, summary.total))
    yield from (_median(ours, summary.cpu_of(column)) for column in (UPSTREAM, GENERATOR))


def _notes(samples: Sequence[Sample], settings: Settings, connections: int) -> Iterator[str]:
    if added := summary.python_execution(samples, connections):
        yield f"- One Python execution adds {number(added[0])} µs of CPU: {times(added[1])} × plain Envoy's request."
    for row in (row for row in settings.measured_at(connections) if row.events):
        of_event = _per_event(summary.of(samples, row.key, connections), row.events)
        yield f"- {row.title}: {of_event} µs of CPU for each event, the request and its policies included."
    for row in settings.rows:
        ours = summary.of(samples, row.key, connections)
        yield from (f"- {row.title}: {note}." for note in _row_notes(ours))


def _per_event(ours: Sequence[Sample], events: int) -> str:
    return with_range(summary.spread(ours, lambda sample: sample.total / events))


def _row_notes(ours: Sequence[Sample]) -> Iterator[str]:
    if disturbed := [sample.foreign for sample in ours if sample.disturbed]:
        most = f"{100 * max(disturbed):.0f} % of a core, more than {100 * FOREIGN_LIMIT:.0f} %"
        yield f"\\* in {len(disturbed)} of {len(ours)} rounds other processes took up to {most}"
    if failures := sum(sample.result.failures for sample in ours):
        first = next(sample.result.first_failure for sample in ours if sample.result.failures)
        yield f"**{failures} wrong answers**, the first: {first}"
    if unsent := sum(sample.result.unsent for sample in ours):
        yield f"{unsent} requests were due and could not be sent: the row is too slow for the rate"


def _median(samples: Sequence[Sample], figure: Figure) -> str:
    return number(summary.spread(samples, figure).median)


def with_range(figure: Spread) -> str:
    """ "35,886 (35,101–36,204)", or only the median if the range is empty."""
    if math.isnan(figure.median) or figure.low == figure.high:
        return number(figure.median)
    return f"{number(figure.median)} ({number(figure.low)}–{number(figure.high)})"


def number(value: float) -> str:
    """A number with three digits if it is small; a dash for nan."""
    if math.isnan(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 or value == 0 else f"{value:.1f}"


def times(value: float) -> str:
    """A ratio; a dash for nan."""
    return "–" if math.isnan(value) else f"{value:.2f}"


def _line(cells: Iterator[str] | Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
