"""A network between nodes and a controller that can be cut: connections stay open, and nothing arrives any more."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator


class CutNetwork:
    """Passes connections on to `target`, a port of `host`. Connections of before a cut stay as they are for good, as
    behind a firewall that has forgotten them: only their two ends can find that out. `start` it, `close` it."""

    def __init__(self, target: int, host: str = "127.0.0.1") -> None:
        self.port = 0
        self._target, self._host, self._loop = target, host, asyncio.new_event_loop()
        self._whole = True
        self._cut: set[asyncio.StreamWriter] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)

    def start(self) -> None:
        """Listens at `port` from then on."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def close(self) -> None:
        """Closes all connections."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self) -> None:
        """Nothing arrives any more; new connections are taken, and get no answer."""
        self._loop.call_soon_threadsafe(self._lose)

    def restore(self) -> None:
        """New connections are passed on."""
        self._loop.call_soon_threadsafe(setattr, self, "_whole", True)

    def redirect(self, target: int) -> None:
        """Closes all connections; new ones are passed on to this port."""
        self._loop.call_soon_threadsafe(self._redirect, target)

    def _redirect(self, target: int) -> None:
        self._target = target
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(tasks)

    def _lose(self) -> None:
        self._whole = False
        self._cut |= self._open

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if not self._whole:
            self._cut.add(writer)
            await self._pass(reader, writer, writer)
            return
        try:
            there, back = await asyncio.open_connection(self._host, self._target)
        except OSError:  # no process listens there now
            writer.close()
            return
        self._open.add(writer)
        self._writers.add(back)
        await asyncio.gather(self._pass(reader, back, writer), self._pass(there, writer, writer))

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, accepted: asyncio.StreamWriter
    ) -> None:
        """Until one end closes; what a cut connection carries is lost, its end too."""
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if accepted not in self._cut:
                    writer.write(data)
                    await writer.drain()
        if accepted not in self._cut:
            writer.close()


@contextlib.contextmanager
def running_network(target: int, host: str = "127.0.0.1") -> Iterator[CutNetwork]:
    """Passes connections on meanwhile."""
    network = CutNetwork(target, host)
    network.start()
    try:
        yield network
    finally:
        network.close()
