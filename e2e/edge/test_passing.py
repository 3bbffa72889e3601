"""Messages that pass through a gateway, row by row and column by column: the table in docs/reference/passing.md."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from e2e.edge.passing import grpc_rows, http_rows, websocket_rows
from e2e.edge.passing.columns import COLUMNS, project
from e2e.edge.passing.grpc_rows import Calls
from e2e.edge.passing.page import PAGE, replace_tables
from e2e.edge.passing.rows import Row
from e2e.edge.passing.stage import Stage, Way
from e2e.edge.passing.websocket_rows import Socket
from e2e.kit.conversation import Version
from e2e.kit.gateway import running


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    policies = project(tmp_path_factory.mktemp("project"))
    with running(None, tmp_path_factory.mktemp("state"), *policies.arguments) as gateway, Stage(gateway) as stage:
        yield stage


def titles(row: Row) -> str:
    return row.title


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("row", http_rows.ROWS, ids=titles)
def test_http_passes_as_the_page_says(stage: Stage, row: Row, column: str) -> None:
    assert stage.run(results(stage, row, column)) == {versions: row.expected(column) for versions in row.versions}


async def results(stage: Stage, row: Row, column: str) -> dict[tuple[Version, Version], str]:
    """Runs every pair of versions at once; the outcomes."""
    outcomes = await asyncio.gather(
        *(row.run(Way(stage, column, *versions, row.times_out)) for versions in row.versions)
    )
    return dict(zip(row.versions, outcomes, strict=True))


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("row", grpc_rows.ROWS, ids=titles)
def test_grpc_passes_as_the_page_says(stage: Stage, row: Row, column: str) -> None:
    async def result() -> str:
        async with Calls(stage, column, times_out=row.times_out) as calls:
            return await row.run(calls)

    assert stage.run(result()) == row.expected(column)


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("row", websocket_rows.ROWS, ids=titles)
def test_upgrades_pass_as_the_page_says(stage: Stage, row: Row, column: str) -> None:
    assert stage.run(row.run(Socket(stage, column, row.times_out))) == row.expected(column)


def test_the_page_has_the_outcomes_of_this_run() -> None:
    """Each field above is held to a gateway; this holds the page to the fields."""
    page = PAGE.read_text()
    assert page == replace_tables(page), "python -m e2e.edge.passing.page writes it anew"
