"""Documents of nodes through the management API: real streams of nodes on one side, HTTP on the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from gatewright_controller._gen import node_pb2, node_pb2_grpc
from gatewright_controller.apis.controller import Controller
from gatewright_controller.management.api import ApiLimits
from gatewright_controller.nodes import node_documents
from gatewright_controller.nodes.node_documents import DocumentLimits
from gatewright_controller.nodes.node_server import start_node_server
from gatewright_controller.nodes.observations import Observations
from grpc import aio

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
ALL = tuple(node_documents.DOCUMENTS.values())
ClientWith = Callable[[ApiLimits], httpx.AsyncClient]
TEXT = "text/plain; version=1.0.0; charset=utf-8"


@pytest.fixture(scope="module", autouse=True)
async def one_event_loop(anyio_backend: str) -> AsyncIterator[None]:  # noqa: ARG001 - by which it runs at all
    """As in test_node_server.py."""
    yield  # noqa: PT022 - it lives as long as this does not return


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


class ConnectedNode:
    """A node's two streams."""

    def __init__(self, address: str, node_id: str, version: str) -> None:
        self.id = node_id
        self._channel = aio.insecure_channel(address)
        stub = node_pb2_grpc.NodeServiceStub(self._channel)
        self._sync, self._observe = stub.Sync(), stub.Observe()
        self._hello = node_pb2.Hello(node_id=node_id, engine_version=version)

    async def connect(self) -> None:
        await self._sync.write(node_pb2.NodeMessage(hello=self._hello))

    async def observe(self, *documents: int) -> None:
        await self._observe.write(node_pb2.Observed(node_id=self.id, documents=documents))  # type: ignore[arg-type]

    async def asked(self) -> node_pb2.Observation:
        async with asyncio.timeout(60):
            message = await self._observe.read()
        assert isinstance(message, node_pb2.Observation), message
        return message

    async def report(self, observation: int, *pieces: bytes, **end: Any) -> None:
        for piece in pieces:
            await self._observe.write(node_pb2.Observed(observation=observation, piece=piece))
        await self._observe.write(node_pb2.Observed(observation=observation, ended=True, **end))

    async def answer_next(self, *pieces: bytes, **end: Any) -> int:
        """Sends the next document that it is asked for, and returns which one that was."""
        asked = await self.asked()
        await self.report(asked.id, *pieces, **end)
        return asked.document

    async def close(self) -> None:
        await self._channel.close()


class Nodes:
    """The nodes of a test."""

    def __init__(self, address: str, controller: Controller, known: Observations) -> None:
        self._address, self._controller, self._known = address, controller, known
        self._all: list[ConnectedNode] = []

    async def connected(self, node_id: str = "n1", version: str = "0.1.0") -> ConnectedNode:
        node = ConnectedNode(self._address, node_id, version)
        self._all.append(node)
        await node.connect()
        await until(lambda: node_id in self._controller.deployment.nodes)
        return node

    async def observed(self, node_id: str = "n1", documents: tuple[int, ...] = ALL) -> ConnectedNode:
        node = await self.connected(node_id)
        await node.observe(*documents)
        await until(lambda: self._known.observed(node_id))
        return node

    async def close(self) -> None:
        for node in self._all:
            await node.close()


@pytest.fixture
async def nodes(controller: Controller, observations: Observations, tmp_path: Path) -> AsyncIterator[Nodes]:
    address = f"unix:{tmp_path / 'n.sock'}"
    server = await start_node_server(controller.deployment, observations, address)
    nodes = Nodes(address, controller, observations)
    yield nodes
    await nodes.close()
    observations.stop()
    controller.deployment.stop()
    await server.stop(1)


async def detail(client: httpx.AsyncClient, path: str, status: int) -> str:
    answer = await client.get(path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


@pytest.mark.parametrize(
    ("name", "document", "media_type"),
    [
        ("metrics", node_pb2.DOCUMENT_METRICS, TEXT),
        ("stats", node_pb2.DOCUMENT_STATS, "application/json"),
        ("chains", node_pb2.DOCUMENT_CHAINS, "application/json"),
        ("clusters", node_pb2.DOCUMENT_CLUSTERS, "application/json"),
        ("notes", node_pb2.DOCUMENT_NOTES, "application/json"),
    ],
)
async def test_a_document_is_passed_on_as_the_node_sends_it(
    nodes: Nodes, client: httpx.AsyncClient, name: str, document: int, media_type: str
) -> None:
    node = await nodes.observed("n 1/ü")
    getting = asyncio.create_task(client.get(f"/v1/nodes/n%201%2F%C3%BC/{name}"))
    asked = await node.asked()
    assert (asked.document, asked.filter, asked.kept, asked.seconds, asked.record_only) == (
        document,
        b"",
        False,
        0,
        False,
    )
    await node.report(asked.id, b"\x00\xff{", b" as it is }")
    answer = await getting
    assert (answer.status_code, answer.content) == (200, b"\x00\xff{ as it is }")
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == (media_type, "no-store")


async def test_nodes_and_what_they_can_be_asked_for(nodes: Nodes, client: httpx.AsyncClient) -> None:
    await nodes.observed("new")
    await nodes.connected("old", "0.0.9")
    shown = (await client.get("/v1/nodes")).json()["nodes"]
    assert [(node["id"], node["documents"]) for node in shown] == [
        ("new", ["chains", "clusters", "metrics", "notes", "stats"]),
        ("old", []),
    ]
    assert (await client.get("/v1/nodes/new")).json() == shown[0]
    assert await detail(client, "/v1/nodes/other", 404) == "no node other is connected; those that are: new or old"
    assert await detail(client, "/v1/nodes/other/stats", 404) == (
        "no node other is connected; those that are: new or old"
    )


async def test_clients_that_ask_at_once_share_one_question(nodes: Nodes, client: httpx.AsyncClient) -> None:
    node = await nodes.observed()
    getting = [asyncio.create_task(client.get("/v1/nodes/n1/stats")) for _ in range(20)]
    asked = await node.asked()
    other = asyncio.create_task(client.get("/v1/nodes/n1/metrics"))
    assert (await node.asked()).document == node_pb2.DOCUMENT_METRICS, "expected no second question for the same"
    getting[0].cancel()  # the others still get the answer
    await node.report(asked.id, b"{}")
    await node.report(asked.id + 1, b"x 1\n")
    assert {(await answer).content for answer in getting[1:]} == {b"{}"}
    assert (await other).content == b"x 1\n"


async def test_an_answer_is_given_to_others_for_a_second_and_then_asked_anew(
    nodes: Nodes, client_with: ClientWith
) -> None:
    node = await nodes.observed()
    client = client_with(ApiLimits(DocumentLimits(fresh_seconds=3600.0)))
    getting = asyncio.create_task(client.get("/v1/nodes/n1/stats"))
    await node.answer_next(b"1")
    assert (await getting).content == b"1"
    assert (await client.get("/v1/nodes/n1/stats")).content == b"1"
    client = client_with(ApiLimits(DocumentLimits(fresh_seconds=0.0)))
    for number in (b"2", b"3"):
        getting = asyncio.create_task(client.get("/v1/nodes/n1/metrics"))
        assert await node.answer_next(number) == node_pb2.DOCUMENT_METRICS
        assert (await getting).content == number
        await until(lambda: not [task for task in asyncio.all_tasks() if task.get_name() == "metrics of n1"])
        await asyncio.sleep(0.01)  # a timer that is due comes first


async def test_a_node_that_is_silent(nodes: Nodes, client: httpx.AsyncClient, client_with: ClientWith) -> None:
    node = await nodes.observed()
    impatient = client_with(ApiLimits(DocumentLimits(answer_seconds=0.05)))
    assert await detail(impatient, "/v1/nodes/n1/stats", 504) == (
        "expected an answer of node n1 within 0.05 s, got none; is it overloaded?"
    )
    late = await node.asked()
    getting = asyncio.create_task(client.get("/v1/nodes/n1/stats"))
    asked = await node.asked()
    await node.report(late.id, b"late")  # its request is over
    await node.report(asked.id, b"in time")
    assert (await getting).content == b"in time"


async def test_a_node_that_refuses_goes_or_sends_too_much(nodes: Nodes, client_with: ClientWith) -> None:
    node, client = await nodes.observed(), client_with(ApiLimits(DocumentLimits(most_bytes=10)))
    getting = asyncio.create_task(detail(client, "/v1/nodes/n1/stats", 502))
    await node.answer_next(b"half", refused="the disk is on fire")
    assert await getting == "node n1 does not report its stats: the disk is on fire"
    getting = asyncio.create_task(detail(client, "/v1/nodes/n1/stats", 502))
    await node.answer_next(b"12345", b"678901", b"2")
    assert await getting == (
        "node n1 does not report its stats: expected at most 10 bytes, got more; ask the node itself"
    )
    getting = asyncio.create_task(detail(client, "/v1/nodes/n1/stats", 503))
    await node.asked()
    await node.close()
    assert await getting == "node n1 does not report its stats: the node disconnected"


async def test_an_engine_that_cannot_be_asked_is_asked_nothing(
    nodes: Nodes, client: httpx.AsyncClient, observations: Observations
) -> None:
    """An engine from before Observe, and one from before documents, which would misread the request."""
    older = await nodes.observed("older", ())
    some = await nodes.observed("some", (node_pb2.DOCUMENT_STATS,))
    assert await detail(client, "/v1/nodes/older/stats", 501) == (
        "node older cannot report its stats: its engine 0.1.0 is too old; update the node to the controller's version"
    )
    assert "its metrics: its engine" in await detail(client, "/v1/nodes/some/metrics", 501)
    getting = asyncio.create_task(client.get("/v1/nodes/some/stats"))
    await some.answer_next(b"{}")
    assert (await getting).status_code == 200
    observations.opening_seconds = 0.01
    await nodes.connected("oldest", "")
    assert await detail(client, "/v1/nodes/oldest/stats", 501) == (
        "node oldest cannot report its stats: its engine is too old; update the node to the controller's version"
    )
    unasked = asyncio.create_task(older.asked())
    assert (await asyncio.wait([unasked], timeout=0.05))[0] == set()
    unasked.cancel()


async def test_a_node_that_has_just_come_is_waited_for(nodes: Nodes, client: httpx.AsyncClient) -> None:
    node = await nodes.connected()
    getting = asyncio.create_task(client.get("/v1/nodes/n1/stats"))
    await until(lambda: any(task.get_name() == "stats of n1" for task in asyncio.all_tasks()))
    await node.observe(*ALL)
    await node.answer_next(b"{}")
    assert (await getting).status_code == 200


async def test_only_so_many_are_asked_at_once(nodes: Nodes, client_with: ClientWith) -> None:
    """Answers of nodes are held until they are sent."""
    most = 3
    client = client_with(ApiLimits(DocumentLimits(most_at_once=most)))
    all_nodes = [await nodes.observed(f"n{number}") for number in range(most + 1)]
    getting = [asyncio.create_task(client.get(f"/v1/nodes/{node.id}/stats")) for node in all_nodes]
    asked = [await node.asked() for node in all_nodes[:-1]]
    last = asyncio.create_task(all_nodes[-1].asked())
    assert (await asyncio.wait([last], timeout=0.05))[0] == set()
    await all_nodes[0].report(asked[0].id, b"0")
    question = await last
    for node, id_ in zip(all_nodes[1:], [*(observation.id for observation in asked[1:]), question.id], strict=True):
        await node.report(id_, b"1")
    assert [(await answer).content for answer in getting] == [b"0", *[b"1"] * most]
