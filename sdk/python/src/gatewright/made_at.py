"""Records the line of a policy's code that made an action, so that errors in the action can name it."""

from __future__ import annotations

import sys
from types import FrameType


class MadeAt:
    """A base of dataclasses that records the file and line of each construction; they are no fields."""

    __slots__ = ("_file", "_line")

    def __post_init__(self) -> None:
        frame = sys._getframe(2)  # the caller of the dataclass's __init__
        self._file, self._line = frame.f_code.co_filename, frame.f_lineno


def set_made_at(action: MadeAt, frame: FrameType) -> None:
    """Records the frame of a policy that had a function make the action."""
    action._file, action._line = frame.f_code.co_filename, frame.f_lineno


def made_at(action: object) -> tuple[str, int]:
    """The file and line that made the action; "" and 0 if they are not known."""
    return getattr(action, "_file", ""), getattr(action, "_line", 0)
