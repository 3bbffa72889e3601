"""The outcome of each request, as `load mix` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RETRY = frozenset({503})


@dataclass(frozen=True)
class Answer:
    """The answer to one request. Times in seconds, `due` since the epoch; without an answer, `status` is 0 and
    `problem` the reason."""

    flow: str
    due: float
    took: float
    status: int
    retry_after: str
    problem: str

    @property
    def ended(self) -> float:
        return self.due + self.took

    @property
    def outcome(self) -> str:
        """ "200", or the status of an error that has all that the gateway promises ("503"); else what is wrong with it:
        "503 bare", "503 without retry-after", "refused", "broken", "timeout", "unsent".
        """
        if not self.status:
            return self.problem
        if self.problem.startswith("bare"):
            return f"{self.status} bare"
        if self.status in RETRY and not self.retry_after.isdecimal():
            return f"{self.status} without retry-after"
        return str(self.status)


def read_answers(path: Path) -> list[Answer]:
    """The answers of all complete lines of the file, in the order in which they came."""
    return sorted(_lines(path), key=lambda answer: answer.ended)


def _lines(path: Path) -> Iterator[Answer]:
    for line in path.read_text(errors="backslashreplace").splitlines(keepends=True):
        if line.endswith("\n"):
            flow, due, took, status, retry_after, problem = line.rstrip("\n").split("\t")
            yield Answer(flow, float(due), float(took), int(status), retry_after, problem)
