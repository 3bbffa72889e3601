"""An execution that is a stream: what has come for it and was not taken yet, and how much it may still send.

The thread that reads feeds it; all else happens on the event loop that it runs on. Neither waits for the other: a list
and two counters are each written by one of them only.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Protocol

from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.running.instance import Execution, Instance, ResultSink

WINDOW_BYTES = 256 << 10  # that either side may send ahead of what was taken
CREDIT_BYTES = WINDOW_BYTES // 4  # taken, after which as many more are allowed
PIECE_BYTES = 64 << 10  # of one piece, at most
NEVER = float("inf")


class StreamSink(ResultSink, Protocol):
    """Where what a stream yields goes, and what it has taken."""

    def put_piece(self, execution: Execution, parts: Sequence[bytes | memoryview]) -> None:
        """One piece, in parts. Leaves with the next `flush`."""

    def put_credit(self, execution: Execution, size: int) -> None:
        """So many bytes more may come. Leaves with the next `flush`."""


class Wakes(Protocol):
    """An event loop's streams (streams.py)."""

    def wake(self, waiter: asyncio.Future[None]) -> None:
        """Lets go on what waits on the loop. From any thread."""


class StreamExecution(Execution):
    """`message` is its own: one of a frame would keep the whole frame in memory for as long as the stream goes on.

    `deadline` and `started` are those of its present own work, by its clock; it waits where its deadline is NEVER.
    """

    __slots__ = (
        "_credited", "_granted", "_incoming", "_is_whole", "_owed", "_received", "_sent", "_taken", "_trailers",
        "chunk_waiter", "clock",
        "credit_waiter", "generator", "has_ended", "has_sent", "is_given_up", "is_over", "is_told", "limit",
        "loop_streams", "out", "out_bytes", "task", "worked",
    )  # fmt: skip
    is_stream = True
    sink: StreamSink

    def __init__(self, message: pb.Execution, instance: Instance, clock: Callable[[], float], sink: StreamSink) -> None:
        self.clock = clock
        own = pb.Execution.FromString(message.SerializeToString())
        self.limit = message.timeout_us / 1e6  # seconds of own work
        self.worked = 0.0  # seconds of own work, before its present one
        super().__init__(own, instance, clock() + self.limit, sink)
        self.loop_streams: Wakes | None = None  # of its event loop
        self.chunk_waiter: asyncio.Future[None] | None = None  # the policy waits for a chunk,
        self.credit_waiter: asyncio.Future[None] | None = None  # and its task for credit
        self.task: asyncio.Task[None] | None = None
        self.generator: AsyncGenerator[Any, None] | None = None
        self.is_over = False  # nobody waits for it any more: it was cancelled, or is late
        self.is_told = False  # by a cancellation, so that no second one ends its `finally`
        self.is_given_up = False  # it does not end, although it was cancelled
        self.has_ended = False
        self._incoming: list[bytes] = []
        self._is_whole = False  # no more comes
        self._trailers: bytes | None = None
        self._received = 0  # bytes in all
        self._credited = 0  # of them
        self._taken = 0  # since then
        self._granted = WINDOW_BYTES  # in all
        self._sent = 0
        self.has_sent = False
        self.out: list[bytes | memoryview] = []  # a piece that has not gone to the sink yet
        self.out_bytes = 0
        self._owed = ["slot", "answer"]

    # -------------------------------------------------------------- the thread that reads

    def feed(self, data: bytes, last: bool, trailers: bytes | None) -> None:
        """A piece of its body. `wake_for_chunk` is to follow. ValueError where it may not come."""
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
        """Lets it go on, if it waits for what it was fed."""
        self._wake(self.chunk_waiter)

    def grant(self, size: int) -> None:
        """It may send so many bytes more."""
        self._granted += size
        self._wake(self.credit_waiter)

    def _wake(self, waiter: asyncio.Future[None] | None) -> None:
        if waiter is not None and self.loop_streams is not None:
            self.loop_streams.wake(waiter)

    # -------------------------------------------------------------- its event loop

    @property
    def has_chunk(self) -> bool:
        """Whether there is something to take."""
        return bool(self._incoming)

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
        """As they came, once it is whole."""
        return self._trailers

    @property
    def has_credit(self) -> bool:
        """Whether it may send a piece."""
        return self._sent < self._granted

    def worked_until(self, now: float) -> float:
        """Seconds of its own work, up to now, by its clock."""
        return self.worked if self.deadline == NEVER else self.worked + now - self.started

    def take(self) -> bytes:
        """What waits, up to PIECE_BYTES of it, and gives credit back for it. There is something."""
        size, count = len(self._incoming[0]), 1
        for data in self._incoming[1:]:
            if size + len(data) > PIECE_BYTES:
                break
            size, count = size + len(data), count + 1
        taken = self._incoming[:count]
        del self._incoming[:count]
        self._taken += size
        if self._taken >= CREDIT_BYTES:
            if not self._is_whole:
                self._credited += self._taken
                self.sink.put_credit(self, self._taken)
            self._taken = 0
        return taken[0] if count == 1 else b"".join(taken)

    def note_sent(self, size: int) -> None:
        """So many bytes of its credit are used."""
        self._sent += size

    # -------------------------------------------------------------- any thread

    def settle(self) -> bool:
        """Whether the caller is to answer it: True for one only."""
        return self._pay("answer")

    def give_slot_back(self, dispatch: Callable[[Execution], None]) -> None:
        """Gives its slot back, once however often it is called; `dispatch` runs who gets it."""
        if self._pay("slot"):
            for following in self.instance.release_stream():
                dispatch(following)

    def drop_input(self) -> None:
        """Nobody takes what has come."""
        self._incoming = []

    def _pay(self, what: str) -> bool:
        with contextlib.suppress(ValueError):
            self._owed.remove(what)  # at once, for all threads
            return True
        return False
