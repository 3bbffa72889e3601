"""Exchanges of nodes through the management API: real streams of nodes on one side, real HTTP on the other."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlencode

import grpc
import httpx
import pytest
from gatewright_controller._gen import node_pb2, node_pb2_grpc
from gatewright_controller.apis.controller import Controller
from gatewright_controller.management.api import ApiLimits
from gatewright_controller.management.exchange_api import ExchangeTimes
from gatewright_controller.nodes.watching import WatchLimits
from gatewright_documents.values import JsonObject
from grpc import aio

from .observed_nodes import JSON_LINES, OBSERVED, Served, exchange, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


async def test_an_exchange_comes_as_the_engine_made_it(served: Served, client: httpx.AsyncClient) -> None:
    node = await served.node()
    async with client.stream("GET", "/v1/exchanges", params={"limit": "1"}, timeout=60) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        asked = await node.asked()
        assert (asked.filter, asked.kept, asked.stop, asked.seconds) == (b"{}", False, False, 0)
        await node.report(asked.id, exchange(1, path="/ä\u2028\n\r"))
        text = (await answer.aread()).decode()
    shown = exchange(1, path="/ä\u2028\n\r").decode().replace("\n", " ")
    nodes = '[{"id":"n1","state":"observed","reason":""}]'
    before = f"event: nodes\ndata: {nodes.replace('observed', 'connecting')}\n\n"
    assert text.removeprefix(before) == (
        f'event: nodes\ndata: {nodes}\n\nevent: exchange\ndata: {shown}\n\nevent: ended\ndata: {{"reason":"limit"}}\n\n'
    )


async def test_exchanges_as_lines(served: Served, client: httpx.AsyncClient) -> None:
    node = await served.node()
    async with served.watch(client) as stream:
        asked = await node.asked()
        assert await stream.next() == ("nodes", [{"id": "n1", **OBSERVED}])
        for number in range(3):
            await node.report(asked.id, exchange(number))
            assert await stream.next() == ("exchange", json.loads(exchange(number)))


async def test_all_members_of_a_filter(served: Served, client: httpx.AsyncClient, orders: JsonObject) -> None:
    assert (await client.post("/v1/apis", json=orders)).status_code == 201
    node = await served.node()
    parameters = [
        ("api", "orders-v1"), ("operation", "GET /{id}"), ("policy", "log-message:v1.0.0"), ("path", "/orders"),
        ("header", "X-User=ann=1"), ("status", "4xx,503"), ("status", "500"), ("errors", "true"), ("id", "abc"),
        ("client", "[::1]:40112"), ("shadow", "different"),
        ("sample", "0.25"), ("limit", "1"),
    ]  # fmt: skip
    async with client.stream("GET", f"/v1/exchanges?{urlencode(parameters)}", timeout=60) as answer:
        assert answer.status_code == 200
        asked = await node.asked()
        assert json.loads(asked.filter) == {
            "api": "orders-v1", "operation": "GET /{id}", "policy": "log-message:v1.0.0", "path": "/orders",
            "header": {"name": "x-user", "value": "ann=1"}, "status": ["4xx", "503", "500"], "errors": True,
            "shadow": "different",
            "id": "abc", "client": "[::1]:40112", "sample": 0.25,
        }  # fmt: skip
        await node.report(asked.id, exchange())
        await answer.aread()
    async with served.watch(client, header="x-user", policy="log-message", limit=1):
        assert (await node.asked()).stop
        assert json.loads((await node.asked()).filter) == {"header": {"name": "x-user"}, "policy": "log-message"}


BAD = {
    "colour=red": "expected no query parameter colour; known here are api, operation, policy, path, header, status,",
    "api=nope": "api: expected one of orders-v1, got 'nope'",
    "policy=nope": "policy: expected one of ",
    "client=ann": "client: expected an address such as '10.1.2.3' or '[::1]:40112', got 'ann'",
    "client=10.1.2.3:x": "client: expected an address",
    "path=orders": "path: expected the beginning of a path, such as '/orders', got 'orders'",
    "path=/x%3Fa=1": "path: expected the beginning of a path",
    "header=a%20b": "header.name: expected a header's name, such as 'x-user', got 'a b'",
    "status=6xx": "status[0]: expected a status such as '503', or a class of them such as '5xx', got '6xx'",
    "status=4xx&status=": "status[1]: expected a status",
    "errors=yes": "errors: expected true or false, got 'yes'",
    "shadow=any": "shadow: expected different, same, failed or skipped, got 'any'",
    "sample=1.5": "sample: expected a share from 0 to 1, got 1.5",
    "sample=some": "sample: expected a share from 0 to 1, got 'some'",
    "api=orders-v1&api=other": "expected one value of api, got several; leave all but one out",
    "seconds=3601": "expected seconds to be a whole number from 1 to 3600, got '3601'",
    "seconds=soon": "expected seconds to be a whole number from 1 to 3600, got 'soon'",
    "limit=0": "expected limit to be a whole number from 1 to 1000000, got '0'",
    "kept=yes": "expected kept to be true or false, got 'yes'",
    "path=x&sample=2": "path: expected the beginning of a path, such as '/orders', got 'x'; sample: expected a share",
}


@pytest.mark.parametrize("query", BAD)
async def test_what_is_wrong_with_a_query(client: httpx.AsyncClient, orders: JsonObject, query: str) -> None:
    await client.post("/v1/apis", json=orders)
    answer = await client.get(f"/v1/exchanges?{query}")
    assert answer.status_code == 400
    assert BAD[query] in answer.json()["detail"]


async def test_a_client_that_accepts_neither_format_gets_their_names(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/exchanges", headers={"accept": "application/json"})
    assert (answer.status_code, answer.json()["detail"]) == (
        406, "expected a client that accepts text/event-stream or application/x-ndjson",
    )  # fmt: skip
    head = await client.head("/v1/exchanges", headers=JSON_LINES)
    assert (head.status_code, head.headers["content-type"]) == (200, "application/x-ndjson")


async def test_watchers_with_one_filter_share_an_observation(served: Served, client: httpx.AsyncClient) -> None:
    node = await served.node()
    async with served.watch(client, errors="true") as first:
        asked = await node.asked()
        async with served.watch(client, errors="true") as second, served.watch(client) as third:
            other = await node.asked()
            assert (asked.filter, other.filter) == (b'{"errors":true}', b"{}")
            for stream in (first, second, third):
                assert (await stream.next())[0] == "nodes"
            await node.report(asked.id, exchange(1))
            await node.report(other.id, exchange(2))
            assert [(await watcher.next())[1]["id"] for watcher in (first, second, third)] == ["id-1", "id-1", "id-2"]
        assert await node.asked() == node_pb2.Observation(id=other.id, stop=True)
        await node.report(asked.id, exchange(3))
        assert (await first.next())[1]["id"] == "id-3"
    assert await node.asked() == node_pb2.Observation(id=asked.id, stop=True)


async def test_nodes_come_and_go_while_they_are_watched(served: Served, client: httpx.AsyncClient) -> None:
    async with served.watch(client, status="5xx") as stream:
        assert await stream.next() == ("nodes", [])
        first = await served.node("n1")
        first_asked = await first.asked()
        assert await stream.next() == ("nodes", [{"id": "n1", **OBSERVED}])
        second = await served.node("n2")
        second_asked = await second.asked()
        assert await stream.next() == ("nodes", [{"id": name, **OBSERVED} for name in ("n1", "n2")])
        for node, asked in ((first, first_asked), (second, second_asked)):
            assert asked.filter == b'{"status":["5xx"]}'
            await node.report(asked.id, exchange(1, node=node.id))
            assert (await stream.next())[1]["node"] == node.id
        await first.close()
        assert await stream.next() == ("nodes", [{"id": "n2", **OBSERVED}])
        again = await served.stream("n1")
        asked = await again.asked()
        assert await stream.next() == ("nodes", [{"id": name, **OBSERVED} for name in ("n1", "n2")])
        await again.report(asked.id, exchange(2))
        assert (await stream.next())[1]["id"] == "id-2"


async def test_a_second_stream_of_a_node_ends_the_first(served: Served, client: httpx.AsyncClient) -> None:
    async with served.watch(client, limit=1) as stream:
        first = await served.node()
        await first.asked()
        second = await served.stream("n1")
        asked = await second.asked()
        assert await first.code() is grpc.StatusCode.OK
        await second.report(asked.id, exchange())
        assert [event for event, _ in await stream.rest()][-2:] == ["exchange", "ended"]


async def test_a_stream_that_names_no_node_is_refused(served: Served) -> None:
    nameless = await served.stream("")
    assert await nameless.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_node_that_cannot_report_exchanges_is_named(
    served: Served, client: httpx.AsyncClient, controller: Controller
) -> None:
    async with aio.insecure_channel(served.address) as channel:
        sync = node_pb2_grpc.NodeServiceStub(channel).Sync()
        hello = node_pb2.Hello(node_id="old", engine_version="0.1.0")
        await sync.write(node_pb2.NodeMessage(hello=hello))
        await until(lambda: controller.deployment.nodes)
        async with served.watch(client) as stream:
            connecting = ("nodes", [{"id": "old", "state": "connecting", "reason": ""}])
            assert await stream.next(settled=False) == connecting
            served.observations.opening_seconds = 0.01
            node = await served.node("n1")
            await node.asked()
            event = await stream.next()
            reason = "its engine 0.1.0 cannot report exchanges; update the node to the controller's version"
            assert event == (
                "nodes",
                [{"id": "n1", **OBSERVED}, {"id": "old", "state": "unobserved", "reason": reason}],
            )


async def test_a_node_that_refuses_is_named_with_its_reason(served: Served, client: httpx.AsyncClient) -> None:
    node = await served.node()
    async with served.watch(client) as stream:
        asked = await node.asked(begins=False)
        about_to = {"id": "n1", "state": "connecting", "reason": ""}
        assert await stream.next(settled=False) == ("nodes", [about_to]), "expected it to wait for the node"
        await node.report(asked.id, ended=True, refused="expected at most 8 observations, got 9")
        assert await stream.next() == (
            "nodes", [{"id": "n1", "state": "refused", "reason": "expected at most 8 observations, got 9"}],
        )  # fmt: skip


async def test_a_node_is_observed_once_it_confirms_or_reports(served: Served, client: httpx.AsyncClient) -> None:
    """Exchanges that end before that are not reported, so a client may wait for the event. An older engine confirms by
    its first report.
    """
    node = await served.node()
    for says in ({"dropped": 0}, {"exchanges": [exchange(1)]}):
        async with served.watch(client) as stream:
            asked = await node.asked(begins=False)
            connecting = ("nodes", [{"id": "n1", "state": "connecting", "reason": ""}])
            assert await stream.next(settled=False) == connecting
            await node.report(asked.id, **says)
            assert await stream.next(settled=False) == ("nodes", [{"id": "n1", **OBSERVED}])
        assert (await node.asked()).stop


async def test_it_ends_after_so_many_and_after_its_time(served: Served, client: httpx.AsyncClient) -> None:
    node = await served.node()
    async with served.watch(client, limit=2) as stream:
        asked = await node.asked()
        await node.report(asked.id, *map(exchange, range(5)))
        events = await stream.rest()
    assert [data["id"] for event, data in events if event == "exchange"] == ["id-0", "id-1"]
    assert events[-1] == ("ended", {"reason": "limit"})
    assert (await node.asked()).stop
    async with served.watch(client, seconds=1) as stream:
        assert (await stream.rest())[-1] == ("ended", {"reason": "seconds"})


@pytest.mark.parametrize("limits", [ApiLimits(exchanges=ExchangeTimes(keep_alive_seconds=0.05))])
async def test_a_quiet_stream_sends_keep_alives(client: httpx.AsyncClient) -> None:
    async with client.stream("GET", "/v1/exchanges", timeout=60) as answer:
        lines = answer.aiter_lines()
        async with asyncio.timeout(60):
            assert [await anext(lines) for _ in range(5)][2:] == ["", ": keep-alive", ""]
    async with client.stream("GET", "/v1/exchanges", headers=JSON_LINES, timeout=60) as answer:
        lines = answer.aiter_lines()
        async with asyncio.timeout(60):
            assert [await anext(lines) for _ in range(3)][1:] == ["", ""]


@pytest.mark.parametrize("watch_limits", [WatchLimits(held_bytes=256 * 1024)])
async def test_a_reader_that_takes_nothing_delays_no_other_and_gets_the_number_of_missed_exchanges(
    served: Served, client: httpx.AsyncClient
) -> None:
    node = await served.node()
    count, padding = 400, "x" * 100_000
    port = int(served.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(b"GET /v1/exchanges HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: application/x-ndjson\r\n\r\n")
    asked = await node.asked()
    async with served.watch(client, limit=count) as stream:
        await stream.next()
        for number in range(count):
            await node.report(asked.id, exchange(number, padding=padding))
            assert (await stream.next())[1]["id"] == f"id-{number}"
    received = bytearray()
    newest = f'"id-{count - 1}"'.encode()
    async with asyncio.timeout(60):
        while newest not in received[-200_000:] or not received.endswith(b"}\n\r\n"):
            received += await reader.read(1024 * 1024)
    writer.close()
    lines = [line for line in received.split(b"\n") if line.startswith(b'{"')]
    events = [next(iter(json.loads(line).items())) for line in lines]
    ids = [data["id"] for event, data in events if event == "exchange"]
    dropped = sum(data["exchanges"] for event, data in events if event == "dropped")
    assert dropped > 0
    assert len(ids) + dropped == count
    assert ids[-1] == f"id-{count - 1}", "expected the newest to be what is left"


async def test_exchanges_that_a_node_has_dropped_are_counted(served: Served, client: httpx.AsyncClient) -> None:
    node = await served.node()
    async with served.watch(client) as stream:
        asked = await node.asked()
        assert (await stream.next())[0] == "nodes"
        await node.report(asked.id, dropped=17)
        assert await stream.next() == ("dropped", {"exchanges": 17})


@pytest.mark.parametrize("watch_limits", [WatchLimits(most_watchers=1)])
async def test_only_so_many_watch_at_once(served: Served, client: httpx.AsyncClient) -> None:
    node = await served.node()
    async with served.watch(client):
        asked = await node.asked()
        refused = await client.get("/v1/exchanges")
        assert (refused.status_code, refused.json()["detail"]) == (
            503, "1 watch already; end one, or try again later",
        )  # fmt: skip
        assert refused.headers["retry-after"] == "10"
    assert await node.asked() == node_pb2.Observation(id=asked.id, stop=True)
    async with served.watch(client) as stream:
        assert (await stream.next(settled=False))[0] == "nodes"
