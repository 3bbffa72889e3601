"""What nodes have kept of exchanges: one by its request id, or all that fit."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from gatewright_controller._gen import node_pb2
from gatewright_controller.management import exchange_api
from gatewright_controller.management.api import ApiLimits
from gatewright_controller.management.exchange_api import ExchangeTimes

from .reporting import REPORTS, ReportingNode, Served, exchange

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


async def answer_kept(node: ReportingNode, *exchanges: bytes) -> node_pb2.Observation:
    """The node's answer to the next question for what it has kept."""
    asked = await node.asked()
    while asked.stop:
        asked = await node.asked()
    assert asked.kept
    await node.report(asked.id, *exchanges, ended=True)
    return asked


async def test_one_exchange_by_its_request_id(served: Served, client: httpx.AsyncClient) -> None:
    first, second = await served.node("n1"), await served.node("n2")
    older = exchange(7, startedAt="2026-01-01T00:00:00.000001Z")
    newer = exchange(7, startedAt="2026-01-01T00:00:00.000002Z")
    getting = asyncio.create_task(client.get("/v1/exchanges/id-7", timeout=30))
    asked = await answer_kept(first, older, newer)
    assert json.loads(asked.filter) == {"id": "id-7"}
    await answer_kept(second)
    got = await getting
    assert (got.status_code, got.content, got.headers["content-type"]) == (200, newer, "application/json")
    getting = asyncio.create_task(client.get("/v1/exchanges/id-8", timeout=30))
    for node in (first, second):
        await answer_kept(node)
    missing = await getting
    assert missing.status_code == 404
    assert missing.json()["detail"] == f"no node has an exchange id-8; {exchange_api.KEPT}"


async def test_a_node_that_goes_is_not_waited_for(served: Served, client: httpx.AsyncClient) -> None:
    first, second = await served.node("n1"), await served.node("n2")
    getting = asyncio.create_task(client.get("/v1/exchanges/id-1", timeout=30))
    await answer_kept(first)
    await second.asked()
    await second.close()
    assert (await getting).status_code == 404


@pytest.mark.parametrize("limits", [ApiLimits(exchanges=ExchangeTimes(find_seconds=0.1))])
async def test_a_node_that_does_not_answer_is_named(served: Served, client: httpx.AsyncClient) -> None:
    await served.node()
    silent = await client.get("/v1/exchanges/id-1", timeout=30)
    assert (silent.status_code, silent.json()["detail"]) == (504, "expected an answer within 0.1 s, got none of n1")


async def test_all_that_is_kept_and_then_no_more(served: Served, client: httpx.AsyncClient) -> None:
    node = await served.node()
    async with served.watch(client, kept="true", errors="true") as stream:
        asked = await answer_kept(node, exchange(1), exchange(2))
        assert asked.filter == b'{"errors":true}'
        assert await stream.rest() == [
            ("nodes", [{"id": "n1", **REPORTS}]),
            ("exchange", json.loads(exchange(1))),
            ("exchange", json.loads(exchange(2))),
            ("ended", {"reason": "told"}),
        ]
