"""Reads one engine's connection, and gives the messages of its calls to the methods that serve them."""

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
    """The server's side of one gRPC call. Its methods are called in the reading thread."""

    def message(self, data: bytes) -> None:
        """Handles a message of the client."""

    def half_closed(self) -> None:
        """Called when the client sends no further messages."""

    def aborted(self) -> None:
        """Called when the client does not wait for the response any more."""


Methods: TypeAlias = Mapping[str, Callable[[ResponseWriter, InlineRunner], Call]]
"""The functions that serve calls, by path "/package.Service/Method"."""


class ReadingLoop:
    """The reading loop of one connection. `run()` is called in its first thread; `InlineRunner` calls it in others."""

    def __init__(self, connection: Connection, methods: Methods, dispatcher: Dispatcher) -> None:
        self._connection = connection
        self._methods = methods
        self._runner = InlineRunner(dispatcher, self.run)
        self._calls: dict[int, Call] = {}

    def run(self, term: int = 0) -> None:
        """Reads until the client has disconnected, or another thread reads on, which has changed the runner's term.

        An error ends the connection, too.
        """
        try:
            while self._runner.term == term:
                event = self._connection.next_event()
                if event is None:
                    self._end_connection()
                    return
                self._handle(event)
                del event  # or its message would stay in memory until the next event
        except BaseException:
            if self._runner.term == term:  # else another thread reads the connection
                self._end_connection()
            raise

    def _handle(self, event: Event) -> None:
        if isinstance(event, CallStarted):
            self._start_call(event.stream_id, event.path)
        elif isinstance(event, ConnectionLost):
            self._connection.close()
        elif (call := self._calls.get(event.stream_id)) is not None:
            self._deliver(call, event)

    def _deliver(self, call: Call, event: Message | HalfClosed | Aborted) -> None:
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
        for ended in [known for known in self._calls if not self._connection.has_call(known)]:
            self._calls.pop(ended).aborted()  # no effect on a call that has answered
        self._calls[stream_id] = serve(writer, self._runner)

    def _end_connection(self) -> None:
        """Aborts all calls, which has no effect on those that have answered."""
        self._connection.lose()
        for call in self._calls.values():
            call.aborted()
        self._calls.clear()
        self._runner.close()
