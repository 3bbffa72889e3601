"""Targets of a pool: HTTP/1.1 servers that answer with their name, and fail in the ways that targets do."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from e2e.kit.certificates import Authority
from e2e.kit.connections import Connections

T = TypeVar("T")
Mode = Literal["fine", "503", "500", "reset", "slow", "silent", "gone"]
HEALTH = "/health"
SLOW_SECONDS = 0.1


class Target:
    """A context manager. `mode` may change at any time; `gone` also closes its port, which it takes again afterwards.

    `seen` are the paths of requests without health checks, `checks` the number of these, `first` the first bytes of its
    connections, `server_names` the names in TLS handshakes. socket: the path of a Unix socket.
    """

    def __init__(self, name: str, host: str = "127.0.0.1", port: int = 0, socket: Path | None = None) -> None:
        self.name, self.host, self.port, self.socket = name, host, port, socket
        self.tls: ssl.SSLContext | None = None
        self.seen: list[str] = []
        self.hosts: list[str] = []
        self.checks = 0
        self.first: list[bytes] = []
        self.under_way = 0
        self._mode: Mode = "fine"
        self._connections = Connections(self._serve)
        self._loop = asyncio.new_event_loop()
        self._released = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Target:
        self._thread.start()
        self._run(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        scheme = "https" if self.tls else "http"
        return f"unix:{self.socket}" if self.socket else f"{scheme}://{self.host}:{self.port}"

    @property
    def mode(self) -> Mode:
        return self._mode

    def become(self, mode: Mode) -> None:
        """Changes the mode; requests that are held are answered once it is `fine`."""
        self._run(self._become(mode))

    async def _become(self, mode: Mode) -> None:
        before, self._mode = self._mode, mode
        if mode == "gone":
            await self._close()
        elif before == "gone":
            await self._open()
        if mode == "silent":
            self._released.clear()
        else:
            self._released.set()

    async def _open(self) -> None:
        if self.socket:
            self._server = await asyncio.start_unix_server(self._connections.accept, self.socket)
            return
        self._server = await asyncio.start_server(self._connections.accept, self.host, self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        await self._connections.close(self._server)
        self._released.set()

    async def _end(self) -> None:
        """Also ends a connection that came as the last others went: an open one would fail a later test."""
        await self._close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._serve_requests(reader, writer)

    async def _serve_requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = True
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if first and head == b"\r\n\r\n":  # the signature of the PROXY protocol's version 2
                head += await reader.readuntil(b"\r\n\r\n")
            if first:
                self.first.append(head)
            first = False
            await self._answer(head, writer)

    async def _answer(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        path = head[head.index(b"GET ") :].split(b" ")[1].decode()
        if path == HEALTH:
            self.checks += 1
        else:
            self.seen.append(path)
            self.hosts.append(head.lower().partition(b"\r\nhost: ")[2].partition(b"\r\n")[0].decode())
        if self._mode == "reset":
            writer.transport.abort()
            return
        if self._mode == "silent":
            self.under_way += 1
            try:
                await self._released.wait()
            finally:
                self.under_way -= 1
        if self._mode == "slow":
            await asyncio.sleep(SLOW_SECONDS)
        status = self._mode if self._mode in ("500", "503") else "200"
        body = self.name.encode()
        writer.write(b"HTTP/1.1 %s X\r\ncontent-length: %d\r\n\r\n%s" % (status.encode(), len(body), body))
        await writer.drain()


def tls_of(signer: Authority, name: str, *hosts: str) -> ssl.SSLContext:
    """The TLS context of a target with a certificate for these hosts."""
    chain, key = signer.issue(f"target-{name}", *hosts)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


@contextmanager
def targets(*names: str) -> Iterator[list[Target]]:
    """Runs a target for each name."""
    with ExitStack() as stack:
        yield [stack.enter_context(Target(name)) for name in names]


def take_counts(members: Sequence[Target]) -> Counter[str]:
    """The number of requests by target since the last call."""
    counts = Counter({target.name: len(target.seen) for target in members})
    for target in members:
        target.seen.clear()
    return counts
