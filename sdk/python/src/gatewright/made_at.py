"""Where a policy's code has made an action, so that what is wrong with it can be said with its line."""

from __future__ import annotations

import sys


class MadeAt:
    """A dataclass that keeps the file and line of its construction; they are no fields of it."""

    __slots__ = ("_file", "_line")

    def __post_init__(self) -> None:
        frame = sys._getframe(2)  # behind this function and the dataclass's __init__
        self._file, self._line = frame.f_code.co_filename, frame.f_lineno


def made_at(action: object) -> tuple[str, int]:
    """File and line; "" and 0 where they are not known."""
    return getattr(action, "_file", ""), getattr(action, "_line", 0)
