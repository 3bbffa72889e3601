"""`python -m bench traces`: the cost of traces, in gateways that trace no exchanges, 1 % of them, and all.

They export to OpenTelemetry's collector, whose CPU is in no figure. The rows without policies, Go → Go and
Go → Python → Go are measured at 64 connections; ratios are medians of those within a round.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench import machine
from bench.error import BenchError
from bench.processes import HOST, free_port, running
from bench.rounds import Named, gateway_with, mark, ratio, samples_of, start_bench, take_sample, turns
from bench.rows import GO as GO_ROW
from bench.rows import NONE, PYTHON, ROWS
from bench.settings import Settings
from bench.target import ENVOY, GO

MEASURED = tuple(row for row in ROWS if row.key in (NONE, GO_ROW, PYTHON))
OFF, SOME, ALL = "none", "1 %", "all"
SHARES: Mapping[str, float | None] = {OFF: None, SOME: 0.01, ALL: 1.0}


def main(arguments: Sequence[str]) -> None:
    """Prints a table in Markdown. BenchError on wrong answers."""
    parser = argparse.ArgumentParser(prog="bench traces", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="samples of each row [default: 5]")
    parser.add_argument("--duration", type=float, default=2.0, help="seconds of a sample [default: 2]")
    options = parser.parse_args(arguments)
    settings = Settings(rounds=options.rounds, duration=options.duration)
    with tempfile.TemporaryDirectory(prefix="traces-") as home, contextlib.ExitStack() as stack:
        samples = list(_samples(settings, stack, Path(home)))
    print(machine.describe(settings, ["traces", *arguments]), "", *_table(samples), sep="\n")


def _samples(settings: Settings, stack: contextlib.ExitStack, folder: Path) -> Iterator[Named]:
    (bench, _), receiver = start_bench(MEASURED, folder, stack), stack.enter_context(_collector(folder))
    specs: dict[str, Mapping[str, object]] = {
        mode: {} if share is None else {"tracing": {"collector": receiver, "sample": share}}
        for mode, share in SHARES.items()
    }
    targets = {
        mode: stack.enter_context(gateway_with(spec, settings, folder, str(at)))
        for at, (mode, spec) in enumerate(specs.items())
    }
    for number, row, mode in turns(MEASURED, list(SHARES), settings.rounds):
        yield mode, take_sample(bench, row, number, targets[mode], settings)


@contextlib.contextmanager
def _collector(folder: Path) -> Iterator[str]:
    """Runs a collector that drops all spans. Yields its address."""
    build = subprocess.run(
        [sys.executable, "tools/go_tool.py", "collector"], capture_output=True, text=True, check=False
    )
    if build.returncode:
        raise BenchError(build.stderr)
    receiver, config, log = f"{HOST}:{free_port()}", folder / "collector.yaml", folder / "collector.log"
    pipeline = {"receivers": ["otlp"], "exporters": ["file"]}
    content = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": receiver}}}},
        "exporters": {"file": {"path": "/dev/null"}},
        "service": {"pipelines": {"traces": pipeline}, "telemetry": {"metrics": {"level": "none"}}},
    }
    config.write_text(json.dumps(content))
    with running([build.stdout.strip(), f"--config=file:{config}"], log):
        yield receiver


def _table(samples: Sequence[Named]) -> Iterator[str]:
    yield "| row | traced | req/s | CPU Envoy, µs | CPU engine, µs | CPU all, µs | × none |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
    for row in MEASURED:
        off = samples_of(samples, row, OFF)
        for mode in SHARES:
            own = samples_of(samples, row, mode)
            figures = (
                f"{statistics.median(sample.rate for sample in own):,.0f}",
                f"{statistics.median(sample.cpu[ENVOY] for sample in own):,.1f}",
                f"{statistics.median(sample.cpu.get(GO, 0.0) for sample in own):,.1f}",
                f"{statistics.median(sample.total for sample in own):,.1f}",
                ratio([sample.total for sample in own], [sample.total for sample in off]),
            )
            yield f"| {row.title}{mark(own)} | {mode} | {' | '.join(figures)} |"
