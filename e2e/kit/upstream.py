"""An upstream that records every request whole and answers as the test says. HTTP/1.1, on a free port of loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import h11

from e2e.kit.connections import Connections

T = TypeVar("T")


@dataclass(frozen=True)
class Recorded:
    """A request as it reached the upstream; header names in lower case, in wire order."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def values(self, name: str) -> list[bytes]:
        return [value for key, value in self.headers if key == name.lower().encode()]

    def value(self, name: str) -> str | None:
        """The only value of the header, or None without the header."""
        values = self.values(name)
        assert len(values) <= 1, f"{name} stands {len(values)} times: {values}"
        return values[0].decode() if values else None


@dataclass(frozen=True)
class Reply:
    status: int = 200
    headers: list[tuple[str, str]] | list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""


def echo(request: Recorded) -> Reply:
    body = json.dumps({"method": request.method, "target": request.target, "length": len(request.body)}).encode()
    return Reply(200, [("content-type", "application/json"), ("x-upstream", "yes")], body)


class Upstream:
    """Use as a context manager. `received` are the requests, in order; `reply` makes the answers."""

    def __init__(self) -> None:
        self.received: list[Recorded] = []
        self.reply: Callable[[Recorded], Reply] = echo
        self._connections = Connections(self._serve)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Upstream:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._connections.accept, "127.0.0.1", 0, limit=1 << 20))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def reset(self) -> None:
        self.received.clear()
        self.reply = echo

    def to(self, path: str) -> list[Recorded]:
        """The requests whose target begins with `path`."""
        return [request for request in self.received if request.target.startswith(path)]

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=10)

    async def _close(self) -> None:
        await self._connections.close(self._server)
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, h11.RemoteProtocolError):
            connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
            while (request := await _receive(connection, reader)) is not None:
                self.received.append(request)
                await self._answer(connection, writer, self.reply(request), request.method == "HEAD")
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    break
                connection.start_next_cycle()

    async def _answer(
        self, connection: h11.Connection, writer: asyncio.StreamWriter, reply: Reply, head_only: bool
    ) -> None:
        empty = reply.status in {204, 304}
        headers = [(_bytes(name), _bytes(value)) for name, value in reply.headers]
        if not empty:
            headers.append((b"content-length", str(len(reply.body)).encode()))
        body = b"" if head_only or empty else reply.body
        for event in (h11.Response(status_code=reply.status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            writer.write(connection.send(event) or b"")
        await writer.drain()


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


async def _receive(connection: h11.Connection, reader: asyncio.StreamReader) -> Recorded | None:
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            data = await reader.read(1 << 18)
            if not data:
                return None
            connection.receive_data(data)
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            return Recorded(head.method.decode(), head.target.decode(), list(head.headers), bytes(body))
        else:
            return None
