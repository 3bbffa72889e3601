"""What waits to go to the engine on one stream. All that is there leaves in one frame."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.convert import wire
from gatewright_executor.grpc.protocol import Status
from gatewright_executor.running.limits import LIMITS

MAX_FRAME_BYTES = 1 << 20  # a frame ends with the answer that passes it
MAX_SPANS = 8  # batches of spans that wait for a frame

_REPLY = wire.keys(pb.ReplyFrame)
_PIECE = wire.keys(pb.Piece)
_CREDIT = wire.keys(pb.Credit)


class Writer(Protocol):
    """Where frames go (grpc's ResponseWriter). Never waits for the client to read them."""

    def send(self, message: bytes) -> None:
        """A serialized ReplyFrame."""

    def finish(self, status: Status = Status.OK, why: str = "") -> None:
        """No more comes."""


class Replies:
    """Filled from any thread, and sent by those that filled it; what comes while one of them sends, that one sends too.

    backlog: how many executions wait for a worker. ended: called after the last frame. max_backlog: see Limits.
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
        self._spans: deque[bytes] = deque()  # as well, but one of them a frame: the engine bounds these
        self._backlog = backlog
        self._received = 0
        self._acknowledged = 0
        self._sending = threading.Lock()
        self._done: Callable[[], bool] = lambda: False
        self._finished = False

    def put_hello(self, hello: pb.Hello) -> None:
        """The first of a stream."""
        self._fields.append(wire.delimited(_REPLY["hello"], hello.SerializeToString()))

    def put_action(self, action: bytes) -> None:
        """A serialized Action."""
        self._fields.append(wire.delimited(_REPLY["actions"], action))

    def put_piece(self, number: int, parts: Sequence[bytes | memoryview]) -> None:
        """A piece of what a stream yields, in parts: they are copied once, into the field."""
        size = sum(map(len, parts))
        head = _PIECE["id"] + wire.varint(number)
        if size:
            head += _PIECE["data"] + wire.varint(size)
        self._fields.append(b"".join((_REPLY["pieces"], wire.varint(len(head) + size), head, *parts)))

    def put_credit(self, number: int, size: int) -> None:
        """A stream has taken so many bytes."""
        credit = b"".join((_CREDIT["id"], wire.varint(number), _CREDIT["bytes"], wire.varint(size)))
        self._fields.append(wire.delimited(_REPLY["credit"], credit))

    def put_located(self, number: int, file: str, line: int) -> None:
        """Where an execution was when its time was over."""
        name = file.encode("utf-8", "backslashreplace").decode()
        located = pb.Located(id=number, file=name, line=line)
        self._fields.append(wire.delimited(_REPLY["located"], located.SerializeToString()))

    def put_store_call(self, call: bytes) -> None:
        """A serialized StoreCall."""
        self._fields.append(wire.delimited(_REPLY["store_calls"], call))

    def put_status(self, status: pb.InstanceStatus) -> None:
        """That an instance is ready, or why it is not."""
        self._fields.append(wire.delimited(_REPLY["instances"], status.SerializeToString()))

    def put_spans(self, spans: bytes) -> bool:
        """A serialized ResourceSpans, for the next frame that has none. False: too many wait already."""
        if len(self._spans) >= MAX_SPANS:
            return False
        if not self._finished:
            self._spans.append(wire.delimited(_REPLY["spans"], spans))
        return True

    def acknowledge(self) -> None:
        """Counts a frame whose executions are under way. What is sent next, if only that, acknowledges it."""
        self._received += 1

    def end_when(self, done: Callable[[], bool]) -> None:
        """No more comes once `done()` says so and everything is sent."""
        self._done = done

    def flush(self) -> None:
        """Sends what there is, if there is reason to, and whatever other threads put meanwhile."""
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
        done = self._done()  # before it is seen what there is
        fields = self._next_frame()
        if fields:
            self._writer.send(b"".join(fields))
        if done and not self._fields and not self._spans and not self._finished:
            self._finished = True
            self._writer.finish()
            self._ended()

    def _next_frame(self) -> list[bytes]:
        """All that is there, or as much as a frame may have."""
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
