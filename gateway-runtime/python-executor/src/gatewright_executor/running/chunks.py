"""The argument `chunks` of on_request_stream and on_response_stream: the body as an asynchronous iterator of bytes."""

from __future__ import annotations

import asyncio
from typing import Protocol

from gatewright.action import ASKED_TWICE, ITERATED_AGAIN
from gatewright.trailers import Trailers

from gatewright_executor.running.stream_execution import StreamExecution


class OwnTime(Protocol):
    """Measures a stream's own work (streams.py)."""

    def rest(self, execution: StreamExecution) -> None:
        """The stream begins to wait."""

    def work(self, execution: StreamExecution) -> None:
        """The stream's own work begins."""


class Chunks:
    """The chunks of one body: none is empty, and their boundaries have no meaning. They can be iterated once.

    A second loop may continue after the first one was left. RuntimeError if two tasks ask at once, and if the chunks
    are iterated again after their end.
    """

    __slots__ = ("_ended", "_execution", "_time", "_trailers")

    def __init__(self, execution: StreamExecution, trailers: Trailers, time: OwnTime) -> None:
        self._execution = execution
        self._trailers = trailers
        self._time = time
        self._ended = False

    def __aiter__(self) -> Chunks:
        if self._ended:
            raise RuntimeError(ITERATED_AGAIN)
        return self

    async def __anext__(self) -> bytes:
        execution = self._execution
        if execution.chunk_waiter is not None:
            raise RuntimeError(ASKED_TWICE)
        if execution.is_over or execution.has_ended:
            execution.is_cancelled = True
            await asyncio.sleep(0)  # or a stream that always has a chunk would never let the loop run other work
            raise asyncio.CancelledError
        if execution.has_chunk or execution.is_whole:
            self._time.work(execution)
        else:
            await self._wait(execution)
        if execution.has_chunk:
            return execution.take()
        if not self._ended:
            self._ended = True
            self._trailers.arrived(execution.trailers)
        raise StopAsyncIteration

    async def _wait(self, execution: StreamExecution) -> None:
        self._time.rest(execution)
        loop = asyncio.get_running_loop()
        try:
            while not execution.has_chunk and not execution.is_whole:
                execution.chunk_waiter = waiter = loop.create_future()
                if execution.has_chunk or execution.is_whole:  # it came before the waiter was visible
                    break
                await waiter
        finally:
            execution.chunk_waiter = None
            self._time.work(execution)
