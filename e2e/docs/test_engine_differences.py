"""docs/reference/in-envoy.md has what the tests say of the engine inside Envoy, and nothing else."""

from __future__ import annotations

import pytest

from e2e.kit.engine_differences import PAGE, read, table, with_table


def test_the_page_has_the_differences_that_tests_state(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update"):
        PAGE.write_text(with_table(read()), "utf-8")
    assert table() in read(), "run `pytest e2e/docs/test_engine_differences.py --update`"


def test_each_difference_is_a_row_of_its_own() -> None:
    rows = table().splitlines()[2:]
    assert rows
    assert all(row.count(" | ") == 1 for row in rows), "expected no | in a difference"
