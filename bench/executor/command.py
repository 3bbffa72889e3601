"""`python -m bench executor`: the command line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from bench import machine, report
from bench.error import BenchError
from bench.executor import campaign, table
from bench.executor.campaign import Sample
from bench.executor.cases import CASES, Case
from bench.settings import README

SAMPLES = Path("build/bench/executor.jsonl")
MAX_REFUSED = 0.01


def main(arguments: Sequence[str]) -> None:
    """Measures, prints the tables, and with --record writes them into the README. BenchError on wrong answers."""
    options = _parse(arguments)
    cases = choose_cases(options.cases)
    samples = _take_samples(options.rounds, options.duration, cases)
    words = " ".join(["python -m bench executor", *arguments])
    described = machine.describe_executors(words, options.rounds, options.duration)
    section = f"{described}\n\n{table.markdown(samples)}"
    print(section)
    if wrong := [*wrong_answers(samples)]:
        raise BenchError("\n".join(wrong))
    if options.record:
        report.write(README, section, report.EXECUTORS_BEGIN, report.EXECUTORS_END)


def _take_samples(rounds: int, duration: float, cases: Sequence[Case]) -> list[Sample]:
    samples = list[Sample]()
    SAMPLES.parent.mkdir(parents=True, exist_ok=True)
    with SAMPLES.open("w") as record:
        for sample in campaign.run(rounds, duration, cases):
            samples.append(sample)
            record.write(json.dumps(asdict(sample)) + "\n")
            print(f"bench: round {sample.round + 1}, {_progress(sample)}", file=sys.stderr, flush=True)
    return samples


def wrong_answers(samples: Sequence[Sample]) -> Iterator[str]:
    """An error for each sample with more wrong answers than the few that an executor may refuse under overload."""
    for sample in samples:
        if sample.result and sample.result.failures > MAX_REFUSED * sample.result.count:
            answers = f"{sample.result.failures} wrong answers beside {sample.result.count} right ones"
            yield f"{sample.case} of {sample.server}: {answers}, the first: {sample.result.first_failure}"


def _progress(sample: Sample) -> str:
    if sample.result is None:
        return f"{sample.case}: {sample.value:.3g}"
    figures = f"{sample.rate:,.0f}/s, p50 {sample.result.p50} µs, {sample.cpu:.1f} µs CPU"
    return f"{sample.case} of {sample.server}: {figures}, foreign load {100 * sample.foreign:.0f} %"


def choose_cases(words: str) -> Sequence[Case]:
    prefixes = [word for word in words.split(",") if word]
    cases = [
        case
        for case in CASES
        if not prefixes or any(f"{case.key}/{case.server.key}".startswith(prefix) for prefix in prefixes)
    ]
    if not cases:
        known = ", ".join(f"{case.key}/{case.server.key}" for case in CASES)
        raise BenchError(f"expected some of {known}, got {words}")
    return cases


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench executor", description="Measures executors alone.")
    parser.add_argument("--rounds", type=int, default=5, help="samples of each case (5)")
    parser.add_argument("--duration", type=float, default=2.0, metavar="S", help="seconds of one sample (2)")
    parser.add_argument("--cases", default="", metavar="CASE/SERVER,…", help="prefixes of the cases to measure (all)")
    parser.add_argument("--record", action="store_true", help=f"write the tables into {README}; else no file changes")
    options = parser.parse_args(arguments)
    if options.record and options.cases:
        parser.error("--record: expected a run of all cases, which the page shows, got one with --cases")
    return options
