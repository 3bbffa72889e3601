"""A connection: a socket, and the gRPC calls on it. One thread reads; any thread writes.

No writer ever waits for the client to read. A separate thread sends the bytes that the socket does not accept at once,
so that a client that reads nothing holds up neither a worker nor the event loop.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections import deque
from collections.abc import Callable

from gatewright_executor.critical_thread import CriticalThread
from gatewright_executor.grpc.protocol import Event, GrpcConnection, Status

READ_BYTES = 128 << 10
WRITE_BYTES = 1 << 20
_SEND_FLAGS = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL


class ResponseWriter:
    """Writes the response of one call, from any thread. Once the call has ended, writes have no effect."""

    __slots__ = ("_connection", "_stream_id")

    def __init__(self, connection: Connection, stream_id: int) -> None:
        self._connection = connection
        self._stream_id = stream_id

    def send(self, message: bytes) -> None:
        """One message."""
        self._connection.send(self._stream_id, message)

    def finish(self, status: Status = Status.OK, why: str = "") -> None:
        """Ends the response after the messages that were sent. why: the text of the status."""
        self._connection.finish(self._stream_id, status, why)


class Connection:
    """A client's connection. `next_event` reads, in one thread at a time; all other methods are for any thread.

    limit: the most bytes of a message. lost: called once nothing is read or written any more.
    """

    def __init__(self, client: socket.socket, limit: int, lost: Callable[[Connection], None]) -> None:
        self._client = client
        self._lost = lost
        self._events: deque[Event] = deque()  # read, and not returned by next_event yet
        self._protocol = GrpcConnection(limit)
        self._lock = threading.Lock()  # for _protocol and for writing to the socket
        self._unsent = bytearray()
        self._draining = False  # a thread sends _unsent
        self._idle = threading.Condition(self._lock)

    def open(self) -> None:
        """Sends the server's first frames."""
        with self._lock:
            self._write()

    def next_event(self) -> Event | None:
        """Waits for the next event, and returns it. None: the client has disconnected, or `close` was called."""
        while not self._events:
            data = self._read()
            if not data:
                return None
            with self._lock:
                self._events += self._protocol.receive(data)
                self._write()
        return self._events.popleft()

    def send(self, stream_id: int, message: bytes) -> None:
        """Sends a message of a call's response."""
        with self._lock:
            self._protocol.send(stream_id, message)
            self._write()

    def finish(self, stream_id: int, status: Status, why: str) -> None:
        """Ends a call's response."""
        with self._lock:
            self._protocol.finish(stream_id, status, why)
            self._write()

    def has_call(self, stream_id: int) -> bool:
        """Whether the call is under way."""
        return self._protocol.has_call(stream_id)

    def go_away(self) -> None:
        """Accepts no new calls."""
        with self._lock:
            self._protocol.go_away()
            self._write()

    def await_idle(self, seconds: float) -> bool:
        """Waits until all calls are answered and all bytes are sent; False after `seconds`."""
        with self._lock:
            return self._idle.wait_for(lambda: self._protocol.is_idle and not self._unsent, seconds)

    def close(self) -> None:
        """Makes `next_event` return None."""
        with contextlib.suppress(OSError):  # the client has disconnected already
            self._client.shutdown(socket.SHUT_RDWR)

    def lose(self) -> None:
        """Ends the connection after the last event: nothing can be sent any more."""
        with self._lock:
            self._unsent.clear()
            self._protocol.lose()
            self._idle.notify_all()
            self._client.close()  # under the lock, or a sending thread might write to a new file with this descriptor
        self._lost(self)

    def _read(self) -> bytes:
        try:
            return self._client.recv(READ_BYTES)
        except OSError:
            return b""

    # -------------------------------------------------------------- out, with the lock held

    def _write(self) -> None:
        """Sends the pending bytes, as far as the socket accepts them now. After an error nothing more is sent.

        While bytes wait for the socket, later frames stay in the GrpcConnection, which bounds them, and are sent from
        there.
        """
        if self._unsent:
            return
        try:
            data = self._protocol.outgoing()
            if data and (data := data[self._send_now(data) :]):
                self._send_later(data)
        except BaseException:
            self.close()
            raise
        if not self._unsent and self._protocol.is_idle:
            self._idle.notify_all()

    def _send_now(self, data: bytes) -> int:
        """Sends without waiting. Returns the number of bytes sent; 0 if the socket is full."""
        try:
            return self._client.send(data, _SEND_FLAGS)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:  # the client has disconnected, which the reading thread notices too
            return len(data)

    def _send_later(self, data: bytes) -> None:
        self._unsent += data
        if not self._draining:
            self._draining = True
            CriticalThread(self._drain, name="drain").start()

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
            del self._unsent[: self._send_now(bytes(self._unsent[:WRITE_BYTES]))]
            if not self._unsent:
                self._unsent += self._protocol.outgoing()
            self._draining = bool(self._unsent)
            if not self._draining and self._protocol.is_idle:
                self._idle.notify_all()
