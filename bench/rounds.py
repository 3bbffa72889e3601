"""Rows measured in turns, round by round, each in several variants that differ in one thing.

Every other round goes backwards, so that a drift of the machine affects all variants alike; ratios are medians of those
within a round.
"""

from __future__ import annotations

import contextlib
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from bench import load_tool, rows
from bench.error import BenchError
from bench.gateway import BUILD, Build, gateway
from bench.rows import Row
from bench.sample import Bench, Sample, take_undisturbed
from bench.settings import Settings
from bench.target import Target

CONNECTIONS = 64
Named = tuple[str, Sample]
"""A variant's name and a sample of it."""


def start_bench(measured: tuple[Row, ...], folder: Path, stack: contextlib.ExitStack) -> tuple[Bench, str]:
    """Starts the upstream of these rows, and writes their APIs to folder/apis. Returns the upstream's HOST:PORT too."""
    binary, expectations = load_tool.build(folder), folder / "expectations.json"
    rows.write_expectations(measured, expectations)
    pid, upstream = stack.enter_context(load_tool.upstream(binary, expectations, folder))
    rows.write_apis(measured, upstream, folder / "apis")
    return Bench(binary, pid, folder), upstream


def gateway_with(
    spec: Mapping[str, object], settings: Settings, folder: Path, name: str, build: Build = BUILD
) -> contextlib.AbstractContextManager[Target]:
    """A gateway with the APIs of `start_bench`, whose Gateway has this spec. JSON is YAML."""
    own = folder / name
    own.mkdir()
    document = {"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": spec}
    (own / "gateway.yaml").write_text(json.dumps(document))
    return gateway(settings, folder / "apis", own, document=own / "gateway.yaml", build=build)


def turns(measured: Sequence[Row], variants: Sequence[str], rounds: int) -> Iterator[tuple[int, Row, str]]:
    """Round, row and variant of each sample, in order."""
    combinations = [(row, name) for row in measured for name in variants]
    for number in range(rounds):
        yield from ((number, row, name) for row, name in (combinations if number % 2 else combinations[::-1]))


def take_sample(bench: Bench, row: Row, number: int, target: Target, settings: Settings) -> Sample:
    """Takes one sample. BenchError on wrong answers."""
    load = load_tool.load_of(row, target.port, CONNECTIONS, settings.warmup, settings.duration, settings.rate)
    sample = take_undisturbed(partial(bench.measure, row.key, number, target, load), settings.repeats)
    if sample.result.failures:
        raise BenchError(f"{row.key}: {sample.result.failures} wrong answers: {sample.result.first_failure}")
    return sample


def samples_of(samples: Sequence[Named], row: Row, variant: str) -> list[Sample]:
    """The samples of a row in a variant, by round."""
    matching = [sample for name, sample in samples if (name, sample.row) == (variant, row.key)]
    return sorted(matching, key=lambda sample: sample.round)


def ratio(values: Sequence[float], base: Sequence[float], digits: int = 3) -> str:
    """The median and the range of the ratios of two series of values by round."""
    ratios = [value / other for value, other in zip(values, base, strict=True)]
    return f"{statistics.median(ratios):.{digits}f} ({min(ratios):.2f}–{max(ratios):.2f})"


def mark(samples: Sequence[Sample]) -> str:
    """The mark after the title of a disturbed row; "" for others."""
    return " \\*" if any(sample.disturbed for sample in samples) else ""
