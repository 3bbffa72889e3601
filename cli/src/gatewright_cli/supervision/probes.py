"""Readiness and liveness checks of a process, over its sockets."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gatewright_cli.local_http import ATTEMPT_SECONDS, LocalClient, LocalHttpError

POLL_SECONDS = 0.05


class Probe(Protocol):
    """One check of a process."""

    async def obstacle(self) -> str | None:
        """Why the process is not ready, in words; None once it is. The process cannot make it raise."""


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
    """Ready once a server at the Unix socket `path` accepts a connection and sends first, as HTTP/2 servers do."""

    path: Path

    async def obstacle(self) -> str | None:
        writer = None
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                reader, writer = await asyncio.open_unix_connection(str(self.path))
                first_byte = await reader.read(1)
        except OSError as error:  # TimeoutError is one
            return f"{self.path}: {type(error).__name__}"
        finally:
            if writer is not None:
                writer.close()
        return None if first_byte else f"{self.path}: closed"


@dataclass(frozen=True)
class Answers:
    """Ready once GET `path` answers 200, on a Unix socket or at `base` ("http://127.0.0.1:9090").

    any_status: once it answers at all. trust: for an https `base`.
    """

    path: str
    socket: Path | None = None
    base: str = "http://process"
    any_status: bool = False
    trust: Callable[[], ssl.SSLContext] | None = None

    async def obstacle(self) -> str | None:
        try:
            answer = await LocalClient(self.socket, self.base, tls=self.trust() if self.trust else None).get(self.path)
        except LocalHttpError as error:
            return f"GET {self.path}: {error}"
        if self.any_status or answer.status_code == 200:
            return None
        return f"GET {self.path}: {answer.status_code} {answer.text.strip()[:200]}"


@dataclass(frozen=True)
class All:
    """Ready once all of these are. They are asked in their order, up to the first obstacle."""

    probes: tuple[Probe, ...]

    async def obstacle(self) -> str | None:
        for probe in self.probes:
            if obstacle := await probe.obstacle():
                return obstacle
        return None


class Drain(Protocol):
    """Lets a process finish its work before it is stopped."""

    async def run(self) -> None:
        """Returns when the process has no work left, or when the time is over. May raise LocalHttpError."""
