"""docs/failures.md has a line for each row of the suite, and none for what no row breaks."""

from __future__ import annotations

import re
from pathlib import Path

from e2e.faults.rows import MEASUREMENTS, ROWS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "failures.md"


def test_the_page_names_every_row_and_no_other() -> None:
    told = set(re.findall(r"^\| ([^|]+?) \|", PAGE.read_text(), re.MULTILINE)) - {"what", "---"}
    broken = {row.name for row in ROWS} | {row.name for row in MEASUREMENTS}
    assert told == broken
