"""What is wrong with a build, said so that its author can cure it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing to put right. str() is a sentence: FILE:LINE: expected …, got …; CURE.

    file is relative to build.yaml's folder; line counts from 1, None when the mistake is the whole file's.
    """

    file: str
    expected: str
    got: str
    cure: str
    line: int | None = None

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: expected {self.expected}, got {self.got}; {self.cure}"


class BuildError(Exception):
    """The build cannot be made. `mistakes` holds all of them, in the order of build.yaml; str() is one per line."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(map(str, self.mistakes)))


def refuse_if_any(mistakes: Iterable[Mistake]) -> None:
    """Raises BuildError when there are mistakes."""
    found = list(mistakes)
    if found:
        raise BuildError(found)
