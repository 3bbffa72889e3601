"""A small upstream that answers with the request it got, so that first tries need nothing outside the machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

from gatewright_cli.addresses import join_address
from gatewright_cli.supervision.logs import records

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def description(scope: Message, body: bytes) -> dict[str, object]:
    """The request: method, path as sent, query, headers as [name, value] pairs (latin-1, so that no byte is lost),
    body as text, and whether that text is "utf-8" or, where it is not UTF-8, "latin-1".
    """
    try:
        text, encoding = body.decode(), "utf-8"
    except UnicodeDecodeError:
        text, encoding = body.decode("latin-1"), "latin-1"
    return {
        "method": scope["method"],
        "path": scope["raw_path"].decode("latin-1"),
        "query": scope["query_string"].decode("latin-1"),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        "body": text,
        "bodyEncoding": encoding,
    }


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """An ASGI application (https://asgi.readthedocs.io/en/latest/specs/www.html): 200 and the description as JSON."""
    if scope["type"] != "http":
        return
    content = json.dumps(description(scope, await _body(receive))).encode()
    headers = [(b"content-type", b"application/json"), (b"x-upstream", b"echo")]
    headers.append((b"content-length", str(len(content)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def serve(host: str, port: int) -> None:
    """Serves until SIGINT or SIGTERM."""
    config = uvicorn.Config(
        app, host, port, http="httptools", ws="none", lifespan="off", interface="asgi3",
        log_config=None, access_log=False, timeout_graceful_shutdown=2,
    )  # fmt: skip
    sys.stderr.write(records.event("echo", "listening", address=join_address(host, port)).decode() + "\n")
    uvicorn.Server(config).run()


async def _body(receive: Receive) -> bytes:
    pieces, more = [], True
    while more:
        message = await receive()
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(pieces)
