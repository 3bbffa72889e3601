"""Text for a terminal, or for a file: colours, widths, and the escaping of control characters."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

import click

UNBOUNDED = 1_000_000
LEAST_WIDTH = 40
NO_STATUS = "---"


@dataclass(frozen=True)
class Paint:
    """How text is written: with colours or without, and in how many columns."""

    colours: bool = False
    width: int = UNBOUNDED

    @classmethod
    def of(cls, file: TextIO, environment: Mapping[str, str] = os.environ) -> Paint:
        """Colours and a width if the file is a terminal; NO_COLOR (https://no-color.org) keeps it plain."""
        if not file.isatty():
            return cls()
        plain = environment.get("NO_COLOR") or environment.get("TERM") == "dumb"
        return cls(not plain, max(LEAST_WIDTH, shutil.get_terminal_size().columns))

    def red(self, text: str) -> str:
        return self._styled(text, "red")

    def green(self, text: str) -> str:
        return self._styled(text, "green")

    def yellow(self, text: str) -> str:
        return self._styled(text, "yellow")

    def bold(self, text: str) -> str:
        return click.style(text, bold=True) if self.colours else text

    def dim(self, text: str) -> str:
        return click.style(text, dim=True) if self.colours else text

    def status(self, status: int) -> str:
        """Three digits, coloured by their class; --- without a status."""
        if not status:
            return self.red(NO_STATUS)
        if status >= 500:
            return self.red(str(status))
        return self.yellow(str(status)) if status >= 400 else self.green(str(status))

    def _styled(self, text: str, colour: str) -> str:
        return click.style(text, fg=colour) if self.colours else text


def safe(text: str) -> str:
    """On one line, with control characters and those that reverse text escaped, so that a terminal obeys none."""
    return "".join(_escape(character) if not character.isprintable() else character for character in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def cut(text: str, width: int) -> str:
    """The text, or its beginning with an ellipsis."""
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"


def wrap_words(text: str, width: int) -> list[str]:
    """A sentence in lines of at most `width` columns, broken between words if possible."""
    return textwrap.wrap(text, max(1, width), break_on_hyphens=False) or [""]


def fold_value(text: str, width: int) -> list[str]:
    """A value, unchanged, in lines of at most `width` columns; at least one."""
    width = max(1, width)
    return [text[start : start + width] for start in range(0, len(text), width)] or [""]
