"""The management API while its PostgreSQL is away: a problem with the reason, and the same where health is reported."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import postgresql_server
import pytest
from gatewright_controller.apis.controller import Controller
from gatewright_controller.management.api import ApiLimits
from gatewright_controller.store import Store, open_store
from gatewright_documents.values import JsonObject

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


async def test_a_stranger_is_not_told_where_the_database_is(
    controller: Controller,  # noqa: ARG001 - of a store that is open before the server goes
    client_with: Callable[..., httpx.AsyncClient],
    postgresql: postgresql_server.Server,
) -> None:
    client = client_with(ApiLimits(), token="of-the-operator")  # noqa: S106
    with away(postgresql):
        answer = await client.get("/v1/apis", headers={"authorization": "Bearer gatewright_unknown"})
    assert trouble_in(answer).startswith("the controller has no connection to its database, and its log says why")
