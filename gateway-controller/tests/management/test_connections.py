"""Over real sockets, in clear and with TLS: a server with the limits of a test, and clients that do not behave."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
import uvicorn
from gatewright_controller.local.listener_tls import ListenerTls
from gatewright_controller.management.connections import BoundedProtocol, Limits, Waiting
from gatewright_controller.management.handshakes import Handshake
from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from e2e.kit.certificates import authority

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
    trust: ssl.SSLContext | None

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=self.trust)

    async def open_in_clear(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    def open_socket(self, receive_bytes: int = 65536) -> socket.socket:
        """A socket that blocks."""
        plain = socket.create_connection(("127.0.0.1", self.port))
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        return self.trust.wrap_socket(plain, server_hostname="127.0.0.1") if self.trust else plain

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


@dataclass
class Tls:
    listener: ListenerTls
    trust: ssl.SSLContext


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    signer = authority(tmp_path_factory.mktemp("tls"))
    certificate, key = signer.issue("controller", "127.0.0.1")
    return Tls(ListenerTls(str(certificate), str(key)), ssl.create_default_context(cafile=signer.file))


@pytest.fixture(params=["in clear", "TLS"])
def tls(request: pytest.FixtureRequest, encrypted: Tls) -> Tls | None:
    return encrypted if request.param == "TLS" else None


@contextlib.asynccontextmanager
async def serving(limits: Limits, tls: Tls | None) -> AsyncIterator[Served]:
    app = Starlette(routes=[Route("/", echo, methods=["GET", "POST"]), Route("/large", large)])
    waiting: Waiting = {}
    protocol: Callable[..., asyncio.Protocol] = functools.partial(BoundedProtocol, limits, waiting)
    if tls:
        protocol = functools.partial(Handshake, tls.listener, limits, waiting)
    server = uvicorn.Server(uvicorn.Config(app, http=protocol, log_config=None, access_log=False))  # type: ignore[arg-type]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await until(lambda: server.started)
        try:
            yield Served(listener.getsockname()[1], server, waiting, tls.trust if tls else None)
        finally:
            server.should_exit = True
            await task


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: x\r\n", b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nx",
     REQUEST, REQUEST + b"\r\n", REQUEST + b"GET /"],
)  # fmt: skip
async def test_half_a_request_is_waited_for_no_longer_than_is_allowed(sent: bytes, tls: Tls | None) -> None:
    in_time = replace(SHORT, request_seconds=2.0)  # by when a whole one has come
    async with serving(in_time if sent.startswith(REQUEST) else SHORT, tls) as served:
        answer = await served.answer(sent)
        half = sent.removeprefix(REQUEST)
        assert answer.startswith(b"HTTP/1.1 200") == sent.startswith(REQUEST)
        assert (b"408 Request Timeout" in answer) == (len(half.strip()) > 0)
        await until(lambda: served.connections == 0)
        assert served.waiting == {}


async def test_a_byte_now_and_then_gives_no_more_time(tls: Tls | None) -> None:
    async with serving(SHORT, tls) as served:
        reader, writer = await served.open()
        ended = asyncio.create_task(reader.read())
        async with asyncio.timeout(60):
            while not (await asyncio.wait([ended], timeout=0.05))[0]:
                writer.write(b"\r\n")
        with contextlib.suppress(ConnectionError):
            assert await ended == b""
        writer.close()
        await until(lambda: served.connections == 0)


async def test_an_answer_that_is_not_read_is_given_up(tls: Tls | None) -> None:
    async with serving(SHORT, tls) as served:
        with await asyncio.to_thread(served.open_socket, receive_bytes=4096) as client:
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
async def test_a_request_that_is_too_large_is_refused(sent: bytes, status: bytes, tls: Tls | None) -> None:
    async with serving(Limits(head_bytes=4096, message_bytes=100_000), tls) as served:
        assert b"HTTP/1.1 " + status in await served.answer(sent)


@pytest.mark.parametrize(
    "sent", [b"get / HTTP/1.1\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"]
)
async def test_bytes_that_are_no_request_are_refused_as_a_problem(sent: bytes, tls: Tls | None) -> None:
    async with serving(SHORT, tls) as served:
        head, _, body = (await served.answer(sent)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\n")
        assert json.loads(body)["status"] == 400


async def test_the_connection_that_has_waited_longest_makes_room(tls: Tls | None) -> None:
    async with serving(Limits(connections=8), tls) as served:
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


async def test_requests_in_one_piece_are_all_answered(tls: Tls | None) -> None:
    async with serving(SHORT, tls) as served:
        answer = await served.answer(REQUEST * 3)
        assert answer.count(b"HTTP/1.1 200") == 3


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01\x00"])
async def test_a_client_that_does_not_establish_tls_is_disconnected(sent: bytes, encrypted: Tls) -> None:
    async with serving(replace(SHORT, handshake_seconds=0.3), encrypted) as served:
        reader, writer = await served.open_in_clear()
        writer.write(sent)
        await until(lambda: served.connections == 1)
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()
        await until(lambda: served.connections == 0)
        assert served.waiting == {}


async def test_a_request_in_clear_is_answered_with_the_cure(encrypted: Tls) -> None:
    async with serving(SHORT, encrypted) as served:
        reader, writer = await served.open_in_clear()
        writer.write(LAST_REQUEST)
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"expected TLS, got a request in clear: use https:// for this port" in answer
        await until(lambda: served.connections == 0)


async def test_a_connection_without_tls_makes_room_as_others_do(encrypted: Tls) -> None:
    async with serving(Limits(connections=8), encrypted) as served:
        held = [await served.open_in_clear() for _ in range(11)]
        for reader, _ in held[:3]:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        await until(lambda: served.connections == 8)
        assert b"HTTP/1.1 200" in await served.answer(LAST_REQUEST)
        assert not any(reader.at_eof() or reader.exception() for reader, _ in held[4:])
        for _, writer in held:
            writer.close()


async def test_a_request_that_arrives_with_the_end_of_the_handshake_is_answered(encrypted: Tls) -> None:
    """A client of TLS 1.3 may send it in the packet that ends its handshake."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = encrypted.trust.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    async with serving(SHORT, encrypted) as served:
        reader, writer = await served.open_in_clear()
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(to_server.read())
                to_client.write(await reader.read(65536))
        client.write(LAST_REQUEST)
        writer.write(to_server.read())  # the end of the handshake and the request
        to_client.write(await reader.read())
        answer = b""
        with contextlib.suppress(ssl.SSLError):
            while piece := client.read(65536):
                answer += piece
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200")


async def test_a_client_that_does_not_close_tls_is_disconnected(encrypted: Tls) -> None:
    async with serving(Limits(close_seconds=0.2), encrypted) as served:
        with await asyncio.to_thread(served.open_socket) as client:
            client.sendall(LAST_REQUEST)
            await until(lambda: served.connections == 1)
            async with asyncio.timeout(20):
                await until(lambda: served.connections == 0)
