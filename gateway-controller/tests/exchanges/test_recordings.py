"""Recordings: nodes keep the exchanges that match, without a watcher."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from gatewright_controller._gen import node_pb2
from gatewright_controller.management.api import ApiLimits
from gatewright_controller.management.exchange_api import ExchangeTimes
from gatewright_controller.nodes.watching import WatchLimits

from .observed_nodes import OBSERVED, ObservedNode, Served

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


async def recorded(
    client: httpx.AsyncClient, node: ObservedNode, wanted: object, **answer: Any
) -> tuple[httpx.Response, node_pb2.Observation]:
    """The HTTP answer, which comes once the node has taken the observation, and the latter. answer: the node's."""
    posting = asyncio.create_task(client.post("/v1/recordings", json=wanted))
    asked, after = await node.asked(), await node.asked()
    assert (asked.record_only, after.kept) == (True, True)
    if answer:
        await node.report(asked.id, **answer)
    await node.report(after.id, ended=True)
    assert await node.asked() == node_pb2.Observation(id=after.id, stop=True)
    return await posting, asked


async def test_a_node_that_refuses_a_recording_is_named_at_once(served: Served, client: httpx.AsyncClient) -> None:
    reason = "expected at most 64 recordings, got 65"
    made, _ = await recorded(client, await served.node(), {}, ended=True, refused=reason)
    assert made.json()["nodes"] == [{"id": "n1", "state": "refused", "reason": reason}]


@pytest.mark.parametrize("limits", [ApiLimits(exchanges=ExchangeTimes(begin_seconds=0.01))])
async def test_a_node_that_does_not_answer_holds_up_no_recording(served: Served, client: httpx.AsyncClient) -> None:
    node = await served.node()
    assert (await client.post("/v1/recordings", json={})).status_code == 201
    assert (await node.asked()).record_only


async def test_a_recording_from_its_beginning_to_its_end(served: Served, client: httpx.AsyncClient) -> None:
    node = await served.node()
    made, asked = await recorded(client, node, {"filter": {"status": "5xx"}, "seconds": 1200})
    assert made.status_code == 201
    assert (json.loads(asked.filter), asked.kept, asked.record_only) == ({"status": "5xx"}, False, True)
    assert 1000 <= asked.seconds <= 1200
    found = made.json()
    assert made.headers["location"] == f"/v1/recordings/{found['id']}"
    assert (found["filter"], found["seconds"]) == ({"status": "5xx"}, 1200)
    assert found["nodes"] == [{"id": "n1", **OBSERVED}]
    again = await served.node("n2")
    assert 1000 <= (await again.asked()).seconds <= 1200
    await again.report(asked.id, ended=True, refused="expected at most 64 recordings, got 65")
    refused = {"id": "n2", "state": "refused", "reason": "expected at most 64 recordings, got 65"}
    async with asyncio.timeout(60):
        while (shown := (await client.get(made.headers["location"])).json())["nodes"][1] != refused:
            pass
    assert (await client.get("/v1/recordings")).json() == {"recordings": [shown]}
    assert (shown["id"], shown["nodes"][0]) == (found["id"], {"id": "n1", **OBSERVED})
    assert (await client.delete(made.headers["location"])).status_code == 204
    assert await node.asked() == node_pb2.Observation(id=asked.id, stop=True)
    for method in ("GET", "DELETE"):
        gone = await client.request(method, made.headers["location"])
        assert gone.status_code == 404
        assert gone.json()["detail"].startswith(f"no recording {found['id']} is under way")
    assert (await client.get("/v1/recordings")).json() == {"recordings": []}


async def test_a_recording_ends_by_itself(served: Served, client: httpx.AsyncClient) -> None:
    node = await served.node()
    made, asked = await recorded(client, node, {"seconds": 1})
    assert (made.json()["filter"], asked.seconds) == ({}, 1)
    assert await node.asked() == node_pb2.Observation(id=asked.id, stop=True)
    assert (await client.get("/v1/recordings")).json() == {"recordings": []}


@pytest.mark.parametrize("watch_limits", [WatchLimits(most_recordings=1)])
async def test_what_is_wrong_with_a_recording(served: Served, client: httpx.AsyncClient) -> None:
    node = await served.node()
    wrong = await client.post("/v1/recordings", json={"filter": {"header": "x", "status": [5]}, "seconds": 7200})
    assert wrong.status_code == 422
    assert {error["field"]: error["message"] for error in wrong.json()["errors"]} == {
        "filter.header": "expected an object with name and value, got 'x'",
        "filter.status[0]": "expected a status such as '503', or a class of them such as '5xx', got 5",
        "seconds": "expected seconds from 1 to 3600, got 7200",
    }
    unknown = await client.post("/v1/recordings", json={"filter": {"api": "nope"}})
    assert (unknown.status_code, unknown.json()["errors"]) == (
        422, [{"field": "filter.api", "message": "expected no api, for there is none, got 'nope'"}],
    )  # fmt: skip
    json_type = {"content-type": "application/json"}
    for body, status in ((b"{", 400), (b"[]", 400), (b"", 400), (b'"' + b"x" * 70_000 + b'"', 413)):
        assert (await client.post("/v1/recordings", content=body, headers=json_type)).status_code == status
    assert (await client.post("/v1/recordings", content=b"{}")).status_code == 415
    assert (await recorded(client, node, {}))[0].status_code == 201
    more = await client.post("/v1/recordings", json={})
    assert (more.status_code, more.json()["detail"]) == (
        409, "1 recordings are under way already; end one (DELETE /v1/recordings/ID), or wait until one is over",
    )  # fmt: skip
