"""Draining through the management API: a real stream of a node on one side, HTTP on the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from gatewright_controller._gen import node_pb2, node_pb2_grpc
from gatewright_controller.apis.controller import Controller
from gatewright_controller.nodes import draining
from gatewright_controller.nodes.node_server import start_node_server
from gatewright_controller.nodes.observations import Observations
from grpc import aio

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
SERVING, DRAINING, DRAINED = (
    node_pb2.DRAIN_STATE_SERVING,
    node_pb2.DRAIN_STATE_DRAINING,
    node_pb2.DRAIN_STATE_DRAINED,
)


@pytest.fixture(scope="module", autouse=True)
async def one_event_loop(anyio_backend: str) -> AsyncIterator[None]:  # noqa: ARG001 - by which it runs at all
    """As in test_node_server.py."""
    yield  # noqa: PT022 - it lives as long as this does not return


class Node:
    """A node's stream."""

    def __init__(self, address: str) -> None:
        self._channel = aio.insecure_channel(address)
        self._stream = node_pb2_grpc.NodeServiceStub(self._channel).Sync()

    async def say(self, drain: node_pb2.DrainState = node_pb2.DRAIN_STATE_UNSPECIFIED, **labels: str) -> None:
        hello = node_pb2.Hello(node_id="n1", engine_version="1.2", drain=drain, labels=labels)
        await self._stream.write(node_pb2.NodeMessage(hello=hello))

    async def order(self) -> node_pb2.Drain:
        """The next one; updates before it do not count."""
        async with asyncio.timeout(60):
            while True:
                message = await self._stream.read()
                assert isinstance(message, node_pb2.ControllerMessage), message
                if message.HasField("drain"):
                    return message.drain

    async def close(self) -> None:
        await self._channel.close()


@pytest.fixture
async def address(controller: Controller, observations: Observations, tmp_path: Path) -> AsyncIterator[str]:
    """Where nodes connect."""
    place = f"unix:{tmp_path / 'n.sock'}"
    server = await start_node_server(controller.deployment, observations, place)
    yield place
    observations.stop()
    controller.deployment.stop()
    await server.stop(1)


@asynccontextmanager
async def connected(
    address: str, controller: Controller, drain: node_pb2.DrainState, **labels: str
) -> AsyncIterator[Node]:
    node = Node(address)
    await node.say(drain, **labels)
    async with asyncio.timeout(60):
        while "n1" not in controller.deployment.nodes:
            await asyncio.sleep(0.001)
    try:
        yield node
    finally:
        await node.close()


async def state(client: httpx.AsyncClient) -> dict[str, str]:
    drain: dict[str, str] = (await client.get("/v1/nodes/n1")).json()["drain"]
    return drain


async def test_a_node_is_drained_and_serves_again(
    address: str, controller: Controller, client: httpx.AsyncClient
) -> None:
    async with connected(address, controller, SERVING) as node:
        assert await state(client) == {"state": "serving"}
        waiting = asyncio.create_task(client.post("/v1/nodes/n1/drain?wait=60&accept=3&reason=new%20kernel"))
        assert await node.order() == node_pb2.Drain(drained=True, accept_seconds=3)
        await node.say(DRAINING)
        while (await state(client)) == {"state": "serving"}:
            await asyncio.sleep(0.001)
        assert not waiting.done()
        await node.say(DRAINED)
        answer = await waiting
        assert (answer.status_code, answer.json()["drain"]["state"]) == (200, "drained")
        assert [answer.json()["drain"][member] for member in ("by", "reason")] == ["local", "new kernel"]
        begun = await client.post("/v1/nodes/n1/undrain")
        assert (begun.status_code, begun.json()["drain"]) == (202, {"state": "drained"})
        assert await node.order() == node_pb2.Drain()
        await node.say(SERVING)
        assert (await client.post("/v1/nodes/n1/undrain?wait=60")).status_code == 200
        assert await state(client) == {"state": "serving"}
    entries = (await client.get("/v1/audit?limit=3")).json()["entries"]
    assert [(entry["action"], entry["kind"], entry["name"], entry["reason"]) for entry in entries] == [
        ("undrainNode", "Node", "n1", ""),
        ("undrainNode", "Node", "n1", ""),
        ("drainNode", "Node", "n1", "new kernel"),
    ]


async def test_a_node_that_drains_says_so_to_another_controller(
    address: str, controller: Controller, client: httpx.AsyncClient
) -> None:
    async with connected(address, controller, DRAINED):
        assert await state(client) == {"state": "drained"}
        assert (await client.post("/v1/nodes/n1/drain")).status_code == 200


@pytest.mark.parametrize(
    ("drain", "status", "detail"),
    [
        (None, 404, "no node n1 is connected; those that are: none"),
        (
            node_pb2.DRAIN_STATE_UNSPECIFIED,
            501,
            "node n1 cannot be drained by a controller: start it by this version's",
        ),
        (SERVING, 504, "expected node n1 to begin within 0.01 s, got no answer; is it overloaded?"),
    ],
)
async def test_a_node_that_cannot_be_drained_says_why(
    address: str,
    controller: Controller,
    client: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    drain: node_pb2.DrainState | None,
    status: int,
    detail: str,
) -> None:
    monkeypatch.setattr(draining, "ANSWER_SECONDS", 0.01)
    if drain is None:
        answer = await client.post("/v1/nodes/n1/drain")
    else:
        async with connected(address, controller, drain):
            answer = await client.post("/v1/nodes/n1/drain")
    assert (answer.status_code, answer.json()["detail"][: len(detail)]) == (status, detail)


@pytest.mark.parametrize(
    ("verb", "before", "order", "after", "shown"),
    [
        ("drain", SERVING, node_pb2.Drain(drained=True, accept_seconds=5), DRAINED, "drained"),
        ("undrain", DRAINED, node_pb2.Drain(), SERVING, "serving"),
    ],
)
async def test_a_node_that_has_started_again_is_told_again(
    address: str,
    controller: Controller,
    client: httpx.AsyncClient,
    verb: str,
    before: node_pb2.DrainState,
    order: node_pb2.Drain,
    after: node_pb2.DrainState,
    shown: str,
) -> None:
    async with connected(address, controller, before) as node:
        waiting = asyncio.create_task(client.post(f"/v1/nodes/n1/{verb}?wait=60"))
        assert await node.order() == order
    while "n1" in controller.deployment.nodes:
        await asyncio.sleep(0.001)
    async with connected(address, controller, before) as node:
        assert await node.order() == order
        assert not waiting.done()
        await node.say(after)
        answer = await waiting
    assert (answer.status_code, answer.json()["drain"]["state"]) == (200, shown)


async def test_a_node_that_was_to_serve_meanwhile_is_not_told_to_drain_again(
    address: str, controller: Controller, client: httpx.AsyncClient
) -> None:
    async with connected(address, controller, SERVING) as node:
        waiting = asyncio.create_task(client.post("/v1/nodes/n1/drain?wait=60"))
        assert (await node.order()).drained
        await node.say(DRAINING)
        while (await state(client))["state"] == "serving":
            await asyncio.sleep(0.001)
        assert (await client.post("/v1/nodes/n1/undrain")).status_code == 202
        assert not (await node.order()).drained
    while "n1" in controller.deployment.nodes:
        await asyncio.sleep(0.001)
    async with connected(address, controller, SERVING) as node:
        await client.post("/v1/nodes/n1/undrain")
        assert not (await node.order()).drained, "the first order that it gets"
    waiting.cancel()


@pytest.mark.parametrize(("verb", "state"), [("drain", DRAINING), ("undrain", DRAINED)])
async def test_a_node_that_goes_and_does_not_return_is_not_waited_for(
    address: str,
    controller: Controller,
    client: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    state: node_pb2.DrainState,
) -> None:
    monkeypatch.setattr(draining, "RETURN_SECONDS", 0.01)
    async with connected(address, controller, state) as node:
        waiting = asyncio.create_task(client.post(f"/v1/nodes/n1/{verb}?wait=60"))
        await node.order()
    async with asyncio.timeout(40):
        answer = await waiting
    assert (answer.status_code, answer.json()["detail"]) == (
        503,
        "node n1 has disconnected: see whether it runs, and repeat this once it is connected",
    )
