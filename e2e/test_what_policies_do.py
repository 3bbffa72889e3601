"""docs/how-to/what-policies-do.md: each row leads to something that there is, and no policy that ships is left out."""

from __future__ import annotations

import pytest

from e2e.markdown import ROOT, inline, links, page

PAGE = page("docs/how-to/what-policies-do.md")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| to |", "| ---"))
]
SHIPPED = {path.parent.name for path in ROOT.glob("policies/*/policy-definition.yaml")}
SAMPLES = {f"sample-policies/{path.parent.name}" for path in ROOT.glob("sample-policies/*/test_policy.py")}
COMING = {
    *("api-key-auth", "basic-auth", "cel-authz", "concurrency-limit", "hmac-auth", "jwt-auth", "mtls-auth"),
    *("oauth2-introspection", "oidc-login", "opa-authz", "pii-mask", "quota", "rate-limit", "request-id", "rewrite"),
    *("set-headers", "transform-json", "validate-request", "validate-response", "xml-json"),
}
"""Those that are not there yet, each with something beside it until then."""


def test_there_are_rows() -> None:
    assert len(ROWS) >= 25


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_row_leads_to_a_policy_a_sample_or_a_page(row: list[str]) -> None:
    ships = set(inline(row[1])) if len(row) > 1 else set()
    others = row[2]
    samples = {name for name in inline(others) if name.startswith("sample-policies/")}
    assert ships <= SHIPPED | COMING
    assert samples <= SAMPLES
    assert ships & SHIPPED or samples or links(others), "expected a policy that ships, a sample or a page, got none"


def test_all_that_ships_is_in_the_table() -> None:
    assert {name for row in ROWS for name in inline(row[1])} >= SHIPPED
