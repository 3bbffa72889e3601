"""What is wrong with an input, and where. All mistakes are found at once, so that an author can fix them at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

PLAIN_KEY = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*")
LONGEST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing to put right. str() is a sentence: FILE:LINE: FIELD: MESSAGE, without what is empty.

    field: a path such as `spec.operations[0].policies[1].params.headerName`; "" for the whole document.
    message: what was expected, what is there instead, and the cure. line: where it stands in the text that came, from
    1; 0 where it is not known or the mistake is the whole file's. file: as its reader calls it; "" where there is none.
    expected, got, cure: the parts of the message, where it is made of them (`expecting`).
    """

    field: str
    message: str
    line: int = 0
    file: str = ""
    expected: str = ""
    got: str = ""
    cure: str = ""

    @classmethod
    def expecting(
        cls, expected: str, got: str = "", cure: str = "", *, field: str = "", line: int = 0, file: str = ""
    ) -> Mistake:
        """One whose message is `expected …, got …; CURE`."""
        message = f"expected {expected}" + (f", got {got}" if got else "") + (f"; {cure}" if cure else "")
        return cls(field, message, line, file, expected, got, cure)

    @classmethod
    def in_file(cls, file: str, expected: str, got: str, cure: str, line: int | None = None) -> Mistake:
        """The same of a file, or of its line. line: None where it is the whole file's."""
        return cls.expecting(expected, got, cure, file=file, line=line or 0)

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.file and self.line else self.file
        return ": ".join(part for part in (where, self.field, self.message) if part)


class Invalid(Exception):  # noqa: N818 - the input is invalid; nothing of ours went wrong
    """The author of an input has to change it. `mistakes`: at least one, each once, in order of files and fields."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = sorted(
            set(mistakes), key=lambda mistake: (mistake.file, mistake.field, mistake.message, mistake.line)
        )
        super().__init__("; ".join(str(mistake) for mistake in self.mistakes))

    def located(self, line_of: Callable[[str], int]) -> Invalid:
        """The same, each with the line of its field."""
        mistakes = [
            mistake if mistake.line else replace(mistake, line=line_of(mistake.field)) for mistake in self.mistakes
        ]
        return type(self)(mistakes)


class Unreadable(Invalid):
    """There is no document in what came."""


def format_path(path: Sequence[str | int], root: str = "") -> str:
    """The path as a person writes it: of ["operations", 0, "a.b"] below "spec" it is `spec.operations[0]["a.b"]`."""
    text = root
    for step in path:
        if isinstance(step, str) and PLAIN_KEY.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{step}]" if isinstance(step, int) else f'["{step}"]'
    return text


def shown(value: object) -> str:
    """The value for "got …", cut at 80 characters so that a message stays one line."""
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


def without_values(invalid: Invalid) -> Invalid:
    """The same mistakes without anything that was found, for an input that may have secrets in it."""
    mistakes = [
        Mistake.expecting(
            mistake.expected or "another document",
            cure=mistake.cure,
            field=mistake.field,
            line=mistake.line,
            file=mistake.file,
        )
        for mistake in invalid.mistakes
    ]
    return type(invalid)(mistakes)
