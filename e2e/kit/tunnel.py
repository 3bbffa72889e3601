"""A tunnel by which clients that speak in clear, to the byte and the frame, reach a listener with TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from e2e.kit.connections import Connections

T = TypeVar("T")
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextmanager
def tunnel(port: int, trust: ssl.SSLContext, alpn: str, server_name: str = "127.0.0.1") -> Iterator[int]:
    """A port in clear of loopback. Each connection to it is one to `port`, with TLS and this protocol by ALPN."""
    trust.set_alpn_protocols([alpn])
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(timeout=10)

    async def serve(reader: asyncio.StreamReader, here: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            there_reader, there = await asyncio.open_connection(
                "127.0.0.1", port, ssl=trust, server_hostname=server_name
            )
            try:
                chosen = there.get_extra_info("ssl_object").selected_alpn_protocol()
                assert chosen == alpn, chosen
                await _copy_both_ways((reader, here), (there_reader, there))
            finally:
                there.transport.abort()

    connections = Connections(serve)
    server = run(asyncio.start_server(connections.accept, "127.0.0.1", 0, limit=1 << 20))
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        run(connections.close(server))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _copy_both_ways(here: Streams, there: Streams) -> None:
    """Copies until one end closes. If the server does, the client still receives what was sent to it."""
    up, down = (asyncio.create_task(_copy(*ends)) for ends in ((here[0], there[1]), (there[0], here[1])))
    try:
        await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
        if not down.done():
            here[1].transport.abort()
    finally:
        for way in (up, down):
            way.cancel()
        await asyncio.gather(up, down, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
