"""Over real sockets: a server with the limits of a test, and clients that do not behave."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
import uvicorn
from gatewright_controller.management.connections import BoundedProtocol, Limits, Waiting
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
LARGE = 8 * 1024 * 1024
SHORT = Limits(connections=8, request_seconds=0.3, write_seconds=0.3, head_bytes=4096, message_bytes=100_000)
REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
LAST_REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass
class Served:
    port: int
    server: uvicorn.Server
    waiting: Waiting

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def answer(self, sent: bytes) -> bytes:
        """All bytes until the connection ends."""
        reader, writer = await self.open()
        writer.write(sent)
        answer = b""
        with contextlib.suppress(ConnectionError):
            answer = await reader.read()
        writer.close()
        return answer

    @property
    def connections(self) -> int:
        return len(self.server.server_state.connections)


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def echo(request: Request) -> Response:
    return PlainTextResponse(f"{len(await request.body())}")


async def large(_: Request) -> Response:
    return PlainTextResponse("x" * LARGE)


@contextlib.asynccontextmanager
async def serving(limits: Limits) -> AsyncIterator[Served]:
    app = Starlette(routes=[Route("/", echo, methods=["GET", "POST"]), Route("/large", large)])
    waiting: Waiting = {}
    protocol = functools.partial(BoundedProtocol, limits, waiting)
    server = uvicorn.Server(uvicorn.Config(app, http=protocol, log_config=None, access_log=False))  # type: ignore[arg-type]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await until(lambda: server.started)
        try:
            yield Served(listener.getsockname()[1], server, waiting)
        finally:
            server.should_exit = True
            await task


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: x\r\n", b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nx",
     REQUEST, REQUEST + b"\r\n", REQUEST + b"GET /"],
)  # fmt: skip
async def test_half_a_request_is_waited_for_no_longer_than_is_allowed(sent: bytes) -> None:
    in_time = replace(SHORT, request_seconds=2.0)  # by when a whole one has come
    async with serving(in_time if sent.startswith(REQUEST) else SHORT) as served:
        answer = await served.answer(sent)
        half = sent.removeprefix(REQUEST)
        assert answer.startswith(b"HTTP/1.1 200") == sent.startswith(REQUEST)
        assert (b"408 Request Timeout" in answer) == (len(half.strip()) > 0)
        await until(lambda: served.connections == 0)
        assert served.waiting == {}


async def test_a_byte_now_and_then_gives_no_more_time() -> None:
    async with serving(SHORT) as served:
        reader, writer = await served.open()
        ended = asyncio.create_task(reader.read())
        async with asyncio.timeout(60):
            while not (await asyncio.wait([ended], timeout=0.05))[0]:
                writer.write(b"\r\n")
        with contextlib.suppress(ConnectionError):
            assert await ended == b""
        writer.close()
        await until(lambda: served.connections == 0)


async def test_an_answer_that_is_not_read_is_given_up() -> None:
    async with serving(SHORT) as served:
        with socket.create_connection(("127.0.0.1", served.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            assert await asyncio.to_thread(client.recv, 12) == b"HTTP/1.1 200"
            await until(lambda: served.connections == 0)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\n" + b"a: " + b"x" * 5000, b"431"),
        (b"GET /" + b"x" * 5000, b"431"),
        (
            CHUNKED + b"1\r\nx\r\n0\r\nt: " + b"x" * 100_001,
            b"413",
        ),
    ],
)
async def test_a_request_that_is_too_large_is_refused(sent: bytes, status: bytes) -> None:
    async with serving(Limits(head_bytes=4096, message_bytes=100_000)) as served:
        assert b"HTTP/1.1 " + status in await served.answer(sent)


async def test_the_connection_that_has_waited_longest_makes_room() -> None:
    async with serving(Limits(connections=8)) as served:
        held = [await served.open() for _ in range(8)]
        await until(lambda: served.connections == 8)
        for _ in range(3):
            assert b"HTTP/1.1 200" in await served.answer(
                REQUEST.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
            )
        ended = [reader.at_eof() or reader.exception() is not None for reader, _ in held]
        assert ended[0]
        assert not any(ended[3:])
        for _, writer in held:
            writer.close()


async def test_requests_in_one_piece_are_all_answered() -> None:
    async with serving(SHORT) as served:
        answer = await served.answer(REQUEST * 3)
        assert answer.count(b"HTTP/1.1 200") == 3
