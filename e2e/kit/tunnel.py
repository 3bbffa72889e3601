"""A tunnel by which clients that speak in clear, to the byte and the frame, reach a listener with TLS."""

from __future__ import annotations

import asyncio
import contextlib
import gc
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
        here = writer
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            there_reader, there = await asyncio.open_connection(
                "127.0.0.1", port, ssl=trust, server_hostname=server_name
            )
            try:
                chosen = there.get_extra_info("ssl_object").selected_alpn_protocol()
                assert chosen == alpn, chosen
                up, down = (asyncio.ensure_future(_copy(*ends)) for ends in ((reader, there), (there_reader, here)))
                await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
                if not down.done():  # else the client has not yet received everything
                    here.transport.abort()
                for way in (up, down):
                    way.cancel()
                await asyncio.gather(up, down, return_exceptions=True)
            finally:
                there.transport.abort()
        here.close()

    async def close() -> None:
        server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0.01)  # aborted transports report it in the next turn of the loop
        gc.collect()  # while the loop runs in which writers close

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
