"""The settings of a run: rows, connections, durations."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import revision
from bench.error import BenchError
from bench.rows import (
    COUNTS,
    GO,
    NONE,
    PLAIN,
    PYTHON,
    PYTHON_1,
    PYVOY,
    ROWS,
    Row,
    pair_with_commits,
    pair_with_mode,
)

README = Path("bench/README.md")
SHORT_ROWS = tuple(row for row in ROWS if row.key in (PLAIN, NONE, GO, PYTHON))
COMPARED_ROWS = SHORT_ROWS[1:]
MODE_ROWS = tuple(row for row in ROWS if row.key in (PLAIN, NONE, GO, PYTHON_1, PYTHON, PYVOY))
"""Those of --in-envoy."""
BASE = "3e298c3"
"""The commit with which every comparison compares, so that small losses that follow each other do not add up unseen."""


@dataclass(frozen=True)
class Settings:
    """One run.

    rounds: samples per row and number of connections. duration, warmup: seconds of one sample.
    rate: requests per second of an open loop, bounded by `connections`; 0: a closed loop.
    repeats: how often a sample that other processes disturb is taken again.
    concurrency: worker threads of each Envoy. executors: processes of Python policies; workers: threads of each.
    record: write the figures into the repository. short: check ratios with the recorded ones.
    compare: the commits with which this tree is compared.
    in_envoy: whether rows with an API are measured with the engine behind ext_proc and inside Envoy.
    """

    rounds: int = 5
    duration: float = 2.0
    warmup: float = 1.0
    repeats: int = 3
    connections: tuple[int, ...] = COUNTS
    rows: tuple[Row, ...] = ROWS
    rate: float = 0.0
    concurrency: int = 2
    executors: int = 1
    workers: int = 32
    record: bool = False
    short: bool = False
    compare: tuple[str, ...] = ()
    in_envoy: bool = False

    def measured_at(self, connections: int) -> tuple[Row, ...]:
        """The rows that are measured at this number of connections: all of them if it is none of COUNTS."""
        return tuple(row for row in self.rows if connections in row.connections or connections not in COUNTS)


def with_all_connections(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows, measured at all of COUNTS, as rows are that the command line names."""
    return tuple(replace(row, connections=COUNTS) for row in rows)


def parse(arguments: Sequence[str]) -> Settings:
    """Parses a command line. `--short` and `--compare` change the defaults of the other options."""
    parser = _parser()
    options = parser.parse_args(arguments)
    short = bool(options.short)
    few = short or bool(options.compare)
    if options.record and (partial := [*_of_a_part(options)]):
        parser.error(f"--record: expected a run whose figures the page shows, got one with {', '.join(partial)}")
    compare = tuple(dict.fromkeys([*options.compare, revision.resolve(BASE)])) if options.compare else ()
    return Settings(
        rounds=options.rounds or (3 if short else 5),
        duration=options.duration or (1.0 if short else 2.0),
        warmup=0.5 if short else 1.0,
        repeats=0 if short else 3,
        connections=options.connections or ((64,) if few else (1, 64) if options.in_envoy else COUNTS),
        rows=_choose_mode_rows(options.rows) if options.in_envoy else _choose_rows(options.rows, short, compare),
        rate=options.rate,
        concurrency=options.concurrency,
        executors=options.executors,
        workers=options.workers,
        record=options.record,
        short=short,
        compare=compare,
        in_envoy=options.in_envoy,
    )


def _of_a_part(options: argparse.Namespace) -> Iterator[str]:
    """The options with which a run has other figures than the recorded ones."""
    if options.short:
        yield "--short"
    if not options.compare:
        yield from (f"--{name}" for name in ("rows", "connections", "rate") if getattr(options, name))


def _choose_rows(named_rows: Sequence[Row] | None, short: bool, compare: tuple[str, ...]) -> tuple[Row, ...]:
    rows = (
        with_all_connections(named_rows) if named_rows else SHORT_ROWS if short else COMPARED_ROWS if compare else ROWS
    )
    return tuple(pair_with_commits(rows, compare))


def _choose_mode_rows(named_rows: Sequence[Row] | None) -> tuple[Row, ...]:
    return tuple(pair_with_mode(with_all_connections(named_rows or MODE_ROWS)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures all rows, interleaved, in one run.")
    add = parser.add_argument
    add("--rounds", type=_at_least_one, help="samples per row and number of connections (5)")
    add("--duration", type=_positive, metavar="S", help="seconds of one sample (2)")
    add("--connections", type=_counts, metavar="N,…", help="connections (1,16,64,256)")
    add("--rows", type=_rows, metavar="ROW,…", help=f"some of {_known()} (all)")
    add("--rate", type=_positive, default=0.0, help="open loop: requests per second (a closed loop)")
    add("--concurrency", type=_at_least_one, default=2, help="worker threads of each Envoy (2)")
    add("--executors", type=_at_least_one, default=1, help="processes for the Python policies (1)")
    add("--workers", type=_at_least_one, default=32, help="worker threads of each of them (32)")
    add("--record", action="store_true", help=f"write the figures into {README} and beside it; else no file changes")
    one_of = parser.add_mutually_exclusive_group().add_argument
    one_of(
        "--compare", type=_revisions, metavar="REV,…", help=f"the gateway's rows, beside those of commits, and {BASE}"
    )
    one_of("--in-envoy", action="store_true", help="its rows behind ext_proc and inside Envoy (1,64 connections)")
    add("--short", action="store_true", help="3 rounds of 1 s, no file: fails on wrong answers and regressions")
    return parser


def _rows(text: str) -> tuple[Row, ...]:
    known = {row.key: row for row in ROWS}
    if unknown := [key for key in text.split(",") if key not in known]:
        raise argparse.ArgumentTypeError(f"expected some of {_known()}, got {', '.join(unknown)}")
    return tuple(row for row in ROWS if row.key in text.split(","))


def _revisions(text: str) -> tuple[str, ...]:
    try:
        return tuple(revision.resolve(part) for part in text.split(","))
    except BenchError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _known() -> str:
    return ", ".join(row.key for row in ROWS)


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_at_least_one(part) for part in text.split(","))


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number ≥ 1, got {text!r}")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number > 0, got {text!r}")
    return value
