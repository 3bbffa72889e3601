"""Answers challenges: Envoy asks here, over a Unix socket, what is asked of it below /.well-known/acme-challenge/."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

from gatewright_controller.acme.folder import challenge_file
from gatewright_controller.peers import PeerCheck, Rule, in_file
from gatewright_controller.private_socket import PrivateSocket

log = logging.getLogger(__name__)
PREFIX = "/.well-known/acme-challenge/"
ENVOY = "envoy"
HEAD_SECONDS = 5.0


def challenge_socket(at: Path, folder: Path, peers: Path) -> PrivateSocket:
    """For Envoy, and for who is not below the supervisor. peers: the supervisor's file. Start it, close it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            writer.write(answer(head, folder))
            await writer.drain()

    return PrivateSocket(at, PeerCheck(Rule(in_file(peers), (ENVOY,)), at, _warn), serve)


def answer(head: bytes, folder: Path) -> bytes:
    """The response to a request's head."""
    method, _, rest = head.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")
    path = rest.partition(" ")[0].partition("?")[0]
    file = challenge_file(folder, path.removeprefix(PREFIX)) if path.startswith(PREFIX) else None
    content = b""
    if file is not None and method == "GET":
        with contextlib.suppress(OSError):
            content = file.read_bytes()
    status = b"200 OK" if content else b"404 Not Found"
    length = str(len(content)).encode()
    kind = b"application/octet-stream"
    return (
        b"HTTP/1.1 " + status + b"\r\ncontent-type: " + kind + b"\r\ncontent-length: " + length
        + b"\r\nconnection: close\r\n\r\n" + content
    )  # fmt: skip


def _warn(at: str, pid: int, why: str) -> None:
    log.warning("connection refused", extra={"socket": at, "pid": pid, "reason": why})
