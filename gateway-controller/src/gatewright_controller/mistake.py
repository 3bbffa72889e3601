"""What is wrong with an input, and where. All mistakes are found at once, so an author mends them at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

PLAIN_KEY = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*")
LONGEST_SHOWN = 80


@dataclass(frozen=True, order=True)
class Mistake:
    """`field` is a path such as `spec.operations[0].policies[1].params.headerName`, empty for the whole document.

    `line` is where it stands in the text that came, from 1; 0 where nobody has looked.
    """

    field: str
    message: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class Invalid(Exception):  # noqa: N818 - the input is invalid; nothing of ours went wrong
    """The author of an input has to change it. `mistakes` holds at least one."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = sorted(set(mistakes))
        super().__init__("; ".join(str(mistake) for mistake in self.mistakes))

    def at(self, line_of: Callable[[str], int]) -> Invalid:
        """The same, each with the line of its field."""
        mistakes = [one if one.line else replace(one, line=line_of(one.field)) for one in self.mistakes]
        return type(self)(mistakes)


class Unreadable(Invalid):
    """There is no document in what came."""


def place(path: Sequence[str | int], root: str = "") -> str:
    """The path as a person writes it: `place(["operations", 0, "a.b"], "spec")` is `spec.operations[0]["a.b"]`."""
    text = root
    for step in path:
        if isinstance(step, str) and PLAIN_KEY.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{step}]" if isinstance(step, int) else f'["{step}"]'
    return text


def shown(value: object) -> str:
    """The value for "got …", cut so that a message stays one line."""
    text = repr(value) if isinstance(value, str) else _json_like(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"


def _json_like(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case dict():
            return "an object"
        case list():
            return "an array"
    return str(value)


def listed(names: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`; `none` for an empty list."""
    if len(names) <= 1:
        return names[0] if names else "none"
    return f"{', '.join(names[:-1])} or {names[-1]}"
