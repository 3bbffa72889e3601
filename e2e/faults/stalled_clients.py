"""Clients that stop: in the middle of a request's body, or before they have read an answer. Their connections stay."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

DECLARED, SENT = 1 << 20, 1_000_000
PIECE = 64 << 10
BODY = bytes(PIECE)
LITTLE = 4096
"""The socket buffer of a client that reads nothing."""


class Client(Protocol):
    """The HTTP side of a connection. `pending`: the bytes to be sent now; `received` handles incoming bytes."""

    reads: bool

    def pending(self) -> bytes: ...

    def received(self, data: bytes, /) -> None: ...


class StopsSending:
    """HTTP/1.1: sends a body of DECLARED bytes up to SENT."""

    reads = True

    def __init__(self, path: str) -> None:
        self._head = f"POST {path} HTTP/1.1\r\nhost: test.local\r\ncontent-length: {DECLARED}\r\n\r\n".encode()
        self._left = SENT

    def pending(self) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            return head
        piece = BODY[: min(PIECE, self._left)]
        self._left -= len(piece)
        return piece

    def received(self, _: bytes) -> None:
        self._left = 0  # it was refused


class NeverReads:
    """HTTP/1.1: asks, and reads nothing."""

    reads = False

    def __init__(self, path: str) -> None:
        self._head = f"GET {path} HTTP/1.1\r\nhost: test.local\r\n\r\n".encode()

    def pending(self) -> bytes:
        head, self._head = self._head, b""
        return head

    def received(self, _: bytes) -> None:
        raise AssertionError("it reads nothing")


class StopSendingStreams:
    """HTTP/2: so many streams, of which each sends a body of DECLARED bytes up to SENT, as the windows let it."""

    reads = True

    def __init__(self, path: str, streams: int) -> None:
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration())
        self._h2.initiate_connection()
        head = [(":method", "POST"), (":path", path), (":scheme", "http"), (":authority", "test.local")]
        self._left = {2 * number + 1: SENT for number in range(streams)}
        for stream in self._left:
            self._h2.send_headers(stream, [*head, ("content-length", str(DECLARED))])

    def pending(self) -> bytes:
        for stream in list(self._left):
            with contextlib.suppress(h2.exceptions.StreamClosedError):
                room = self._h2.local_flow_control_window(stream)
                size = min(room, self._left[stream], self._h2.max_outbound_frame_size)
                if size > 0:
                    self._h2.send_data(stream, BODY[:size])
                    self._left[stream] -= size
        self._left = {stream: left for stream, left in self._left.items() if left}
        return self._h2.data_to_send()

    def received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            if isinstance(event, h2.events.StreamEnded | h2.events.StreamReset | h2.events.ResponseReceived):
                self._left.pop(event.stream_id or 0, None)


class StreamsNeverRead:
    """HTTP/2: asks on so many streams, and reads nothing."""

    reads = False

    def __init__(self, path: str, streams: int) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration())
        connection.initiate_connection()
        head = [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "test.local")]
        for number in range(streams):
            connection.send_headers(2 * number + 1, head, end_stream=True)
        self._head = connection.data_to_send()

    def pending(self) -> bytes:
        head, self._head = self._head, b""
        return head

    def received(self, _: bytes) -> None:
        raise AssertionError("it reads nothing")


class StalledClients:
    """Connections of such clients, opened so many a second by a thread, and open until `close`."""

    def __init__(self, port: int, clients: Sequence[Callable[[], Client]], per_second: float) -> None:
        self._port, self._clients, self._per_second = port, clients, per_second
        self._selector = selectors.DefaultSelector()
        self._unsent: dict[socket.socket, memoryview] = {}
        self._ended = threading.Event()
        self.begun = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        start, opened = time.monotonic(), 0
        while not self._ended.is_set():
            due = min(len(self._clients), int((time.monotonic() - start) * self._per_second) + 1)
            for client in self._clients[opened:due]:
                self._open(client())
            opened = due
            if opened == len(self._clients):
                self.begun.set()
            for key, events in self._selector.select(0.01):
                assert isinstance(key.fileobj, socket.socket)
                self._turn(key.fileobj, key.data, events)
        for connection in self._unsent:
            connection.close()
        self._selector.close()

    def _open(self, client: Client) -> None:
        connection = socket.socket()
        if not client.reads:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LITTLE)
        connection.connect(("127.0.0.1", self._port))
        connection.setblocking(False)
        self._unsent[connection] = memoryview(client.pending())
        self._selector.register(connection, selectors.EVENT_WRITE, client)

    def _turn(self, connection: socket.socket, client: Client, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                data = connection.recv(PIECE)
                if not data:
                    raise ConnectionResetError
                client.received(data)
            self._send(connection, client)
        except OSError:
            self._selector.unregister(connection)
            del self._unsent[connection]
            connection.close()

    def _send(self, connection: socket.socket, client: Client) -> None:
        unsent = self._unsent[connection] or memoryview(client.pending())
        with contextlib.suppress(BlockingIOError):
            unsent = unsent[connection.send(unsent) :]
        self._unsent[connection] = unsent = unsent or memoryview(client.pending())
        events = (selectors.EVENT_READ if client.reads else 0) | (selectors.EVENT_WRITE if unsent else 0)
        if events:
            self._selector.modify(connection, events, client)
        else:
            self._selector.unregister(connection)


@contextlib.contextmanager
def stalled_clients(port: int, clients: Sequence[Callable[[], Client]], per_second: float) -> Iterator[StalledClients]:
    clients_of_run = StalledClients(port, clients, per_second)
    try:
        yield clients_of_run
    finally:
        clients_of_run.close()
