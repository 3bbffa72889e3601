"""`python -m bench traces`: what traces cost, in gateways that differ in nothing else: none, 1 %, all exchanges.

They are exported to OpenTelemetry's collector, whose CPU is in no figure. Without policies, Go → Go, Go → Python → Go
at 64 connections, round by round; ratios are medians of those within a round.
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

from bench import load_tool, machine, rows
from bench.error import BenchError
from bench.gateway import gateway
from bench.load_tool import Load
from bench.processes import HOST, free_port, running
from bench.rows import GO as GO_ROW
from bench.rows import NONE, PYTHON, ROWS, Row
from bench.sample import Bench, Sample, undisturbed
from bench.settings import Settings
from bench.target import ENVOY, GO, Target

MEASURED = tuple(row for row in ROWS if row.key in (NONE, GO_ROW, PYTHON))
CONNECTIONS = 64
OFF, SOME, ALL = "none", "1 %", "all"
MODES = (OFF, SOME, ALL)
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


def _samples(settings: Settings, stack: contextlib.ExitStack, folder: Path) -> Iterator[tuple[str, Sample]]:
    binary, expectations = load_tool.build(folder), folder / "expectations.json"
    rows.write_expectations(MEASURED, expectations)
    pid, upstream = stack.enter_context(load_tool.upstream(binary, expectations, folder))
    rows.write_apis(MEASURED, upstream, folder / "apis")
    receiver = stack.enter_context(_collector(folder))
    targets: dict[str, Target] = {}
    for at, (mode, share) in enumerate(SHARES.items()):
        own = folder / str(at)
        own.mkdir()
        document = _document(own, receiver, share)
        targets[mode] = stack.enter_context(gateway(settings, folder / "apis", own, document=document))
    bench = Bench(binary, pid, folder)
    for number in range(settings.rounds):
        for row in MEASURED:
            for mode in MODES if number % 2 else MODES[::-1]:
                yield mode, _measured(bench, row, number, targets[mode], settings)


def _measured(bench: Bench, row: Row, number: int, target: Target, settings: Settings) -> Sample:
    url = f"http://{HOST}:{target.port}{row.path}"
    load = Load(url, CONNECTIONS, settings.warmup, settings.duration, expect=row.client)
    sample = undisturbed(lambda: bench.measure(row.key, number, target, load), settings.repeats)
    if sample.result.failures:
        raise BenchError(f"{row.key}: {sample.result.failures} wrong answers: {sample.result.first_failure}")
    return sample


def _document(folder: Path, receiver: str, share: float | None) -> Path:
    """A Gateway; JSON is YAML."""
    file = folder / "gateway.yaml"
    spec = {} if share is None else {"tracing": {"collector": receiver, "sample": share}}
    file.write_text(json.dumps({"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": spec}))
    return file


@contextlib.contextmanager
def _collector(folder: Path) -> Iterator[str]:
    """One that throws away what it gets: where it listens."""
    made = subprocess.run(
        [sys.executable, "tools/go_tool.py", "collector"], capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise BenchError(made.stderr)
    receiver, config, log = f"{HOST}:{free_port()}", folder / "collector.yaml", folder / "collector.log"
    pipeline = {"receivers": ["otlp"], "exporters": ["file"]}
    content = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": receiver}}}},
        "exporters": {"file": {"path": "/dev/null"}},
        "service": {"pipelines": {"traces": pipeline}, "telemetry": {"metrics": {"level": "none"}}},
    }
    config.write_text(json.dumps(content))
    with running([made.stdout.strip(), f"--config=file:{config}"], log):
        yield receiver


def _table(samples: Sequence[tuple[str, Sample]]) -> Iterator[str]:
    yield "| row | traced | req/s | CPU Envoy, µs | CPU engine, µs | CPU all, µs | × none |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
    for row in MEASURED:
        off = {sample.round: sample for mode, sample in samples if (mode, sample.row) == (OFF, row.key)}
        for mode in SHARES:
            own = [sample for found, sample in samples if (found, sample.row) == (mode, row.key)]
            ratios = [sample.total / off[sample.round].total for sample in own]
            mark = " \\*" if any(sample.disturbed for sample in own) else ""
            figures = (
                f"{statistics.median(sample.rate for sample in own):,.0f}",
                f"{statistics.median(sample.cpu[ENVOY] for sample in own):,.1f}",
                f"{statistics.median(sample.cpu.get(GO, 0.0) for sample in own):,.1f}",
                f"{statistics.median(sample.total for sample in own):,.1f}",
                f"{statistics.median(ratios):.3f} ({min(ratios):.2f}–{max(ratios):.2f})",
            )
            yield f"| {row.title}{mark} | {mode} | {' | '.join(figures)} |"
