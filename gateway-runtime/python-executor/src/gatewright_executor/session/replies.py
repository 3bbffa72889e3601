"""The replies that wait to be sent to the engine on one stream. All of them leave in one frame."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.convert import wire
from gatewright_executor.grpc.protocol import Status
from gatewright_executor.running.limits import LIMITS

MAX_FRAME_BYTES = 1 << 20  # a frame ends with the answer that exceeds it
MAX_SPANS = 8  # batches of spans that wait for a frame

_REPLY = wire.keys(pb.ReplyFrame)
_PIECE = wire.keys(pb.Piece)
_CREDIT = wire.keys(pb.Credit)


class Writer(Protocol):
    """Sends frames (grpc's ResponseWriter). Never waits for the client to read them."""

    def send(self, message: bytes) -> None:
        """Sends a serialized ReplyFrame."""

    def finish(self, status: Status = Status.OK, why: str = "") -> None:
        """Ends the response."""


class Replies:
    """A queue that any thread fills and flushes; a thread that is sending also sends replies that come meanwhile.

    backlog: returns the number of executions that wait for a worker. ended: called after the last frame. max_backlog:
    see Limits.
    """

    def __init__(
        self,
        writer: Writer,
        backlog: Callable[[], int],
        ended: Callable[[], None] = lambda: None,
        max_backlog: int = LIMITS.max_backlog,
    ) -> None:
        self._writer = writer
        self._max_backlog = max_backlog
        self._ended = ended
        self._fields: deque[bytes] = deque()  # of ReplyFrame
        self._spans: deque[bytes] = deque()  # fields too, but one for each frame, since the engine bounds them
        self._backlog = backlog
        self._received = 0
        self._acknowledged = 0
        self._sending = threading.Lock()
        self._done: Callable[[], bool] = lambda: False
        self._finished = False

    def put_hello(self, hello: pb.Hello) -> None:
        """Queues the first reply of a stream."""
        self._fields.append(wire.delimited(_REPLY["hello"], hello.SerializeToString()))

    def put_action(self, action: bytes) -> None:
        """Queues a serialized Action."""
        self._fields.append(wire.delimited(_REPLY["actions"], action))

    def put_piece(self, number: int, parts: Sequence[bytes | memoryview]) -> None:
        """Queues a piece that a stream has yielded, in parts, which are copied once, into the field."""
        size = sum(map(len, parts))
        head = _PIECE["id"] + wire.varint(number)
        if size:
            head += _PIECE["data"] + wire.varint(size)
        self._fields.append(b"".join((_REPLY["pieces"], wire.varint(len(head) + size), head, *parts)))

    def put_credit(self, number: int, size: int) -> None:
        """Queues credit for the bytes that a stream has taken."""
        credit = b"".join((_CREDIT["id"], wire.varint(number), _CREDIT["bytes"], wire.varint(size)))
        self._fields.append(wire.delimited(_REPLY["credit"], credit))

    def put_located(self, number: int, file: str, line: int) -> None:
        """Queues the place of an execution at its deadline."""
        name = file.encode("utf-8", "backslashreplace").decode()
        located = pb.Located(id=number, file=name, line=line)
        self._fields.append(wire.delimited(_REPLY["located"], located.SerializeToString()))

    def put_store_call(self, call: bytes) -> None:
        """Queues a serialized StoreCall."""
        self._fields.append(wire.delimited(_REPLY["store_calls"], call))

    def put_status(self, status: pb.InstanceStatus) -> None:
        """Queues the status of an instance: ready, or its failure."""
        self._fields.append(wire.delimited(_REPLY["instances"], status.SerializeToString()))

    def put_spans(self, spans: bytes) -> bool:
        """Queues a serialized ResourceSpans, for the next frame that has none. False: too many wait already."""
        if len(self._spans) >= MAX_SPANS:
            return False
        if not self._finished:
            self._spans.append(wire.delimited(_REPLY["spans"], spans))
        return True

    def acknowledge(self) -> None:
        """Counts a frame whose executions are under way. The next reply frame acknowledges it."""
        self._received += 1

    def end_when(self, done: Callable[[], bool]) -> None:
        """Ends the stream once `done()` is true and everything is sent."""
        self._done = done

    def flush(self) -> None:
        """Sends the queued replies, if there is a reason to, and those that other threads put meanwhile."""
        while self._has_reason and self._sending.acquire(blocking=False):
            try:
                self._send()
            finally:
                self._sending.release()

    @property
    def _has_reason(self) -> bool:
        return bool(self._fields or self._spans) or self._owes_acknowledgement or (not self._finished and self._done())

    @property
    def _owes_acknowledgement(self) -> bool:
        return self._received != self._acknowledged and self._backlog() <= self._max_backlog

    def _send(self) -> None:
        done = self._done()  # before the queue is read
        fields = self._next_frame()
        if fields:
            self._writer.send(b"".join(fields))
        if done and not self._fields and not self._spans and not self._finished:
            self._finished = True
            self._writer.finish()
            self._ended()

    def _next_frame(self) -> list[bytes]:
        """The queued fields, or as many as a frame may have."""
        fields, size = [], 0
        while self._fields and size <= MAX_FRAME_BYTES:
            fields.append(self._fields.popleft())
            size += len(fields[-1])
        if self._spans:
            fields.append(self._spans.popleft())
        if self._owes_acknowledgement:
            self._acknowledged = self._received
            fields.append(_REPLY["frames_acknowledged"] + wire.varint(self._acknowledged))
        return fields
