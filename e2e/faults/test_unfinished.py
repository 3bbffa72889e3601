"""Unfinished messages: requests that come too slowly, and bodies that together exceed the engine's memory."""

from __future__ import annotations

import asyncio
import json
import queue
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
import pytest
from websockets.asyncio.client import connect

from e2e.faults import unfinished
from e2e.faults.environment import Setting, started_environment
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.grpc_upstream import GrpcUpstream
from e2e.kit.lone_envoy import HEADERS, Engine, connection_manager, immediate_response, lone_envoy, route
from e2e.kit.upstream import Upstream
from e2e.kit.websocket_upstream import WebsocketUpstream

LIMIT_SECONDS = 2.0
SOON_SECONDS = 10.0
BUDGET = 256 << 10
LARGE_PART = BUDGET * 3 // 8  # two of them leave no room for a quarter and its copy
PROBLEM = "application/problem+json"
SLOW_HEADERS = b"POST /plain/x HTTP/1.1\r\nhost: a\r\nx-slow: "


@pytest.fixture(scope="module")
def gateway(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    options = ("--request-limit", f"{LIMIT_SECONDS:g}s", "--body-memory", str(BUDGET))
    with running(build, tmp_path_factory.mktemp("unfinished"), *options) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def apis(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("plain", upstream.url))
    gateway.deploy(api("reads", upstream.url, [attach("body-length")]))
    gateway.deploy(api("streams-and-reads", upstream.url, [attach("pass-on"), attach("body-length")]))
    gateway.deploy(api("reads-if", upstream.url, [attach("body-length", onError={"bodyTooLarge": "continue"})]))


# ------------------------------------------------------------------ time


def answer_of(gateway: Gateway, *pieces: bytes, gap: float = 0.3) -> tuple[bytes, int]:
    """The answer to a request whose last piece is sent again and again, after so many of them."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=SOON_SECONDS) as connection:
        for piece in pieces[:-1]:
            connection.sendall(piece)
        connection.settimeout(gap)
        for sent in range(int(SOON_SECONDS / gap)):
            connection.sendall(pieces[-1])
            with suppress(TimeoutError):
                return connection.recv(65536), sent + 1
    raise AssertionError(f"no answer in {SOON_SECONDS} s")


@pytest.mark.usefixtures("apis")
@pytest.mark.parametrize("name", ["reads", "streams-and-reads"])
def test_a_body_that_a_policy_wants_whole_and_that_comes_too_slowly_is_a_408(
    gateway: Gateway, upstream: Upstream, name: str
) -> None:
    upstream.received.clear()
    head = f"POST /{name}/x HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n".encode()
    answer, pieces = answer_of(gateway, head, b"x")
    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert PROBLEM.encode() in answer
    assert pieces > 1, "expected it to be waited for"
    assert not upstream.received
    late = {"status": 408, "details": "request_overall_timeout"}
    eventually("the line comes", lambda: any(late.items() <= line.items() for line in gateway.access_records(name)))


def test_headers_that_come_too_slowly_are_a_408(gateway: Gateway) -> None:
    answer, _ = answer_of(gateway, SLOW_HEADERS, b"x")
    assert answer.startswith(b"HTTP/1.1 408 "), answer


@contextmanager
def run_upstream(at_once: bool) -> Iterator[tuple[str, queue.SimpleQueue[bytes]]]:
    """An upstream that answers when a request begins, with a piece for each one that comes, or when it has ended. Its
    URL, and the bytes received.
    """
    received: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            data = connection.recv(65536)
            head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
            if at_once:
                connection.sendall(head)
            while data and not data.endswith(b"0\r\n\r\n"):
                received.put(data)
                if at_once:
                    connection.sendall(b"2\r\nok\r\n")
                data = connection.recv(65536)
            connection.sendall((b"" if at_once else head) + b"0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", received


def time_is_over(gateway: Gateway) -> None:
    """Waits out the limit for a request that begins now and whose headers do not come."""
    assert answer_of(gateway, SLOW_HEADERS, b"x")[0].startswith(b"HTTP/1.1 408 ")


NOT_BUFFERED: dict[str, list[Json]] = {
    "no-policy": [],
    "headers": [attach("mark", {"name": "slow"})],
    "a-stream": [attach("pass-on")],
}
"""By the name of an API, policies that want no body whole. The tests take all of them side by side: each waits for
several times the limit.
"""


def test_an_upload_that_is_not_buffered_has_no_limit(gateway: Gateway) -> None:
    with ThreadPoolExecutor(len(NOT_BUFFERED)) as threads:
        answers = dict(zip(NOT_BUFFERED, threads.map(partial(upload_slowly, gateway), NOT_BUFFERED), strict=True))
    assert {name: answer[:13] for name, answer in answers.items()} == dict.fromkeys(NOT_BUFFERED, b"HTTP/1.1 200 ")


def upload_slowly(gateway: Gateway, name: str) -> bytes:
    """The answer to an upload that takes twice the limit."""
    with run_upstream(at_once=False) as (url, received):
        gateway.deploy(api(name, url, NOT_BUFFERED[name]))
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=SOON_SECONDS) as connection:
            connection.sendall(f"POST /{name}/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n".encode())
            for number in range(3):
                connection.sendall(b"1\r\n%d\r\n" % number)
                while b"1\r\n%d\r\n" % number not in received.get(timeout=SOON_SECONDS):
                    pass  # the headers
                if number < 2:
                    time_is_over(gateway)
            connection.sendall(b"0\r\n\r\n")
            return connection.recv(65536)


def test_a_stream_whose_answer_has_begun_lives_on(gateway: Gateway) -> None:
    """As calls of gRPC with streams both ways do."""
    with run_upstream(at_once=True) as (url, received):
        gateway.deploy(api("both-ways", url, [attach("mark", {"name": "both"})]))
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=SOON_SECONDS) as connection:
            connection.sendall(b"POST /both-ways/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
            answer = exchange_piece(connection)
            for _ in range(2):
                time_is_over(gateway)
                answer += exchange_piece(connection)
            connection.sendall(b"0\r\n\r\n")
            while not answer.endswith(b"0\r\n\r\n"):
                answer += connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert received.qsize() >= 3


def exchange_piece(connection: socket.socket) -> bytes:
    """Sends a piece and waits for the answer to it."""
    connection.sendall(b"1\r\nx\r\n")
    return connection.recv(65536)


def test_a_websocket_outlives_the_limit(gateway: Gateway) -> None:
    """Its handshake is the request; data behind it is not limited."""

    async def talk() -> None:
        there = WebsocketUpstream()
        await there.start()
        document = api("open", f"http://127.0.0.1:{there.port}", [attach("mark", {"name": "open"})])
        await asyncio.to_thread(gateway.deploy, document)
        async with connect(f"ws://127.0.0.1:{gateway.port}/open/x", ping_interval=None) as socket_:
            await socket_.recv()
            for message in ("one", "two"):
                await asyncio.to_thread(time_is_over, gateway)
                await socket_.send(message)
                assert await socket_.recv() == message
        await there.stop()

    asyncio.run(talk())


def test_a_call_in_which_the_client_alone_streams_outlives_the_limit(gateway: Gateway) -> None:
    async def messages() -> AsyncIterator[bytes]:
        for message in (b"one", b"two", b"three"):
            yield message
            await asyncio.to_thread(time_is_over, gateway)

    async def upload_all() -> list[bytes]:
        uploads = (upload(gateway, f"calls-{name}", some, messages()) for name, some in NOT_BUFFERED.items())
        return await asyncio.gather(*uploads)

    assert asyncio.run(upload_all()) == [b"one|two|three"] * len(NOT_BUFFERED)


def test_a_call_that_a_policy_wants_whole_ends_at_the_limit(gateway: Gateway) -> None:
    async def messages() -> AsyncIterator[bytes]:
        for _ in range(int(SOON_SECONDS / 0.1)):
            yield b"x"
            await asyncio.sleep(0.1)  # the pace of the stream

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        asyncio.run(upload(gateway, "calls-whole", [attach("body-length")], messages()))
    assert caught.value.code() is grpc.StatusCode.UNKNOWN, "what 408 is to gRPC"
    assert caught.value.details() == "The request did not arrive completely within the time limit."


async def upload(gateway: Gateway, name: str, policies: list[Json], messages: AsyncIterator[bytes]) -> bytes:
    """The answer of a gRPC upstream to the messages, through an API of this name."""
    there = GrpcUpstream()
    await there.start()
    await asyncio.to_thread(gateway.deploy, api(name, f"grpc://127.0.0.1:{there.port}", policies))
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
            call: Any = channel.stream_unary(f"/{name}/passing.Calls/Upload")
            answer: bytes = await call(messages)
            return answer
    finally:
        await there.stop()


# ------------------------------------------------------------------ memory


def bodies(gateway: Gateway) -> dict[str, int]:
    statistics: dict[str, int] = json.loads(gateway.admin("engine", "/stats"))["bodies"]
    return statistics


@pytest.mark.usefixtures("apis")
@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_a_body_beyond_all_memory_is_a_413(gateway: Gateway, upstream: Upstream, chunked: bool) -> None:
    upstream.received.clear()
    body = bytes(2 * BUDGET)
    answer = httpx.post(f"{gateway.url}/reads/x", content=iter([body]) if chunked else body)
    assert (answer.status_code, answer.headers["content-type"]) == (413, PROBLEM)
    assert not upstream.received
    assert bodies(gateway)["limitBytes"] == BUDGET
    assert bodies(gateway)["heldBytes"] == 0
    small = httpx.post(f"{gateway.url}/reads/x", content=bytes(BUDGET // 8))
    assert small.status_code == 200
    assert upstream.received[-1].value("x-body-length") == str(BUDGET // 8)


@pytest.mark.usefixtures("apis")
def test_a_body_without_room_passes_if_the_publisher_allows_it(gateway: Gateway, upstream: Upstream) -> None:
    upstream.received.clear()
    body = bytes(range(256)) * (2 * BUDGET // 256)
    assert httpx.post(f"{gateway.url}/reads-if/x", content=iter([body])).status_code == 200
    (request_seen,) = upstream.received
    assert (request_seen.body, request_seen.value("x-body-length")) == (body, None)


def test_a_full_body_budget_stops_no_route_without_bodies(build: Path, tmp_path: Path, upstream: Upstream) -> None:
    """And gives it back when its time is over: on a gateway that gives requests more of it, so that a slow machine sees
    the room full."""
    options = ("--request-limit", "8s", "--body-memory", str(BUDGET))
    with running(build, tmp_path / "state", *options) as gateway:
        gateway.deploy(api("plain", upstream.url))
        gateway.deploy(api("reads", upstream.url, [attach("body-length")]))
        hold_all_the_room(gateway)


def hold_all_the_room(gateway: Gateway) -> None:
    part = f"POST /reads/x HTTP/1.1\r\nhost: a\r\ncontent-length: {LARGE_PART}\r\n\r\n".encode() + bytes(LARGE_PART - 1)

    def third() -> httpx.Response:
        return httpx.post(f"{gateway.url}/reads/x", content=bytes(BUDGET // 4))

    with (
        socket.create_connection(("127.0.0.1", gateway.port)) as first,
        socket.create_connection(("127.0.0.1", gateway.port)) as another,
    ):
        first.sendall(part)
        another.sendall(part)
        eventually("both have what they sent", lambda: bodies(gateway)["heldBytes"] >= 2 * (LARGE_PART - 1))
        refused = third()
        assert (refused.status_code, refused.headers["content-type"]) == (503, PROBLEM)
        assert refused.headers["retry-after"] == "1"
        assert httpx.get(f"{gateway.url}/plain/x").status_code == 200
        eventually("the room is given back", lambda: third().status_code == 200)


LARGE = 8 << 20


def soon_idle(config: Json) -> None:
    connection_manager(config)["common_http_protocol_options"]["idle_timeout"] = "1s"


def test_an_unread_answer_is_in_envoys_heap_and_ends_with_its_connection(upstream: Upstream) -> None:
    engine = Engine(large=lambda *_: iter([immediate_response(200, bytes(LARGE))]))
    with lone_envoy(upstream, engine, [route("large", HEADERS)], soon_idle) as envoy, socket.socket() as client:

        def heap() -> int:
            return int(envoy.admin("/memory").json()["allocated"])

        before, client_has = heap(), 64 << 10
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, client_has)
        client.connect(("127.0.0.1", envoy.port))
        client.sendall(b"GET /large/x HTTP/1.1\r\nhost: a\r\n\r\n")
        eventually("Envoy has the answer", lambda: heap() - before > LARGE * 3 // 4, SOON_SECONDS)
        eventually("it is gone", lambda: envoy.stat("gatewright.downstream_cx_active") == 0, 2 * SOON_SECONDS)


# ------------------------------------------------------------------ the short form of the faults


@pytest.mark.parametrize(
    "load",
    [
        unfinished.stalling(unfinished.SENDS, 200, 200.0, 2.0),
        unfinished.stalling(unfinished.SENDS_STREAMS, 2, 2.0, 2.0),
    ],
    ids=["HTTP/1.1", "HTTP/2"],
)
def test_bodies_that_stop_halfway_are_held_within_the_budget(
    build: Path, tool: Path, load: unfinished.Stalling
) -> None:
    """Without the budget, 200 MB would be held, in more than twice the memory."""
    setting = Setting(options=("--body-memory", "32MiB"), apis=unfinished.APIS)
    with started_environment(tool, build, setting) as environment:
        figures = unfinished.measure(replace(load, growth=128 * unfinished.MIB, undisturbed_seconds=3.0), environment)
    judged = [figure for figure in figures if "p99" not in figure.name]  # other tests run beside this one
    assert all(figure.kept for figure in judged), "; ".join(map(str, judged))
