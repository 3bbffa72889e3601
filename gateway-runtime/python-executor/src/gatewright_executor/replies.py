"""What waits to go to the engine on one stream. All that is there leaves in one frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from queue import SimpleQueue

from gatewright_executor import wire
from gatewright_executor._gen import python_executor_pb2 as pb

MAX_FRAME_BYTES = 1 << 20  # a frame ends with the answer that passes it
MAX_BACKLOG = 1024  # executions that wait for a worker; beyond it, frames are not acknowledged: the engine waits
CREDIT = 2  # frames that an engine sends without hearing back

_REPLY = wire.keys(pb.ReplyFrame)


class Replies:
    """Filled from any thread, drained by the one that iterates over `frames`."""

    def __init__(self, backlog: Callable[[], int]) -> None:
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()  # fields of ReplyFrame; None: look again
        self._backlog = backlog
        self._taken_in = 0
        self._acknowledged = 0
        self._done: Callable[[], bool] = lambda: False

    def put_action(self, action: bytes) -> None:
        self._queue.put(wire.delimited(_REPLY["actions"], action))

    def put_status(self, status: pb.InstanceStatus) -> None:
        self._queue.put(wire.delimited(_REPLY["instances"], status.SerializeToString()))

    def take_in(self) -> None:
        """Counts a frame that was handed to the workers.

        The next answer takes the acknowledgement along, which saves a message and a wake-up where answers are quick.
        Only an engine that is at the end of its credit hears at once.
        """
        self._taken_in += 1
        if self._taken_in - self._acknowledged >= CREDIT:
            self._queue.put(None)

    def wake(self) -> None:
        """For when something changed that is no answer."""
        self._queue.put(None)

    def end(self, done: Callable[[], bool]) -> None:
        """Ends `frames` once `done()` says so and everything is sent."""
        self._done = done
        self._queue.put(None)

    def frames(self, hello: pb.Hello) -> Iterator[bytes]:
        """ReplyFrames, serialized: hello first, then whenever there is something, until the end."""
        yield pb.ReplyFrame(hello=hello).SerializeToString()
        while True:
            fields = self._next()
            if fields:
                yield b"".join(fields)
            if self._done() and self._queue.empty():
                break

    def _next(self) -> list[bytes]:
        """Waits for something, then takes all that is there."""
        queue, fields, size = self._queue, [], 0
        while True:
            field = queue.get()
            if field is not None:
                fields.append(field)
                size += len(field)
            if size > MAX_FRAME_BYTES or queue.empty():
                break
        if self._taken_in != self._acknowledged and self._backlog() <= MAX_BACKLOG:
            self._acknowledged = self._taken_in
            fields.append(_REPLY["frames_taken_in"] + wire.varint(self._acknowledged))
        return fields
