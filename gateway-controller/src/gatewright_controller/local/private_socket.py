"""A Unix socket whose connections are checked before they are served."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from gatewright_controller.local.peers import PeerCheck

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
MODE = 0o600
READ_BYTES = 64 * 1024


class PrivateSocket:
    """Serves each connection that the check admits, and closes it then. Start it, close it.

    serve: one connection; may raise ConnectionError, for the other side may have gone. line_bytes: of a line that it
    reads, at most.
    """

    def __init__(self, path: Path, check: PeerCheck, serve: Serve, line_bytes: int = READ_BYTES) -> None:
        self._path, self._check, self._serve, self._line_bytes = path, check, serve, line_bytes
        self._server: asyncio.Server | None = None
        self._closed = False
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Makes the socket, mode 0600. Raises OSError."""
        before = os.umask(0o777 & ~MODE)
        try:
            self._server = await asyncio.start_unix_server(self._serve_checked, str(self._path), limit=self._line_bytes)
        finally:
            os.umask(before)

    async def close(self) -> None:
        """Cuts off the connections that there are, and removes the socket."""
        if self._server is not None:
            self._server.close()
        self._closed = True
        await asyncio.sleep(0)  # what was accepted before has its task then
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)
        self._path.unlink(missing_ok=True)

    async def _serve_checked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if not self._closed and await self._check.admits(writer.get_extra_info("socket")):
                await self._serve(reader, writer)
        except ConnectionError:
            pass  # the other side has gone
        except asyncio.CancelledError:
            writer.transport.abort()  # closed: a peer that reads nothing must not delay that
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            self._connections.discard(task)
