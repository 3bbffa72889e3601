"""The table of docs/explanation/isolation.md: each try × each level. It is made from runs, and held against them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from e2e.hostile.level import LEVELS, Level
from e2e.hostile.tries import SECTIONS, Try
from e2e.kit.places import ROOT
from e2e.kit.shared_build import is_engine_in_envoy

PAGE = ROOT / "docs" / "explanation" / "isolation.md"
BEGIN, END = '<!-- the table: make faults ARGS="hostile --write" -->', "<!-- end of the table -->"
UNKNOWN = "?"
ENVOY_ALONE = "reached: Envoy"
"""What is refused where the policy engine runs inside Envoy: it closes the process that it runs in."""

Cells = Mapping[tuple[str, str], str]
"""(try, level) → "reached", "refused", or "reached: …"."""


def cells(text: str) -> Cells:
    """The table as it stands in the page."""
    (drawn,) = re.findall(rf"{re.escape(BEGIN)}\n(.*?)\n{re.escape(END)}", text, re.DOTALL)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in drawn.strip().splitlines()]
    levels = [head.strip("`") for head in rows[0][1:]]
    tries = [row for row in rows[2:] if any(row[1:])]
    return {(row[0], level): cell for row in tries for level, cell in zip(levels, row[1:], strict=True)}


def render_table(written_cells: Cells) -> str:
    head = ["what it is after", *(f"`{level.name}`" for level in LEVELS)]
    rows = [head, ["---"] * len(head)]
    for section, tries in SECTIONS.items():
        rows.append([f"**{section}**", *[""] * len(LEVELS)])
        rows += [
            [attempt.says, *(written_cells.get((attempt.says, level.name), UNKNOWN) for level in LEVELS)]
            for attempt in tries
        ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


class Page:
    """Compares results with the page; `writing`: writes them there instead."""

    def __init__(self, path: Path = PAGE) -> None:
        self._path, self.writing = path, False

    def compare(self, level: Level, results: Mapping[Try, str]) -> list[str]:
        """The differences from the page, in sentences; none if the results are written."""
        text = self._path.read_text()
        written = dict(cells(text))
        if is_engine_in_envoy():
            written = {key: "refused" if cell == ENVOY_ALONE else cell for key, cell in written.items()}
        elif self.writing:
            written |= {(attempt.says, level.name): cell for attempt, cell in results.items()}
            table = f"{BEGIN}\n\n{render_table(written)}\n\n{END}"
            self._path.write_text(
                re.sub(rf"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: table, text, flags=re.DOTALL)
            )
            return []
        expected = {attempt: written.get((attempt.says, level.name), UNKNOWN) for attempt in results}
        return [
            f"{attempt.name}: expected {expected[attempt]!r}, as docs/explanation/isolation.md says, got {cell!r}"
            for attempt, cell in results.items()
            if cell != expected[attempt]
        ]
