"""docs/how-to/what-policies-do.md: each row leads to something that there is, and no policy that ships is left out."""

from __future__ import annotations

import pytest

from e2e.kit.markdown import inline, links, page
from e2e.kit.places import ROOT

PAGE = page("docs/how-to/what-policies-do.md")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| to |", "| ---"))
]
SHIPPED = {path.parent.name for path in ROOT.glob("policies/*/policy-definition.yaml")}
SAMPLES = {f"sample-policies/{path.parent.name}" for path in ROOT.glob("sample-policies/*/test_policy.py")}


def test_the_table_has_rows() -> None:
    assert len(ROWS) >= 25


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_row_leads_to_a_policy_a_sample_or_a_page(row: list[str]) -> None:
    ships = set(inline(row[1]))
    others = row[2]
    samples = {name for name in inline(others) if name.startswith("sample-policies/")}
    assert ships <= SHIPPED
    assert set(links(row[1])) == {f"../reference/policy-{name}.md" for name in ships}
    assert samples <= SAMPLES
    assert ships or samples or links(others), "expected a policy that ships, a sample or a page, got none"


def test_all_policies_that_ship_are_in_the_table() -> None:
    assert {name for row in ROWS for name in inline(row[1])} >= SHIPPED
