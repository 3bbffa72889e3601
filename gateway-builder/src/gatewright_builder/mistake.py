"""What is wrong with a build, said so that its author can cure it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from gatewright_builder.redaction import redacted


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
    """The build cannot be made. `mistakes` holds all of them, in the order of build.yaml; str() is one per line.

    What tools and files say goes through here, so here passwords are hidden.
    """

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(
            replace(mistake, file=redacted(mistake.file), got=redacted(mistake.got)) for mistake in mistakes
        )
        super().__init__("\n".join(map(str, self.mistakes)))


def refuse_if_any(mistakes: Iterable[Mistake]) -> None:
    """Raises BuildError when there are mistakes."""
    found = list(mistakes)
    if found:
        raise BuildError(found)


@dataclass(slots=True)
class Mistakes:
    """Those of several steps, each of which is tried whatever the others say."""

    found: list[Mistake] = field(default_factory=list)

    @contextmanager
    def gather(self) -> Iterator[None]:
        """Keeps what the body refuses, and goes on."""
        try:
            yield
        except BuildError as error:
            self.found += error.mistakes
