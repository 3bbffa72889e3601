"""One sample: load on one row for a few seconds, and its cost in each process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import cpu, load_tool
from bench.error import BenchError
from bench.load_tool import Load, Result
from bench.processes import tail
from bench.target import COLUMNS, Pids, Target

UPSTREAM, GENERATOR = "upstream", "load"
FOREIGN_LIMIT = 0.08


@dataclass(frozen=True)
class Sample:
    """cpu: µs per right answer, by column. foreign: the CPU time that other processes took meanwhile, in cores."""

    row: str
    connections: int
    round: int
    result: Result
    cpu: Mapping[str, float]
    foreign: float = 0.0

    @property
    def rate(self) -> float:
        """Right answers per second."""
        return self.result.count / self.result.seconds

    @property
    def total(self) -> float:
        """CPU without that of the upstream and the load generator."""
        return sum(self.cpu.get(column, 0.0) for column in COLUMNS)

    @property
    def disturbed(self) -> bool:
        return self.foreign > FOREIGN_LIMIT


@dataclass(frozen=True)
class Mark:
    """A moment: the wall clock and the CPU clocks."""

    at: float
    snapshot: cpu.Snapshot

    @classmethod
    def now(cls) -> Mark:
        return cls(time.monotonic(), cpu.snapshot())


@dataclass(frozen=True)
class Bench:
    """The tools of all samples: the load tool, the upstream's pid, the folder of logs."""

    binary: Path
    upstream: int
    folder: Path

    def measure(self, row: str, round_: int, target: Target, load: Load) -> Sample:
        """Measures once. Raises BenchError if a process of the target was replaced meanwhile."""
        processes, marks = target.processes(), list[Mark]()
        generators = set[int]()

        def mark(generator: int) -> None:
            generators.add(generator)
            marks.append(Mark.now())

        result = load_tool.generate(self.binary, load, self.folder, mark, mark)
        if (now := target.processes()) != processes:
            raise BenchError(f"expected {row}'s processes to stay {processes}, got {now}\n{tail(target.log)}")
        shown = {**processes, UPSTREAM: (self.upstream,), GENERATOR: tuple(generators)}
        before, after = marks
        foreign = cpu.foreign(before.snapshot, after.snapshot, os.getpid()) / (after.at - before.at)
        return Sample(row, load.connections, round_, result, per_answer(before, after, shown, result), foreign)


def per_answer(before: Mark, after: Mark, processes: Pids, result: Result) -> dict[str, float]:
    """µs of CPU per right answer, by column; nan without answers.

    Answers are counted by their rate, since the marks come some milliseconds after the generator's own.
    """
    answers = result.count / result.seconds * (after.at - before.at)
    used = {
        column: sum(cpu.own(before.snapshot, after.snapshot, pid) for pid in pids) for column, pids in processes.items()
    }
    return {column: seconds / answers * 1e6 if answers else float("nan") for column, seconds in used.items()}


def take_undisturbed(measure: Callable[[], Sample], repeats: int) -> Sample:
    """Takes a sample, again up to `repeats` times while other processes disturb it, and returns the least disturbed."""
    taken = [measure()]
    while taken[-1].disturbed and len(taken) <= repeats:
        taken.append(measure())
    return min(taken, key=lambda sample: sample.foreign) if taken[-1].disturbed else taken[-1]
