"""`python -m bench telemetry`: what it costs that a gateway tells of itself.

The same gateway several times, side by side, each with another Gateway document: one that observes nothing, and one
for each thing that is told. Round by round, row after row, every other round backwards; ratios are medians of those
within a round, of the CPU that a request takes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from bench import load_tool, machine, rows
from bench.error import BenchError
from bench.gateway import gateway
from bench.rows import GO, PYTHON, PYTHON_1, ROWS, Row
from bench.sample import Bench, Sample, undisturbed
from bench.settings import Settings
from bench.target import Target

MEASURED = tuple(row for row in ROWS if row.key in (GO, PYTHON_1, PYTHON))
CONNECTIONS = 64
OFF = "off"
VARIANTS: Mapping[str, Mapping[str, object]] = {
    OFF: {"metrics": {"enabled": False}},
    "metrics": {},
}
"""Name → spec of the Gateway; what a node tells by default is `metrics`."""


def main(arguments: Sequence[str]) -> None:
    """Prints a table in Markdown. BenchError on wrong answers."""
    parser = argparse.ArgumentParser(prog="bench telemetry", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="samples of each row [default: 9]")
    parser.add_argument("--duration", type=float, default=2.0, help="seconds of a sample [default: 2]")
    parser.add_argument("--repeats", type=int, default=3, help="of a sample that others disturb [default: 3]")
    options = parser.parse_args(arguments)
    settings = Settings(rounds=options.rounds, duration=options.duration, repeats=options.repeats)
    with tempfile.TemporaryDirectory(prefix="told-") as home, contextlib.ExitStack() as stack:
        samples = list(_samples(settings, stack, Path(home)))
    print(machine.describe(settings, ["telemetry", *arguments]))
    print("", *table(samples), sep="\n")


def _samples(settings: Settings, stack: contextlib.ExitStack, home: Path) -> Iterator[Sample]:
    binary, expectations = load_tool.build(home), home / "expectations.json"
    rows.write_expectations(MEASURED, expectations)
    pid, upstream = stack.enter_context(load_tool.upstream(binary, expectations, home))
    rows.write_apis(MEASURED, upstream, home / "apis")
    found = {name: stack.enter_context(_variant(settings, name, home)) for name in VARIANTS}
    bench = Bench(binary, pid, home)
    each = [(row, name) for row in MEASURED for name in VARIANTS]
    for number in range(settings.rounds):
        for row, name in each if number % 2 else each[::-1]:
            load = load_tool.of(row, found[name].port, CONNECTIONS, settings.warmup, settings.duration, settings.rate)
            take = partial(bench.measure, key(row, name), number, found[name], load)
            sample = undisturbed(take, settings.repeats)
            if sample.result.failures:
                raise BenchError(f"{row.key}: {sample.result.failures} wrong answers: {sample.result.first_failure}")
            yield sample


def _variant(settings: Settings, name: str, home: Path) -> contextlib.AbstractContextManager[Target]:
    """JSON is YAML."""
    folder = home / name
    folder.mkdir()
    document = {"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": VARIANTS[name]}
    (folder / "gateway.yaml").write_text(json.dumps(document))
    return gateway(settings, home / "apis", folder, document=folder / "gateway.yaml")


def key(row: Row, variant: str) -> str:
    """What samples of a row are called."""
    return f"{row.key}, {variant}"


def table(samples: Sequence[Sample]) -> Iterator[str]:
    """A line for each row and each thing that is told, with its ratio to `off`."""
    yield "| row | told | req/s | CPU µs | × off | p99 µs | × off |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
    for row in MEASURED:
        off = {sample.round: sample for sample in samples if sample.row == key(row, OFF)}
        for variant in VARIANTS:
            own = [sample for sample in samples if sample.row == key(row, variant)]
            cells = (
                f"{statistics.median(sample.rate for sample in own):,.0f}",
                f"{statistics.median(sample.total for sample in own):.1f}",
                _ratio([sample.total / off[sample.round].total for sample in own]),
                f"{statistics.median(sample.result.p99 for sample in own):,.0f}",
                _ratio([sample.result.p99 / off[sample.round].result.p99 for sample in own]),
            )
            mark = " \\*" if any(sample.disturbed for sample in own) else ""
            yield f"| {row.title}{mark} | {variant} | {' | '.join(cells)} |"


def _ratio(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.3f} ({min(ratios):.2f}–{max(ratios):.2f})"
