"""A controller prunes its own database, and says what is not there any more."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import httpx
import pytest
from gatewright_controller import retention
from gatewright_controller.apis.controller import Controller
from gatewright_controller.retention import Keep, Pruning
from gatewright_controller.store import AuditFilter, StorageError, Store
from gatewright_documents.values import JsonObject

pytestmark = pytest.mark.anyio
KEEP = Keep(revisions=2, deleted_days=90, audit_days=400, audit_entries=1000)


def ignore(_revisions: int, _audit_entries: int) -> None:
    """No metrics are asked for."""


async def change(client: httpx.AsyncClient, orders: JsonObject, times: int) -> None:
    assert (await client.post("/v1/apis", json=orders)).status_code == 201
    for number in range(1, times):
        orders["spec"]["context"] = f"/orders/{number}"
        assert (await client.put("/v1/apis/orders-v1", json=orders)).status_code == 200


async def test_a_revision_that_is_not_kept_is_refused_with_the_reason(
    client: httpx.AsyncClient, controller: Controller, orders: JsonObject
) -> None:
    await change(client, orders, 4)
    await Pruning(controller.store, KEEP, ignore).prune()
    for asked, sentence in (
        ("1", "has no revision 1: the oldest that is kept is 3, since the controller keeps the newest"),
        ("-3", "has no write 3 before its newest, 4: the oldest that is kept is 3 (historyKeep says how many are)"),
    ):
        answer = await client.get(f"/v1/apis/orders-v1/revisions/{asked}")
        assert answer.status_code == 404
        assert sentence in answer.json()["detail"]
    refused = await client.post("/v1/apis/orders-v1/rollback", json={"revision": 2})
    assert refused.status_code == 404
    assert "the oldest that is kept is 3" in refused.json()["detail"]
    rolled_back = await client.post("/v1/apis/orders-v1/rollback", json={"revision": 3})
    assert rolled_back.status_code == 200


async def test_the_audit_log_shows_no_change_against_what_is_pruned(
    client: httpx.AsyncClient, controller: Controller, orders: JsonObject
) -> None:
    """It would look as if the oldest that is kept had created all of it."""
    await change(client, orders, 4)
    await Pruning(controller.store, KEEP, ignore).prune()
    found = (await client.get("/v1/audit", params={"changes": "true"})).json()["entries"]
    assert [(entry["action"], entry.get("revision"), "diff" in entry) for entry in found] == [
        ("pruned", None, False),
        ("changed", 4, True),
        ("changed", 3, False),
        ("changed", 2, False),
        ("created", 1, False),
    ]
    assert (found[0]["actor"], found[0]["detail"]) == (
        "controller",
        "2 revisions of resources, 0 entries of this log",
    )


async def test_it_prunes_from_time_to_time_and_goes_on_after_an_error(
    client: httpx.AsyncClient,
    controller: Controller,
    orders: JsonObject,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(retention, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0.01)
    await change(client, orders, 4)
    counted: list[int] = []
    pruned = asyncio.Event()

    def count(revisions: int, _audit_entries: int) -> None:
        if not counted:
            counted.append(0)
            raise StorageError("the database is away", full=False)
        counted.append(revisions)
        if sum(counted) == 2:
            pruned.set()

    with caplog.at_level(logging.ERROR):
        running = asyncio.create_task(Pruning(controller.store, KEEP, count).run())
        await asyncio.wait_for(pruned.wait(), 30)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert [record.getMessage() for record in caplog.records] == ["the history is not pruned now"]
    assert len(controller.store.history("Api", "orders-v1")) == 2


async def test_a_round_that_is_cancelled_leaves_the_store_to_others(
    client: httpx.AsyncClient, store: Store, orders: JsonObject
) -> None:
    await change(client, orders, 4)
    round_ = asyncio.create_task(Pruning(store, KEEP, ignore).prune())
    await asyncio.sleep(0)
    round_.cancel()
    with pytest.raises(asyncio.CancelledError):
        await round_
    await Pruning(store, KEEP, ignore).prune()
    assert [entry.action for entry in store.audit(AuditFilter(), 10)].count("pruned") == 1
