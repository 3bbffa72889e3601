"""Gateway API's own conformance suite, over all that the product says it supports: each of its tests is one here.

They run once, in the suite's order, in one cluster; `-k NAME` runs those alone.
"""

from __future__ import annotations

import pytest

from e2e.kubernetes.product import Product
from e2e.kubernetes.suite import Outcome, names_of_tests, read_report, run_suite, summary_of, write_summary

CLASS = "gateway-conformance"


@pytest.fixture(scope="session")
def outcomes(product: Product, request: pytest.FixtureRequest) -> dict[str, Outcome]:
    """Of the suite's tests that this session has selected."""
    items = (item for item in request.session.items if isinstance(item, pytest.Function))
    selected = {str(item.callspec.params["name"]) for item in items if item.originalname == "test_conformance"}
    product.add_class(CLASS)
    found = run_suite(product.cluster, CLASS, selected, product.version)
    write_summary(read_report())
    print(summary_of(read_report()))
    return found


@pytest.mark.parametrize("name", names_of_tests())
def test_conformance(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes.get(name, outcomes[""])
    if outcome.verdict == "SKIP":
        pytest.skip(outcome.skip_reason)
    assert outcome.verdict == "PASS", outcome.output
