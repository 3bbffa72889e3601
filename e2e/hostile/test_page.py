"""The table of docs/explanation/isolation.md must be able to say no."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.hostile.level import LANDLOCK, NONE
from e2e.hostile.page import BEGIN, END, Page, cells
from e2e.hostile.tries import TRIES
from e2e.hostile.try_result import TryResult

MEMORY = next(attempt for attempt in TRIES if attempt.name == "memory")


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GATEWRIGHT_ENGINE", "ext-proc")
    path = tmp_path / "page.md"
    path.write_text(f"before\n\n{BEGIN}\n\n| what | `none` |\n| --- | --- |\n\n{END}\n\nbehind\n")
    return path


@pytest.mark.parametrize(
    ("reached", "refused", "cell"),
    [
        ({}, {"a": "EPERM"}, "refused"),
        ({"a": "read"}, {}, "reached"),
        ({"a": "read", "b": "read"}, {"c": "EPERM"}, "reached: a, b"),
    ],
)
def test_a_cell_names_the_targets_reached(reached: dict[str, str], refused: dict[str, str], cell: str) -> None:
    assert TryResult(reached, refused).cell == cell


def test_a_written_table_is_read_back_and_the_rest_of_the_page_stays(page: Path) -> None:
    table = Page(page)
    table.writing = True
    assert table.compare(NONE, {MEMORY: "reached: Envoy"}) == []
    assert table.compare(LANDLOCK, {MEMORY: "refused"}) == []
    text = page.read_text()
    cells_of_page = cells(text)
    assert (cells_of_page[MEMORY.says, "none"], cells_of_page[MEMORY.says, "landlock"]) == ("reached: Envoy", "refused")
    assert text.startswith("before\n\n")
    assert text.endswith("\n\nbehind\n")


def test_a_run_that_differs_from_the_page_is_a_difference(page: Path) -> None:
    table = Page(page)
    table.writing = True
    table.compare(LANDLOCK, {MEMORY: "refused"})
    table.writing = False
    assert table.compare(LANDLOCK, {MEMORY: "refused"}) == []
    (difference,) = table.compare(LANDLOCK, {MEMORY: "reached: engine"})
    assert difference == "memory: expected 'refused', as docs/explanation/isolation.md says, got 'reached: engine'"


def test_what_envoy_alone_leaves_open_is_refused_with_the_engine_inside(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Page(page)
    table.writing = True
    table.compare(NONE, {MEMORY: "reached: Envoy"})
    monkeypatch.setenv("GATEWRIGHT_ENGINE", "in-envoy")
    assert table.compare(NONE, {MEMORY: "refused"}) == []
    (difference,) = table.compare(NONE, {MEMORY: "reached: Envoy"})
    assert difference == "memory: expected 'refused', as docs/explanation/isolation.md says, got 'reached: Envoy'"
