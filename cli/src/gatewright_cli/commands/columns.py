"""Text in columns, as people read it in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

GAP = "  "


def lines_in_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line for each row; each column is as wide as its longest cell."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return [GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def cell_text(value: object) -> str:
    """On one line, without characters that a terminal obeys."""
    text = " ".join(str(value).split())
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)
