"""An execution that is a stream: its pieces that were not taken yet, and the credit that it may still send.

The reading thread feeds it; all else happens on its event loop. Neither waits for the other: a list and two counters
are each written by one of them only.

A stream whose body is the output of another one, its source, opens a pipe to it (pipe.py) when it takes its first
chunk: what the source yields from then on comes through the pipe. What it has yielded before comes by the engine, and
so does the end of the body, which the engine makes of the source's answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Protocol

from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.running.instance import Execution, Instance, ResultSink
from gatewright_executor.running.pipe import PIECE_BYTES, WINDOW_BYTES, Pipe, resolve, take_joined

CREDIT_BYTES = WINDOW_BYTES // 4  # taken bytes after which new credit is sent
NEVER = float("inf")


class StreamSink(ResultSink, Protocol):
    """Receives a stream's pieces, and credit for the bytes that it has taken."""

    def put_piece(self, execution: Execution, parts: Sequence[bytes | memoryview]) -> None:
        """Queues a piece, given in parts, for the next `flush`."""

    def put_credit(self, execution: Execution, size: int) -> None:
        """Queues credit for `size` more bytes, for the next `flush`."""


class LoopStreams(Protocol):
    """An event loop's streams (streams.py)."""

    def wake(self, waiter: asyncio.Future[None]) -> None:
        """Resolves a future that is awaited on the loop. From any thread."""

    def credit_given(self, execution: StreamExecution) -> None:
        """The stream's sink has credit to send. On the loop."""


class StreamExecution(Execution):
    """A stream. `message` is a copy, since a frame's message would keep the whole frame in memory while it lasts.

    `deadline` and `started` are those of its present own work, by its clock; while it waits, its deadline is NEVER.
    """

    __slots__ = (
        "_credited", "_granted", "_incoming", "_inlet", "_is_whole", "_owed", "_received", "_sent", "_taken",
        "_trailers", "chunk_waiter", "clock", "credit_waiter", "generator", "has_ended", "has_sent", "is_abandoned",
        "is_cancelled", "is_over", "limit", "loop_streams", "out", "out_bytes", "outlet", "source", "task", "worked",
    )  # fmt: skip
    is_stream = True
    sink: StreamSink

    def __init__(self, message: pb.Execution, instance: Instance, clock: Callable[[], float], sink: StreamSink) -> None:
        self.clock = clock
        own = pb.Execution.FromString(message.SerializeToString())
        self.limit = message.timeout_us / 1e6  # seconds of own work
        self.worked = 0.0  # seconds of own work before the present one
        super().__init__(own, instance, clock() + self.limit, sink)
        self.loop_streams: LoopStreams | None = None  # the streams of its event loop
        self.chunk_waiter: asyncio.Future[None] | None = None  # the policy waits for a chunk
        self.credit_waiter: asyncio.Future[None] | None = None  # its task waits for credit
        self.task: asyncio.Task[None] | None = None
        self.generator: AsyncGenerator[Any, None] | None = None
        self.is_over = False  # it was cancelled, or is late: its results are dropped
        self.is_cancelled = False  # its task was cancelled: a second cancellation would end its `finally`
        self.is_abandoned = False  # it goes on although it was cancelled
        self.has_ended = False
        self._incoming: list[bytes] = []
        self._is_whole = False  # all of the body has come
        self._trailers: bytes | None = None
        self._received = 0  # bytes, in all
        self._credited = 0  # bytes for which credit was sent, in all
        self._taken = 0  # bytes taken since the last credit
        self._granted = WINDOW_BYTES  # bytes that it may send to the engine, in all
        self._sent = 0  # bytes that it has sent to the engine
        self.has_sent = False
        self.out: list[bytes | memoryview] = []  # a piece that has not gone to the sink yet
        self.out_bytes = 0
        self.source: StreamExecution | None = None  # the stream whose output the body is, if it runs in this process
        self._inlet: Pipe | None = None  # from the source
        self.outlet: Pipe | None = None  # to the stream whose source this one is
        self._owed = ["slot", "answer"]

    # -------------------------------------------------------------- the thread that reads

    def feed(self, data: bytes, last: bool, trailers: bytes | None) -> None:
        """Adds a piece of the body; the caller then calls `wake_for_chunk`. ValueError for a piece without credit."""
        size, room = len(data), WINDOW_BYTES + self._credited - self._received
        if size > PIECE_BYTES or (size and room <= 0):
            raise ValueError(f"expected a piece of {PIECE_BYTES} bytes at most, with credit, got {size} with {room}")
        self._received += size
        if data:
            self._incoming.append(data)
        if last:
            self._trailers = trailers
            self._is_whole = True

    def wake_for_chunk(self) -> None:
        """Wakes the policy if it waits for a chunk."""
        self._wake(self.chunk_waiter)

    def grant(self, size: int) -> None:
        """Lets the stream send `size` more bytes."""
        self._granted += size
        self._wake(self.credit_waiter)

    def _wake(self, waiter: asyncio.Future[None] | None) -> None:
        if waiter is not None and self.loop_streams is not None:
            self.loop_streams.wake(waiter)

    # -------------------------------------------------------------- its event loop

    @property
    def has_chunk(self) -> bool:
        """Whether there is a chunk to take."""
        return bool(self._incoming) or (self._inlet is not None and self._inlet.has_chunk)

    @property
    def is_whole(self) -> bool:
        """Whether all of the body has come."""
        return self._is_whole

    @property
    def is_waiting(self) -> bool:
        """Whether the policy waits for a chunk, or its task for credit."""
        return self.chunk_waiter is not None or self.credit_waiter is not None

    @property
    def trailers(self) -> bytes | None:
        """The trailers, once the body is whole."""
        return self._trailers

    @property
    def has_credit(self) -> bool:
        """Whether the stream may send a piece: to the stream behind it, or to the engine."""
        return self.outlet.has_room if self.outlet is not None else self._sent < self._granted

    def worked_until(self, now: float) -> float:
        """Seconds of the stream's own work up to now, by its clock."""
        return self.worked if self.deadline == NEVER else self.worked + now - self.started

    def take(self) -> bytes:
        """Takes a chunk of up to PIECE_BYTES, and gives credit for it. The caller has checked `has_chunk`."""
        if self.source is not None and self._inlet is None:
            self._open_pipe(self.source)
        if self._incoming:
            return self._take_from_engine()
        assert self._inlet is not None
        assert self.source is not None
        chunk = self._inlet.take()
        resolve(self.source.credit_waiter)
        return chunk

    def _take_from_engine(self) -> bytes:
        chunk = take_joined(self._incoming)
        self._taken += len(chunk)
        if self._inlet is not None:
            self._inlet.ahead -= len(chunk)
        if self._taken >= CREDIT_BYTES:
            if not self._is_whole:
                self._credited += self._taken
                self.sink.put_credit(self, self._taken)
                assert self.loop_streams is not None
                self.loop_streams.credit_given(self)
            self._taken = 0
        return chunk

    def _open_pipe(self, source: StreamExecution) -> None:
        """Opens the pipe from the source, unless it has ended, or lives on another event loop."""
        if source.has_ended or source.loop_streams is not self.loop_streams:
            self.source = None
            return
        self._inlet = source.outlet = Pipe(self, source._sent)
        resolve(source.credit_waiter)

    def note_sent(self, size: int) -> None:
        """Records that `size` bytes of the engine's credit are used."""
        self._sent += size

    # -------------------------------------------------------------- any thread

    def settle(self) -> bool:
        """Whether the caller must answer the stream: True for the first caller only."""
        return self._claim("answer")

    def give_slot_back(self, dispatch: Callable[[Execution], None]) -> None:
        """Releases the stream's slot, at the first call only; `dispatch` runs the executions that get it."""
        if self._claim("slot"):
            for following in self.instance.release_stream():
                dispatch(following)

    def drop_input(self) -> None:
        """Drops the chunks that were not taken."""
        self._incoming = []
        self.source = self._inlet = None

    def _claim(self, duty: str) -> bool:
        with contextlib.suppress(ValueError):
            self._owed.remove(duty)  # atomic
            return True
        return False
