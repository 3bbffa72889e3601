"""`python -m bench telemetry`: the cost of metrics.

The same gateway runs twice at once, without metrics and with them. Every other round goes backwards; ratios are medians
of those within a round.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench import machine
from bench.rounds import Named, gateway_with, mark, ratio, samples_of, start_bench, take_sample, turns
from bench.rows import GO, PYTHON, PYTHON_1, ROWS
from bench.settings import Settings

MEASURED = tuple(row for row in ROWS if row.key in (GO, PYTHON_1, PYTHON))
OFF = "off"
VARIANTS: Mapping[str, Mapping[str, object]] = {
    OFF: {"metrics": {"enabled": False}},
    "metrics": {},
}
"""Name → spec of the Gateway; the default is `metrics`."""


def main(arguments: Sequence[str]) -> None:
    """Prints a table in Markdown. BenchError on wrong answers."""
    parser = argparse.ArgumentParser(prog="bench telemetry", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="samples of each row [default: 9]")
    parser.add_argument("--duration", type=float, default=2.0, help="seconds of a sample [default: 2]")
    parser.add_argument("--repeats", type=int, default=3, help="of a sample that other processes disturb [default: 3]")
    options = parser.parse_args(arguments)
    settings = Settings(rounds=options.rounds, duration=options.duration, repeats=options.repeats)
    with tempfile.TemporaryDirectory(prefix="telemetry-") as home, contextlib.ExitStack() as stack:
        samples = list(_samples(settings, stack, Path(home)))
    print(machine.describe(settings, ["telemetry", *arguments]))
    print("", *table(samples), sep="\n")


def _samples(settings: Settings, stack: contextlib.ExitStack, home: Path) -> Iterator[Named]:
    bench, _ = start_bench(MEASURED, home, stack)
    gateways = {name: stack.enter_context(gateway_with(spec, settings, home, name)) for name, spec in VARIANTS.items()}
    for number, row, name in turns(MEASURED, list(VARIANTS), settings.rounds):
        yield name, take_sample(bench, row, number, gateways[name], settings)


def table(samples: Sequence[Named]) -> Iterator[str]:
    """A line for each row and variant, with its ratio to `off`."""
    yield "| row | telemetry | req/s | CPU µs | × off | p99 µs | × off |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
    for row in MEASURED:
        off = samples_of(samples, row, OFF)
        for variant in VARIANTS:
            own = samples_of(samples, row, variant)
            cells = (
                f"{statistics.median(sample.rate for sample in own):,.0f}",
                f"{statistics.median(sample.total for sample in own):.1f}",
                ratio([sample.total for sample in own], [sample.total for sample in off]),
                f"{statistics.median(sample.result.p99 for sample in own):,.0f}",
                ratio([sample.result.p99 for sample in own], [sample.result.p99 for sample in off]),
            )
            yield f"| {row.title}{mark(own)} | {variant} | {' | '.join(cells)} |"
