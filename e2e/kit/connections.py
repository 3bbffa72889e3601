"""The connections that a server of a test has accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Connections:
    """Runs `serve` for each connection. `accept` is what asyncio.start_server calls: a plain function, so that a
    connection is known before its task has begun, and is closed where that never begins."""

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

    def _end(self, task: asyncio.Task[None]) -> None:
        writer = self._tasks.pop(task)
        if task.cancelled():
            writer.transport.abort()
        elif (error := task.exception()) is not None:
            writer.transport.abort()
            task.get_loop().call_exception_handler({"message": "a connection's task failed", "exception": error})

    async def abort(self) -> None:
        """Cuts all connections, and cancels what serves them."""
        tasks = dict(self._tasks)
        for task, writer in tasks.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # an aborted transport closes in the next turn of the loop
