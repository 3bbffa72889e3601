"""What belongs together is read together, whatever another controller writes meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from gatewright_controller import server
from gatewright_controller.apis.api_source import ApiSource
from gatewright_controller.plans import Intent, Plans
from gatewright_controller.store import (
    Changes,
    StoredGateway,
)
from gatewright_documents.values import JsonObject

from .sides import SECONDS, Late, Side, consumer, defaults, named

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


def attached(document: JsonObject, *policies: str) -> JsonObject:
    document["spec"]["policies"] = [{"name": name, "version": "v1"} for name in policies]
    for operation in document["spec"]["operations"]:
        operation.pop("policies", None)
    return document


async def move_guard(side: Side, orders: JsonObject, owner: str = "team") -> None:
    """The API's own guard becomes one of Defaults, in one transaction."""
    api = ApiSource("a.json", json.dumps(attached(named(orders, "a"), "log-message")).encode())
    guards = ApiSource("defaults.json", json.dumps(defaults("guards")).encode())
    await Plans(side.controller, side.gateways, side.kinds).apply([api, guards], Intent(owner, take_over=True))


async def test_a_start_sees_no_half_of_what_another_controller_writes_meanwhile(
    sides: tuple[Side, Side], open_late: Callable[[], Late], orders: JsonObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has read the Defaults, and not the APIs yet."""
    here, _ = sides
    await here.controller.create(attached(named(orders, "a"), "guard"))
    late = open_late()
    load, loop = late.controller.load, asyncio.get_running_loop()

    def load_later() -> None:
        asyncio.run_coroutine_threadsafe(move_guard(here, orders), loop).result(SECONDS)
        load()

    monkeypatch.setattr(late.controller, "load", load_later)
    await asyncio.to_thread(server._load, late.controller, late.kinds, late.gateways)
    assert late.policies_sent() == ["guard"], "as it was before"
    await late.following.catch_up()
    assert late.policies_sent() == ["guard", "log-message"]


async def test_defaults_hand_out_no_api_that_another_controller_has_just_written(
    sides: tuple[Side, Side], open_late: Callable[[], Late], orders: JsonObject
) -> None:
    """Without the Defaults that were written with it, it would have no guard."""
    here, _ = sides
    await here.controller.create(attached(named(orders, "a"), "guard"))
    late = open_late()
    server._load(late.controller, late.kinds, late.gateways)
    assert late.policies_sent() == ["guard"]
    await move_guard(here, orders)
    others = defaults("others")
    others["spec"]["policies"]["before"][0]["name"] = "add-headers"
    others["spec"]["policies"]["before"][0]["params"] = {"headers": [{"name": "x-a", "value": "b"}]}
    await late.kinds["Defaults"].put(others)
    assert late.policies_sent() == []
    await late.following.catch_up()
    assert sorted(late.policies_sent()) == ["add-headers", "guard", "log-message"]


async def test_the_gateway_is_followed_as_of_the_moment_of_all_else(
    sides: tuple[Side, Side], open_late: Callable[[], Late], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, _ = sides
    late = open_late()

    async def listen_on(port: int) -> None:
        spec = {"listeners": [{"name": "http", "port": port}]}
        await here.gateways.replace({"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": spec})

    await listen_on(8080)
    changes_since, loop = late.controller.store.changes_since, asyncio.get_running_loop()

    def read_slowly(revision: int) -> Changes:
        changes = changes_since(revision)
        asyncio.run_coroutine_threadsafe(listen_on(8081), loop).result(SECONDS)
        return changes

    monkeypatch.setattr(late.controller.store, "changes_since", read_slowly)
    await late.following.catch_up()
    assert late.gateways.current.document["spec"]["listeners"][0]["port"] == 8080
    monkeypatch.undo()
    await late.following.catch_up()
    assert late.gateways.current.document["spec"]["listeners"][0]["port"] == 8081


async def test_a_plan_is_of_one_moment(
    sides: tuple[Side, Side], open_late: Callable[[], Late], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, _ = sides
    late = open_late()
    read_gateway, loop = late.controller.store.gateway, asyncio.get_running_loop()

    def read_slowly() -> StoredGateway | None:
        asyncio.run_coroutine_threadsafe(here.kinds["Consumer"].put(consumer("acme")), loop).result(SECONDS)
        return read_gateway()

    monkeypatch.setattr(late.controller.store, "gateway", read_slowly)
    source = ApiSource("acme.json", json.dumps(consumer("acme")).encode())
    plan = await Plans(late.controller, late.gateways, late.kinds).plan([source], Intent())
    assert [(change.action, change.name) for change in plan.changes] == [("add", "acme")]
    assert plan.revision == here.store.revision - 1
