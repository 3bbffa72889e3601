"""Storage that fails: clients get a problem, and nothing has changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from gatewright_controller.apis.controller import Controller
from gatewright_controller.nodes.node import Node
from gatewright_controller.store import Store
from gatewright_documents.values import JsonObject

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
ConnectionOf = Callable[[Store], sqlite3.Connection]
PROBLEM = "application/problem+json"


def interrupt_after(connection: sqlite3.Connection, steps: int) -> None:
    """SQLite interrupts each statement after so many steps of its machine, from now on."""
    left = steps

    def interrupts() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    connection.set_progress_handler(interrupts, 1)


async def test_a_reload_that_the_storage_breaks_off_changes_nothing(
    client: httpx.AsyncClient,
    controller: Controller,
    store: Store,
    sqlite_connection: ConnectionOf,
    connect: Callable[[Controller], Node],
    folder: Path,
    orders: JsonObject,
) -> None:
    """At whichever step: definitions without the APIs that they concern would never be handed out."""
    await client.post("/v1/apis", json=orders)
    node = connect(controller)
    controller.deployment.next_update(node)
    file = folder / "log-message-v1.0.0.yaml"
    file.write_text(file.read_text().replace("displayName:", "displayName: Other"))
    before, broken_off = controller.definitions, 0
    connection = sqlite_connection(store)
    interrupt_after(connection, broken_off)
    while not (answer := await client.post("/v1/policies/reload")).is_success:
        assert answer.status_code == 503, answer.text
        assert controller.definitions is before
        broken_off += 1
        interrupt_after(connection, broken_off)
    assert broken_off > 10, "expected steps of more than one reading"
    node.policies = {(definition.name, definition.version): definition.digest for definition in controller.definitions}
    assert [bundle.api for bundle in controller.deployment.next_update(node).bundles] == ["orders-v1"]


async def test_our_own_faults_keep_their_details(
    client: httpx.AsyncClient, store: Store, sqlite_connection: ConnectionOf, orders: JsonObject
) -> None:
    await client.post("/v1/apis", json=orders)
    sqlite_connection(store).execute("UPDATE resources SET document = 'no JSON'")
    failed = await client.get("/v1/apis")
    assert (failed.status_code, failed.headers["content-type"]) == (500, PROBLEM)
    assert failed.json()["detail"] == "the controller failed; its log says why"


@pytest.mark.parametrize(("failing", "status"), [("max_page_count = 1", 507), ("query_only = on", 503)])
async def test_a_storage_that_fails_is_a_problem_and_changes_nothing(
    store: Store,
    sqlite_connection: ConnectionOf,
    client: httpx.AsyncClient,
    orders: JsonObject,
    caplog: pytest.LogCaptureFixture,
    failing: str,
    status: int,
) -> None:
    orders["spec"]["operations"] = [{"method": "GET", "path": f"/{number}"} for number in range(200)]  # many pages
    sqlite_connection(store).execute(f"PRAGMA {failing}")
    answer = await client.post("/v1/apis", json=orders)
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    assert "as it was" in answer.json()["detail"]
    first, *more = [(record.message, record.exc_info) for record in caplog.records]
    assert first == ("storage failed", None)
    assert more in ([], [("the audit log lacks an entry", None)])
    assert (await client.get("/v1/apis")).json() == {"apis": []}
