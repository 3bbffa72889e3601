"""The management API while its PostgreSQL is away: a problem with the reason, and the same where health is reported."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import postgresql_server
import pytest
from gatewright_controller._gen import node_pb2, node_pb2_grpc
from gatewright_controller.apis.controller import Controller
from gatewright_controller.management.api import ApiLimits
from gatewright_controller.nodes.node_server import start_node_server
from gatewright_controller.nodes.observations import Observations
from gatewright_controller.store import Store, bounded_connection, open_store
from gatewright_documents.values import JsonObject
from grpc import aio

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
REASON = "the controller has no connection to its database: postgresql://"


@pytest.fixture
async def store(new_postgresql: Callable[[], str]) -> AsyncIterator[Store]:
    store = open_store(new_postgresql())
    yield store
    store.close()


@contextlib.contextmanager
def away(server: postgresql_server.Server) -> Iterator[None]:
    server.stop()
    try:
        yield
    finally:
        server.start()


def trouble_in(answer: httpx.Response) -> str:
    """The detail of a problem that says that there is no database."""
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["type"] == "urn:gatewright:problem:no-database"
    return str(answer.json()["detail"])


async def test_reads_and_writes_are_refused_with_the_reason(
    client: httpx.AsyncClient,
    postgresql: postgresql_server.Server,
    orders: JsonObject,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert (await client.post("/v1/apis", json=orders)).status_code == 201
    with away(postgresql):
        for _ in range(4):
            read = trouble_in(await client.get("/v1/apis/orders-v1"))
            written = trouble_in(await client.put("/v1/apis/orders-v1", json=orders))
        assert read.startswith(REASON)
        assert written.endswith("what was stored before is as it was")
        health = (await client.get("/healthz")).json()
        assert (health["status"], health["reason"][: len(REASON)]) == ("no database", REASON)
        assert "gatewright_controller_database_open 0.0" in (await client.get("/metrics")).text
    messages = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert len(messages) == len(set(messages)) <= 3, "one line for each reason, and one on the audit log"
    assert (await client.get("/v1/apis/orders-v1")).status_code == 200
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    assert "gatewright_controller_database_open 1.0" in (await client.get("/metrics")).text


@pytest.fixture(scope="module", autouse=True)
async def one_event_loop(anyio_backend: str) -> AsyncIterator[None]:  # noqa: ARG001 - by which it runs at all
    """As in nodes/test_node_server.py."""
    yield  # noqa: PT022 - it lives as long as this does not return


async def test_a_server_that_hangs_is_said_to_and_streams_of_nodes_go_on(
    client: httpx.AsyncClient,
    controller: Controller,
    observations: Observations,
    postgresql: postgresql_server.Server,
    orders: JsonObject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounded_connection, "SILENT_SECONDS", 2.0)
    assert (await client.post("/v1/apis", json=orders)).status_code == 201
    address = f"unix:{tmp_path / 'controller.sock'}"
    server = await start_node_server(controller.deployment, observations, address)
    async with aio.insecure_channel(address) as channel, asyncio.timeout(60):
        stream = node_pb2_grpc.NodeServiceStub(channel).Sync()
        await stream.write(node_pb2.NodeMessage(hello=node_pb2.Hello(node_id="n1")))
        assert isinstance(first := await stream.read(), node_pb2.ControllerMessage)
        assert [bundle.api for bundle in first.update.bundles] == ["orders-v1"]
        with postgresql.hanging():
            writes = [asyncio.create_task(client.put("/v1/apis/orders-v1", json=orders)) for _ in range(10)]
            controller.deployment.order(controller.deployment.nodes["n1"], node_pb2.Drain(drained=True))
            assert isinstance(order := await stream.read(), node_pb2.ControllerMessage)
            assert order.drain.drained
            assert not any(write.done() for write in writes), "they wait for the server"
            for write in writes:
                assert trouble_in(await write).startswith(REASON)
            health = (await client.get("/healthz")).json()
            assert (health["status"], health["reason"][: len(REASON)]) == ("no database", REASON)
        assert (await client.put("/v1/apis/orders-v1", json=orders)).status_code == 200
        controller.deployment.stop()
    await server.stop(1)


async def test_a_stranger_is_not_told_where_the_database_is(
    controller: Controller,  # noqa: ARG001 - of a store that is open before the server goes
    client_with: Callable[..., httpx.AsyncClient],
    postgresql: postgresql_server.Server,
) -> None:
    client = client_with(ApiLimits(), token="of-the-operator")  # noqa: S106
    with away(postgresql):
        answer = await client.get("/v1/apis", headers={"authorization": "Bearer gatewright_unknown"})
    assert trouble_in(answer).startswith("the controller has no connection to its database, and its log says why")
