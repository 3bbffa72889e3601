"""The connections that a test has accepted, or opened."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

ACCEPTING_TURNS = 3
"""Of the loop, after which `accept` has been called with each connection that the system has accepted."""


class Connections:
    """Runs `serve` for each connection. `accept` is what asyncio.start_server calls: a plain function, so that a
    connection is known before its task has begun, and is closed where that never begins. It is known until its
    transport is closed, which may wait for the peer."""

    def __init__(self, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
        self._serve = serve
        self._tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._run(reader, writer))
        self._tasks[task] = writer
        task.add_done_callback(self._end)

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._serve(reader, writer)
        writer.close()
        with contextlib.suppress(OSError):  # of the connection: it is closed then, too
            await writer.wait_closed()

    def _end(self, task: asyncio.Task[None]) -> None:
        writer = self._tasks.pop(task)
        if task.cancelled():
            writer.transport.abort()
        elif (error := task.exception()) is not None:
            writer.transport.abort()
            task.get_loop().call_exception_handler({"message": "a connection's task failed", "exception": error})

    async def close(self, server: asyncio.Server) -> None:
        """Closes the server that calls `accept`, and cuts all connections.

        A server that is closed in the turn in which it accepts forgets the connection, and leaves it open.
        """
        for listening in server.sockets:
            asyncio.get_running_loop().remove_reader(listening.fileno())
        for _ in range(ACCEPTING_TURNS):
            await asyncio.sleep(0)
        server.close()
        await self.abort()

    async def abort(self) -> None:
        """Cuts all connections, and cancels what serves them."""
        tasks = dict(self._tasks)
        for task, writer in tasks.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # an aborted transport closes in the next turn of the loop
