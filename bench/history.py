"""The history of this tree's ratio to a fixed commit: a line for each comparison that is fit to be kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from bench import comparison, revision, summary
from bench.rows import GO, PYTHON
from bench.sample import Sample
from bench.settings import BASE, Settings
from bench.target import GO as ENGINE
from bench.target import PYTHON as EXECUTOR

FILE = Path("bench/history.md")
CONNECTIONS = 64
ROUNDS = 5
EXPECTED = (
    f"--compare with at least {ROUNDS} rounds of the rows {GO} and {PYTHON} at {CONNECTIONS} connections in a closed "
    "loop, in a tree without changes"
)
"""What a run must be so that its line is kept."""
KEPT = (
    *((GO, figure) for figure in (summary.total, summary.rate, summary.cpu_of(ENGINE))),
    *((PYTHON, figure) for figure in (summary.total, summary.rate, summary.cpu_of(ENGINE), summary.cpu_of(EXECUTOR))),
)
"""The figures of a line: row and figure."""


def is_kept(settings: Settings, commit: str) -> bool:
    """Whether a run says enough about a commit: this tree has no changes, and all rows have enough rounds."""
    measured = {row.key for row in settings.rows} >= {GO, PYTHON} and CONNECTIONS in settings.connections
    is_long = settings.rounds >= ROUNDS and not settings.rate
    return bool(settings.compare) and measured and is_long and "with changes" not in commit


def line(samples: Sequence[Sample], commit: str, day: date) -> str:
    """The run in a row of the table, with the most that other processes took of a core meanwhile."""
    base = revision.resolve(BASE)
    spreads = (comparison.ratio(samples, row, base, CONNECTIONS, figure) for row, figure in KEPT)
    foreign = max(sample.foreign for sample in samples)
    return f"| {day} | {commit} | {' | '.join(map(comparison.with_range, spreads))} | {foreign:.0%} |"


def append(row: str, file: Path = FILE) -> None:
    """Adds a row to the table, which ends the file."""
    with file.open("a") as table:
        table.write(row + "\n")
