"""docs/reference/failures.md has a line for each row of the suite and no other;
docs/explanation/isolation.md has one for each try of the hostile policy, with its result at each level.
"""

from __future__ import annotations

import re

from e2e.faults.rows import MEASUREMENTS, ROWS
from e2e.hostile import page
from e2e.hostile.level import LEVELS
from e2e.hostile.tries import TRIES, judge_other_policy
from e2e.kit.places import ROOT

PAGE = ROOT / "docs" / "reference" / "failures.md"


def test_the_page_names_every_row_and_no_other() -> None:
    documented = set(re.findall(r"^\| ([^|]+?) \|", PAGE.read_text(), re.MULTILINE)) - {"what", "---"}
    broken = {row.name for row in ROWS} | {row.name for row in MEASUREMENTS}
    assert documented == broken


def test_the_table_of_isolation_has_every_try_at_every_level_and_no_other() -> None:
    cells = page.cells(page.PAGE.read_text())
    assert list(cells) == [(attempt.says, level.name) for attempt in TRIES for level in LEVELS]
    assert {cell for cell in cells.values() if not re.fullmatch(r"refused|reached(: .+)?", cell)} == set()


def test_the_hostile_policy_implements_every_try() -> None:
    source = "".join(path.read_text() for path in (ROOT / "e2e/kit/policies/hostile").glob("*.py"))
    own = [attempt for attempt in TRIES if attempt.judge is not judge_other_policy]
    assert {attempt.name for attempt in own if f'"{attempt.name}": ' not in source} == set()
