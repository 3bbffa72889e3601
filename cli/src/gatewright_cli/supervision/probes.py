"""Readiness and liveness checks: a process is asked over its sockets, from outside."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gatewright_cli.supervision.local_http import LocalClient, LocalHttpError

ATTEMPT_SECONDS = 2.0
POLL_SECONDS = 0.05


class Probe(Protocol):
    """One question to a process."""

    async def obstacle(self) -> str | None:
        """Why it is not ready, in words; None once it is. Never raises for what the process does."""


@dataclass(frozen=True)
class Accepts:
    """Ready once the Unix socket `path` or the TCP address `address` ("127.0.0.1:9090") takes connections."""

    path: Path | None = None
    address: str | None = None

    async def obstacle(self) -> str | None:
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                _, writer = await self._connect()
        except OSError as error:  # TimeoutError is one
            return f"{self.path or self.address}: {type(error).__name__}"
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.path is not None:
            return await asyncio.open_unix_connection(str(self.path))
        host, _, port = (self.address or "").rpartition(":")
        return await asyncio.open_connection(host.strip("[]"), int(port))


@dataclass(frozen=True)
class Speaks:
    """Ready once who takes a connection at the Unix socket `path` says something, unasked, as HTTP/2 servers do."""

    path: Path

    async def obstacle(self) -> str | None:
        writer = None
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                reader, writer = await asyncio.open_unix_connection(str(self.path))
                said = await reader.read(1)
        except OSError as error:  # TimeoutError is one
            return f"{self.path}: {type(error).__name__}"
        finally:
            if writer is not None:
                writer.close()
        return None if said else f"{self.path}: closed"


@dataclass(frozen=True)
class Answers:
    """Ready once GET `path` answers 200, on a Unix socket or at `base` ("http://127.0.0.1:9090").

    any_status: once it answers at all.
    """

    path: str
    socket: Path | None = None
    base: str = "http://process"
    any_status: bool = False

    async def obstacle(self) -> str | None:
        try:
            answer = await http_client(self.socket, self.base).get(self.path)
        except LocalHttpError as error:
            return f"GET {self.path}: {error}"
        if self.any_status or answer.status_code == 200:
            return None
        return f"GET {self.path}: {answer.status_code} {answer.text.strip()[:200]}"


class Drain(Protocol):
    """Lets a process finish what it has under way before it is told to stop."""

    async def run(self) -> None:
        """Returns when nothing is under way, or when it has waited long enough. May raise LocalHttpError."""


def http_client(socket: Path | None, base: str = "http://process") -> LocalClient:
    """A client that talks to one process."""
    return LocalClient(socket, base, ATTEMPT_SECONDS)
