"""Rows of WebSocket, and of other ways to make something else of a connection."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from e2e.edge.passing.rows import HTTP1, HTTP2, PASSES, Row, row
from e2e.edge.passing.stage import QUICK, REQUEST_SECONDS, Stage
from e2e.kit.conversation import client

REFUSED = "403"
RESET = "the stream is reset"
HANDSHAKE = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
]
_numbers = itertools.count()
BODIES = dict.fromkeys(("python-buffers", "python-streams"), REFUSED)


@dataclass(frozen=True)
class Socket:
    """The WebSocket of a column."""

    stage: Stage
    column: str
    times_out: bool = False

    @property
    def path(self) -> str:
        return f"/{QUICK if self.times_out else ''}{self.column}-ws/x"

    @property
    def port(self) -> int:
        return self.stage.gateway.port

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}{self.path}"


@row("A WebSocket over HTTP/1.1: messages both ways, large ones, a close with its code", BODIES)
async def websocket(socket: Socket) -> str:
    opened = socket.stage.websocket.opened
    try:
        async with connect(socket.url, max_size=None) as connection:
            assert await connection.recv() == ("" if socket.column == "none" else "request")
            for message in ("text", b"\x00\xff", "x" * 300_000):
                await connection.send(message)
                assert await connection.recv() == message
            await connection.send("close")
            await connection.wait_closed()
    except InvalidStatus as error:
        response = error.response
    else:
        assert (connection.close_code, connection.close_reason) == (4001, "as asked")
        passed = connection.response and connection.response.headers.get("x-passed")
        assert passed == (None if socket.column == "none" else "response")
        return PASSES
    assert socket.stage.websocket.opened == opened
    assert response.headers["content-type"] == "application/problem+json"
    return str(response.status_code)


@row("A WebSocket that is silent for longer than `requestTimeout`", BODIES, times_out=True)
async def silent(socket: Socket) -> str:
    try:
        async with connect(socket.url, ping_interval=None) as connection:
            await connection.recv()
            for message in ("one", "two"):
                await asyncio.sleep(REQUEST_SECONDS + 0.2)  # the silence
                await connection.send(message)
                assert await connection.recv() == message
    except InvalidStatus as refused:
        return str(refused.response.status_code)
    return PASSES


ALL_COLUMNS = ("none", "go-headers", "python-headers", "python-buffers", "python-streams")


@row("An upgrade to anything else", dict.fromkeys(ALL_COLUMNS, REFUSED))
async def other_upgrade(socket: Socket) -> str:
    async with client(HTTP1, socket.port) as connection:
        sent = await connection.ask("GET", socket.path, [("connection", "upgrade"), ("upgrade", "foo")], last=True)
        return str((await sent.expect("response")).status)


@row("A WebSocket over HTTP/2 (RFC 8441), or anything else by extended CONNECT", dict.fromkeys(ALL_COLUMNS, RESET))
async def extended_connect(socket: Socket) -> str:
    """It is not offered (SETTINGS_ENABLE_CONNECT_PROTOCOL): clients then open an HTTP/1.1 connection."""
    events = set()
    for protocol in ("websocket", "foo"):
        async with client(HTTP2, socket.port) as connection:
            sent = await connection.ask("CONNECT", socket.path, [(":protocol", protocol)])
            events.add((await sent.next()).kind)
    return RESET if events == {"reset"} else str(events)


@row("A WebSocket to an upstream that speaks HTTP/2, and takes it (RFC 8441)", BODIES)
async def to_http2(socket: Socket) -> str:
    async with client(HTTP1, socket.port) as connection:
        target = f"/ws{next(_numbers)}"
        sent = await connection.ask("GET", f"/{socket.column}-h2{target}", HANDSHAKE, last=True)
        arrived = asyncio.ensure_future(socket.stage.http[HTTP2].next_request(target))
        answered = asyncio.ensure_future(sent.next())
        await asyncio.wait([arrived, answered], return_when=asyncio.FIRST_COMPLETED)
        if not arrived.done():
            arrived.cancel()
            return str((await answered).status)
        received, head = await arrived
        assert head.method == "CONNECT"
        await received.answer(200)
        switched = await answered
        assert (switched.status, switched.value("upgrade")) == (101, "websocket")
    return PASSES


@row("CONNECT", dict.fromkeys(ALL_COLUMNS, "404"))
async def tunnel(socket: Socket) -> str:
    async with client(HTTP1, socket.port) as connection:
        sent = await connection.ask("CONNECT", "example.com:80", last=True)
        return str((await sent.expect("response")).status)


ROWS: list[Row] = [value for value in globals().values() if isinstance(value, Row)]
