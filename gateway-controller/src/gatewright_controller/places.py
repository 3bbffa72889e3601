"""Where the values of a document stand in its text, as a tree: found again by the fields that mistakes name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from gatewright_controller.mistake import PLAIN_KEY


@dataclass(slots=True)
class Place:
    """A value's line, from 1 (its key's, if it has one), and the places of what is in it: by key, or by index."""

    line: int
    inside: dict[str | int, Place] = field(default_factory=dict)

    def line_of(self, text: str) -> int:
        """The line of a field such as `spec.operations[1].path`, or of the nearest thing around it that is there."""
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
