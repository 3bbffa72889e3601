"""A Unix socket in front of a server that cannot say which process connects to it: gRPC's, Envoy's."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

from gatewright_controller.local.peers import PeerCheck
from gatewright_controller.local.private_socket import READ_BYTES, PrivateSocket


class Unnamed:
    """A server's socket that loses its name: a process that has not opened it before can no longer connect.

    It is found by /proc/self/fd, which is its process's alone (prctl(2), PR_SET_DUMPABLE). path: where the server makes
    it, again each time that it starts.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def take(self) -> None:
        """Opens what the server has made and takes its name away. Nothing where there is nothing new.

        The server has done with the name: Envoy sets the mode of the file after it has bound it.
        """
        if (found := self._opened()) is not None:
            self._keep(found)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The name of a new socket is taken away once the server accepts connections. Raises OSError where no
        process listens.
        """
        found = self._opened()
        if found is None:
            if self._fd is None:
                raise FileNotFoundError(f"no process listens at {self._path}")
            return await _connect(self._fd)
        try:
            connection = await _connect(found)
        except BaseException:
            os.close(found)
            raise
        self._keep(found)
        return connection

    def _opened(self) -> int | None:
        try:
            return os.open(self._path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None

    def _keep(self, found: int) -> None:
        with contextlib.suppress(FileNotFoundError):  # another connection has taken it
            if os.path.samestat(os.fstat(found), self._path.lstat()):
                self._path.unlink()
        self.close()
        self._fd = found

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class Relay:
    """Passes on, to the server behind, what comes from those whom the check admits. Start it, close it."""

    def __init__(self, path: Path, behind: Unnamed, check: PeerCheck) -> None:
        self._behind = behind
        self._socket = PrivateSocket(path, check, self._relay)

    async def start(self) -> None:
        """Makes the socket, mode 0600."""
        await self._socket.start()

    def exchange(self, other: Relay) -> None:
        """From now on, connections to each go to the server behind the other."""
        self._behind, other._behind = other._behind, self._behind

    async def close(self) -> None:
        """Cuts off the connections that there are."""
        await self._socket.close()
        self._behind.close()

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
            for task in both:
                task.cancel()
            await asyncio.wait(both)


async def _connect(descriptor: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_unix_connection(f"/proc/self/fd/{descriptor}", limit=READ_BYTES)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(READ_BYTES):
        writer.write(piece)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
