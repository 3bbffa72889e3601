"""An ASGI application in pyvoy, which forwards by way of the Envoy that it runs in, and sets one header each way:
pyvoy_app.py PORT UPSTREAM."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from pyqwest import Client
from pyvoy import HTTPVersion, PyvoyServer, Upstream

Receive = Callable[[], Awaitable[dict[str, Any]]]
HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"host"}


async def app(scope: dict[str, Any], receive: Receive, send: Callable[[Any], Awaitable[None]]) -> None:
    """The exchange, whole: bodies are small."""
    headers = [(name.decode(), value.decode()) for name, value in scope["headers"] if name not in HOP_BY_HOP]
    url = "http://upstream" + scope["raw_path"].decode()
    answer = await client().execute(scope["method"], url, [*headers, ("x-peer", "1")], await body(receive) or None)
    answered = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
    kept = [(name, value) for name, value in answered if name not in HOP_BY_HOP]
    await send({"type": "http.response.start", "status": answer.status, "headers": [*kept, (b"x-peer", b"1")]})
    await send({"type": "http.response.body", "body": answer.content})


def client() -> Client:
    """Its module is there inside Envoy only."""
    from pyvoy.asgi.httpclient import HTTPTransport

    return Client(HTTPTransport("upstream"))


async def body(receive: Receive) -> bytes:
    received, more = b"", True
    while more:
        event = await receive()
        received, more = received + event.get("body", b""), event.get("more_body", False)
    return received


async def serve(port: int, upstream: str) -> None:
    """By the library: the command cannot say that the upstream speaks HTTP/1.1, and Envoy then refuses to start."""
    upstreams = [Upstream("upstream", upstream, HTTPVersion.HTTP1)]
    async with PyvoyServer("pyvoy_app:app", port=port, upstreams=upstreams, stderr=None) as server:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()
        await server.stop()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
