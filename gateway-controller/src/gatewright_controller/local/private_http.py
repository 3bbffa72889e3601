"""Short answers to GET, over HTTP on a private Unix socket: for a proxy, and for the engine's scrape of metrics."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from gatewright_controller.local.peers import PeerCheck
from gatewright_controller.local.private_socket import PrivateSocket

HEAD_SECONDS = 5.0
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def http_socket(
    at: Path,
    check: PeerCheck,
    get: Callable[[str], bytes | None],
    media_type: str,
    log_failure: Callable[[Exception], None],
) -> PrivateSocket:
    """Answers each connection's first request. get: what stands at a path, without its query; None: nothing does.

    Where `get` raises, the answer is 500 with the exception's last line, and `log_failure` is called: once for failures
    of the same text in a row.
    """
    failed_with = ""

    def respond(head: bytes) -> bytes:
        nonlocal failed_with
        try:
            response = answer(head, get, media_type)
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            if text != failed_with:
                log_failure(error)
            failed_with = text
            return _response("500 Internal Server Error", f"{text}\n".encode(), "text/plain; charset=utf-8")
        failed_with = ""
        return response

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            writer.write(respond(head))
            await writer.drain()

    return PrivateSocket(at, check, serve)


def answer(head: bytes, get: Callable[[str], bytes | None], media_type: str) -> bytes:
    """The response to a request's head."""
    method, _, rest = head.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")
    content = get(rest.partition(" ")[0].partition("?")[0]) if method == "GET" else None
    return NOT_FOUND if content is None else _response("200 OK", content, media_type)


def _response(status: str, content: bytes, media_type: str) -> bytes:
    fields = f"content-type: {media_type}\r\ncontent-length: {len(content)}\r\nconnection: close"
    return f"HTTP/1.1 {status}\r\n{fields}\r\n\r\n".encode() + content
