"""Where the values of a document stand in its text, as a tree: found again by their paths, or by the fields that
mistakes name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gatewright_documents.mistake import PLAIN_KEY


@dataclass(slots=True)
class LineTree:
    """A value's line, from 1 (its key's, if it has one), and those of what is in it: by key, or by index.

    What stands in an alias has the lines of what it stands for.
    """

    line: int
    inside: dict[str | int, LineTree] = field(default_factory=dict)

    def line_at(self, path: Iterable[str | int]) -> int:
        """The line of what stands at a path, or of the nearest thing around it that is there."""
        here = self
        for step in path:
            if step not in here.inside:
                break
            here = here.inside[step]
        return here.line

    def line_of(self, text: str) -> int:
        """The same of a field such as `spec.operations[1].path`."""
        here, at = self, 0
        while at < len(text):
            step = next(((key, end) for key, end in _steps(text, at) if key in here.inside), None)
            if step is None:
                break
            here, at = here.inside[step[0]], step[1]
        return here.line


def _steps(text: str, at: int) -> Iterator[tuple[str | int, int]]:
    """Which step may begin here, and where it ends: several only of a key with quotes and brackets in it."""
    if text.startswith('["', at):
        end = at
        while (end := text.find('"]', end + 2)) >= 0:
            yield text[at + 2 : end], end + 2
    elif text.startswith("[", at):
        end = text.find("]", at)
        if text[at + 1 : end].isdecimal():
            yield int(text[at + 1 : end]), end + 1
    elif found := PLAIN_KEY.match(text, at + 1 if text.startswith(".", at) else at):
        yield found[0], found.end()
