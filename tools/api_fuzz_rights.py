"""Holds docs/reference/rights.md, which a test writes, to what a run of `make api-fuzz` was answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from gatewright_controller.management.openapi import path_of
from gatewright_controller.management.table import ROWS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "rights.md"
COLUMNS = ("node", "viewer", "publisher", "admin", "bound: own", "bound: another's")
REFUSED = (401, 403)
OF_NO_RIGHT = (*REFUSED, 405, 429)
"""Answers to what is no request of the operation, and to too many requests."""
WHOSE = ("own", "foreign", "any")
Answered = Mapping[str, Mapping[str, int]]
"""How often each status was answered, by `OPERATION WHOSE`; WHOSE as above."""
Cells = dict[tuple[str, str], str]
"""`yes` or the status of a refusal, by operation and column."""


def contradictions(answered: Mapping[str, Answered], page: Path = PAGE, *, update: bool = False) -> list[str]:
    """The cells of the page that are not what the roles were answered, in words; prints how many were answered.
    answered: by role. update: the page gets what was answered, so that nothing contradicts it."""
    text = page.read_text()
    cells = read_cells(text)
    seen = {key: found for key, found in answered_cells(answered) if found and key in cells}
    print(f"api-fuzz: answers to {len(seen)} of the {len(cells)} cells of {page.name}")
    if update:
        page.write_text(with_cells(text, seen))
        return []
    return [
        f"api-fuzz: {operation} as {column}: expected {cells[operation, column]} as {page.name} has it, got {found}"
        for (operation, column), found in seen.items()
        if cells[operation, column] != found
    ]


def read_cells(text: str) -> Cells:
    """Of the page's text."""
    rows = filter(None, map(_row, text.splitlines()))
    return {(row[0].strip("`"), column): cell for row in rows for column, cell in zip(COLUMNS, row[-6:], strict=True)}


def with_cells(text: str, found: Cells) -> str:
    """The page's text with these cells."""
    lines = []
    for line in text.splitlines(keepends=True):
        if row := _row(line):
            operation, written = row[0].strip("`"), zip(COLUMNS, row[-6:], strict=True)
            cells = [found.get((operation, column), cell) for column, cell in written]
            line = f"| {' | '.join([*row[:-6], *cells])} |\n"
        lines.append(line)
    return "".join(lines)


def _row(line: str) -> list[str]:
    """Operation, right, what a stranger is answered, and the cells of COLUMNS; none of another line."""
    row = [cell.strip() for cell in line.strip().strip("|").split("|")]
    return row if len(row) == 3 + len(COLUMNS) and row[0].startswith("`") else []


def answered_cells(answered: Mapping[str, Answered]) -> Iterator[tuple[tuple[str, str], str]]:
    """What a run says of each cell; "" where it says nothing."""
    for role, found in answered.items():
        for row in (row for row in ROWS if row.right):
            operation = f"{row.method} {path_of(row)}"
            statuses = {whose: {int(text) for text in found.get(f"{row.id} {whose}", ())} for whose in WHOSE}
            if role != "bound":
                yield (operation, role), cell_of(set().union(*statuses.values()))
            elif any(statuses[whose] for whose in ("own", "foreign")):
                yield (operation, "bound: own"), cell_of(statuses["own"])
                yield (operation, "bound: another's"), foreign_cell_of(statuses["foreign"])
            elif (
                row.method == "GET"
                and "{name}" not in operation
                and "api" not in {parameter.name for parameter in row.query}
            ):  # of others the path, the body or the query says whose resource is meant
                yield (operation, "bound: own"), cell_of(statuses["any"])
                yield (operation, "bound: another's"), cell_of(statuses["any"])


def cell_of(statuses: set[int]) -> str:
    """`yes` where the role was let in at least once."""
    if statuses - set(OF_NO_RIGHT):
        return "yes"
    return "403" if 403 in statuses else ""


def foreign_cell_of(statuses: set[int]) -> str:
    """`yes` where anything was done or shown: a request may be wrong before it is known whose resource it names."""
    if any(status < 400 for status in statuses):
        return "yes"
    return "403" if 403 in statuses else ""
