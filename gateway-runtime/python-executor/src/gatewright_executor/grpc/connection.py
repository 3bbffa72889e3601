"""A connection: a socket, and the gRPC calls on it. One thread reads; whoever has something to say writes.

Nobody who writes ever waits for the client to read. What the socket does not take at once goes out from a thread of
its own, so that a client that stands still holds up neither a worker nor the event loop.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from gatewright_executor import critical_thread
from gatewright_executor.grpc import nonblocking_send
from gatewright_executor.grpc.protocol import Aborted, Begun, Calls, ConnectionLost, Event, HalfClosed, Message, Status

READ_BYTES = 128 << 10
WRITE_BYTES = 1 << 20


class Call(Protocol):
    """The server's side of one call."""

    def message(self, data: bytes) -> bool:
        """False: it took long, another thread reads on since (Answer.read_on), and this one is to go."""

    def half_closed(self) -> None:
        """No further messages come."""

    def aborted(self) -> None:
        """Nobody waits for the answer any more."""


class Answer:
    """Where a call's answer goes. From any thread; once the call is gone, nowhere."""

    __slots__ = ("_connection", "_number")

    def __init__(self, connection: Connection, number: int) -> None:
        self._connection = connection
        self._number = number

    def send(self, message: bytes) -> None:
        """One message."""
        self._connection.send(self._number, message)

    def finish(self, status: Status = Status.OK, why: str = "") -> None:
        """No more, and how it ended."""
        self._connection.finish(self._number, status, why)

    def read_on(self) -> None:
        """Reads in this thread from now on: the one that is in a call's `message` is held up, and answers False."""
        self._connection.read_on()


Methods: TypeAlias = Mapping[str, Callable[[Answer], Call]]
"""By path: what begins a call."""


class Connection:
    """`start` lets a thread read until the client has left, which `ended` hears of, or until another reads on; then
    `afterwards` is called in it. All methods are for any thread."""

    def __init__(
        self,
        client: socket.socket,
        methods: Methods,
        limit: int,
        ended: Callable[[Connection], None],
        afterwards: Callable[[], None],
    ) -> None:
        self._client = client
        self._methods = methods
        self._ended = ended
        self._afterwards = afterwards
        self._events: deque[Event] = deque()  # read and not taken yet
        self._http = Calls(limit)
        self._lock = threading.Lock()  # of _http and of what goes into the socket
        self._unsent = bytearray()
        self._draining = False  # a thread sends _unsent
        self._begun: dict[int, Call] = {}
        self._idle = threading.Condition(self._lock)

    def start(self) -> None:
        """Begins to read, and to call what the methods made. When the connection ends, all its calls are aborted."""
        with self._lock:
            self._write()
        critical_thread.Thread(self._serve, name="connection").start()

    def read_on(self) -> None:
        """Reads until the client has left, or another thread reads on. Where that fails the connection ends, too."""
        try:
            while self._take_events():
                data = self._read()
                if not data:
                    self._lose()
                    return
                self._receive(data)
        except BaseException:
            self._lose()
            raise

    def send(self, number: int, message: bytes) -> None:
        with self._lock:
            self._http.send(number, message)
            self._write()

    def finish(self, number: int, status: Status, why: str) -> None:
        with self._lock:
            self._http.finish(number, status, why)
            self._write()

    def go_away(self) -> None:
        """Takes no new calls."""
        with self._lock:
            self._http.go_away()
            self._write()

    def await_idle(self, seconds: float) -> bool:
        """Waits until all calls are answered and all is sent; False where that took too long."""
        with self._lock:
            return self._idle.wait_for(lambda: self._http.is_idle and not self._unsent, seconds)

    def close(self) -> None:
        """Whoever reads comes to the end."""
        with contextlib.suppress(OSError):  # the client was faster
            self._client.shutdown(socket.SHUT_RDWR)

    # -------------------------------------------------------------- in

    def _serve(self) -> None:
        self.read_on()
        self._afterwards()

    def _take_events(self) -> bool:
        """False: this thread does not read on."""
        while self._events:
            if not self._take(self._events.popleft()):
                return False
        return True

    def _read(self) -> bytes:
        try:
            return self._client.recv(READ_BYTES)
        except OSError:
            return b""

    def _receive(self, data: bytes) -> None:
        with self._lock:
            self._events += self._http.receive(data)
            self._write()

    def _take(self, event: Event) -> bool:
        if isinstance(event, Begun):
            self._begin(event.call, event.path)
        elif isinstance(event, ConnectionLost):
            self.close()
        elif (call := self._begun.get(event.call)) is not None:
            return self._tell(call, event)
        return True

    def _tell(self, call: Call, event: Message | HalfClosed | Aborted) -> bool:
        match event:
            case Message(_, data):
                return call.message(data)
            case HalfClosed():
                call.half_closed()
            case Aborted(number):
                del self._begun[number]
                call.aborted()
        return True

    def _begin(self, number: int, path: str) -> None:
        begin = self._methods.get(path)
        if begin is None:
            self.finish(number, Status.UNIMPLEMENTED, f"expected one of {', '.join(self._methods)}, got {path}")
        else:
            self._begun[number] = begin(Answer(self, number))

    def _lose(self) -> None:
        with self._lock:
            self._unsent.clear()
            self._http.lose()
            self._idle.notify_all()
        self._client.close()
        for call in self._begun.values():
            call.aborted()
        self._begun.clear()
        self._ended(self)

    # -------------------------------------------------------------- out, with the lock held

    def _write(self) -> None:
        """Sends what there is, as far as the socket takes it now. Where that fails nothing whole can follow.

        What is put out while something waits for the socket stays where it is counted (Calls), and goes from there.
        """
        if self._unsent:
            return
        try:
            data = self._http.outgoing()
            if data and (data := data[self._push(data) :]):
                self._keep(data)
        except BaseException:
            self.close()
            raise
        if not self._unsent and self._http.is_idle:
            self._idle.notify_all()

    def _push(self, data: bytes) -> int:
        """How much of it is gone."""
        try:
            return nonblocking_send.send(self._client.fileno(), data)
        except OSError:  # the client has left; whoever reads notices too
            return len(data)

    def _keep(self, data: bytes) -> None:
        self._unsent += data
        if not self._draining:
            self._draining = True
            critical_thread.Thread(self._drain, name="drain").start()

    def _drain(self) -> None:
        try:
            poll = select.poll()
            poll.register(self._client, select.POLLOUT)
            while self._draining:
                poll.poll()
                self._send_unsent()
        except BaseException:
            self.close()
            raise

    def _send_unsent(self) -> None:
        with self._lock:
            del self._unsent[: self._push(bytes(self._unsent[:WRITE_BYTES]))]
            if not self._unsent:
                self._unsent += self._http.outgoing()
            self._draining = bool(self._unsent)
            if not self._draining and self._http.is_idle:
                self._idle.notify_all()
