"""Reads one engine's connection: the calls on it, and their messages, go to who serves them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from gatewright_executor.grpc.connection import Connection, ResponseWriter
from gatewright_executor.grpc.protocol import (
    Aborted,
    CallStarted,
    ConnectionLost,
    Event,
    HalfClosed,
    Message,
    Status,
)
from gatewright_executor.running.dispatch import Dispatcher
from gatewright_executor.running.inline_runner import InlineRunner


class Call(Protocol):
    """The server's side of one gRPC call. Called in the thread that reads."""

    def message(self, data: bytes) -> None:
        """One message of the client."""

    def half_closed(self) -> None:
        """No further messages come."""

    def aborted(self) -> None:
        """Nobody waits for the response any more."""


Methods: TypeAlias = Mapping[str, Callable[[ResponseWriter, InlineRunner], Call]]
"""By path, "/package.Service/Method": what serves a call."""


class ReadingLoop:
    """Of one connection. `run()` is for its first thread; `InlineRunner` has further ones go on with it."""

    def __init__(self, connection: Connection, methods: Methods, dispatcher: Dispatcher) -> None:
        self._connection = connection
        self._methods = methods
        self._runner = InlineRunner(dispatcher, self.run)
        self._calls: dict[int, Call] = {}

    def run(self, term: int = 0) -> None:
        """Reads until the client has left or another thread reads on: the runner's term is another one then.

        Where that fails the connection ends, too.
        """
        try:
            while self._runner.term == term:
                event = self._connection.next_event()
                if event is None:
                    self._end_connection()
                    return
                self._handle(event)
                del event  # or its message would stay in memory until the next one
        except BaseException:
            if self._runner.term == term:  # else it is another thread's
                self._end_connection()
            raise

    def _handle(self, event: Event) -> None:
        if isinstance(event, CallStarted):
            self._start_call(event.stream_id, event.path)
        elif isinstance(event, ConnectionLost):
            self._connection.close()
        elif (call := self._calls.get(event.stream_id)) is not None:
            self._tell(call, event)

    def _tell(self, call: Call, event: Message | HalfClosed | Aborted) -> None:
        match event:
            case Message(_, data):
                call.message(data)
            case HalfClosed():
                call.half_closed()
            case Aborted(stream_id):
                self._calls.pop(stream_id).aborted()

    def _start_call(self, stream_id: int, path: str) -> None:
        writer = ResponseWriter(self._connection, stream_id)
        serve = self._methods.get(path)
        if serve is None:
            writer.finish(Status.UNIMPLEMENTED, f"expected one of {', '.join(self._methods)}, got {path}")
            return
        for gone in [each for each in self._calls if not self._connection.has_call(each)]:
            self._calls.pop(gone).aborted()  # to those that have ended already it means nothing
        self._calls[stream_id] = serve(writer, self._runner)

    def _end_connection(self) -> None:
        """Tells all calls; to those that have ended already it means nothing."""
        self._connection.lose()
        for call in self._calls.values():
            call.aborted()
        self._calls.clear()
        self._runner.close()
