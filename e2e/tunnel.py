"""What speaks to a port in clear, to the byte and the frame, speaks to a listener with TLS: through a tunnel."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@contextmanager
def tunnel(port: int, trust: ssl.SSLContext, alpn: str, server_name: str = "127.0.0.1") -> Iterator[int]:
    """A port in clear of loopback. Each connection to it is one to `port`, with TLS and this protocol by ALPN."""
    trust.set_alpn_protocols([alpn])
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(timeout=10)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            there = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname=server_name)
            chosen = there[1].get_extra_info("ssl_object").selected_alpn_protocol()
            assert chosen == alpn, chosen
            ways = [asyncio.ensure_future(_copy(reader, there[1])), asyncio.ensure_future(_copy(there[0], writer))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            ended = ways[1].done()  # a client that is told to go is told all
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            there[1].transport.abort()
            if not ended:
                writer.transport.abort()
        writer.close()

    async def close() -> None:
        server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    server = run(asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20))
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        run(close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
