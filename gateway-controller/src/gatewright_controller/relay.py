"""A Unix socket in front of a server that cannot say who connects to it: gRPC's, Envoy's."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

from gatewright_controller.peers import PeerCheck

PIECE_BYTES = 64 * 1024
MODE = 0o600


class Unnamed:
    """A server's socket that loses its name: who has not opened it before cannot connect to it any more.

    It is found by /proc/self/fd, which is its process's alone (prctl(2), PR_SET_DUMPABLE). path: where the server makes
    it, again each time that it starts.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def take(self) -> None:
        """Opens what the server has made and takes its name away. Nothing where there is nothing new."""
        try:
            found = os.open(self._path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return
        self._path.unlink(missing_ok=True)
        self.close()
        self._fd = found

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises OSError where nobody listens."""
        self.take()
        if self._fd is None:
            raise FileNotFoundError(f"nobody listens at {self._path}")
        return await asyncio.open_unix_connection(f"/proc/self/fd/{self._fd}", limit=PIECE_BYTES)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class Relay:
    """Passes on, to the server behind, what comes from those whom the check lets in. Start it, close it."""

    def __init__(self, path: Path, behind: Unnamed, check: PeerCheck) -> None:
        self._path, self._behind, self._check = path, behind, check
        self._server: asyncio.Server | None = None
        self._closed = False
        self._talking: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Makes the socket, mode 0600."""
        before = os.umask(0o777 & ~MODE)
        try:
            self._server = await asyncio.start_unix_server(self._talk, str(self._path), limit=PIECE_BYTES)
        finally:
            os.umask(before)

    async def close(self) -> None:
        """Cuts off what is under way."""
        if self._server is not None:
            self._server.close()
        self._closed = True
        await asyncio.sleep(0)  # what was accepted before has its task then
        for task in self._talking:
            task.cancel()
        if self._talking:
            await asyncio.wait(self._talking)
        self._behind.close()
        self._path.unlink(missing_ok=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talking.add(task)
        try:
            if not self._closed and await self._check.admits(writer.get_extra_info("socket")):
                await self._relay(reader, writer)
        except asyncio.CancelledError:
            pass  # it is closed
        finally:
            await _close(writer)
            self._talking.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            theirs, to_them = await self._behind.connect()
        except OSError:
            return
        both = [asyncio.create_task(_pass(reader, to_them)), asyncio.create_task(_pass(theirs, writer))]
        try:
            await asyncio.gather(*both)
        except OSError:
            pass  # one of them has gone
        finally:
            to_them.close()  # before anything is awaited, for this may be cancelled again
            for each in both:
                each.cancel()
            await asyncio.wait(both)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(PIECE_BYTES):
        writer.write(piece)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
