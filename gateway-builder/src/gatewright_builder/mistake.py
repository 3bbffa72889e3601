"""What is wrong with a build, said so that its author can cure it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from gatewright_documents.mistake import Mistake

from gatewright_builder.redaction import redacted


class BuildError(Exception):
    """The build cannot be made. `mistakes` holds all of them, in the order of build.yaml; str() is one per line.

    Files in them are relative to build.yaml's folder. What tools and files say goes through here, so here passwords are
    hidden.
    """

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(map(_redacted, mistakes))
        super().__init__("\n".join(map(str, self.mistakes)))


def _redacted(mistake: Mistake) -> Mistake:
    file, got, message = redacted(mistake.file), redacted(mistake.got), redacted(mistake.message)
    return replace(mistake, file=file, got=got, message=message)


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
