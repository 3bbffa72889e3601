"""Clients that send requests over TLS without a pause, beside a test. Every answer is accounted for."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

import h2.connection
import h2.events
import httpx

GOAWAY = 7


class Load:
    """found: the number of answers by status, and of failures by their text."""

    def __init__(self, url: str, trust: Callable[[], ssl.SSLContext], at_least: int, pause: float) -> None:
        self.url, self.at_least, self.pause = url, at_least, pause
        self.found: Counter[str] = Counter()
        self.ended = False
        self._trust = trust
        self._lock = threading.Lock()

    @property
    def is_going(self) -> bool:
        """Whether the block is running, or answers are missing."""
        return not self.ended or self.found.total() < self.at_least

    def send_on_one_connection(self) -> None:
        """Sends on one connection, as long as the gateway keeps it open."""
        with httpx.Client(verify=self._trust(), timeout=10) as client:
            while self.is_going:
                self._count(lambda: client.get(self.url).status_code)

    def send_over_http2(self) -> None:
        """Sends on one connection over HTTP/2."""
        with Http2Client(self.url, self._trust()) as client:
            while self.is_going:
                self._count(client.get)

    def send_on_new_connections(self) -> None:
        """Sends each request on a new connection."""
        trust = self._trust()
        while self.is_going:
            with httpx.Client(verify=trust, timeout=10) as client:
                self._count(lambda client=client: client.get(self.url).status_code)  # type: ignore[misc]

    def _count(self, get: Callable[[], int]) -> None:
        try:
            outcome = str(get())
        except (httpx.HTTPError, OSError) as error:
            outcome = repr(error)
        with self._lock:
            self.found[outcome] += 1
        time.sleep(self.pause)


class Http2Client:
    """Sends one request after the other on one connection, and on another after a GOAWAY (RFC 9113, 6.8).

    h2, and with it httpx, refuses all frames behind a GOAWAY, even the answer to a request under way: so that frame is
    kept from it. Use as a context manager.
    """

    def __init__(self, url: str, trust: ssl.SSLContext) -> None:
        self._parts = urlsplit(url)
        self._trust = trust
        self._trust.set_alpn_protocols(["h2"])
        self._socket: ssl.SSLSocket | None = None
        self.connections = 0

    def __enter__(self) -> Http2Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def get(self) -> int:
        """The status of a complete answer. Raises OSError."""
        connection = self._socket or self._connect()
        stream = self._h2.get_next_available_stream_id()
        where, path = self._parts.netloc, self._parts.path
        head = [(":method", "GET"), (":scheme", "https"), (":authority", where), (":path", path)]
        self._h2.send_headers(stream, head, end_stream=True)
        status, self._going = 0, False
        while True:
            connection.sendall(self._h2.data_to_send())
            for event in self._received(connection, stream):
                if isinstance(event, h2.events.ResponseReceived):
                    status = int(dict(event.headers or [])[b":status"])
                elif isinstance(event, h2.events.DataReceived):
                    self._h2.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, h2.events.StreamReset):
                    raise ConnectionError(f"reset: {event.error_code}")
                elif isinstance(event, h2.events.StreamEnded):
                    if self._going:
                        self._close()
                    return status

    def _received(self, connection: ssl.SSLSocket, stream: int) -> Sequence[h2.events.Event]:
        """The events of the next frame."""
        frame = self._frame(connection)
        if frame[3] != GOAWAY:
            return self._h2.receive_data(frame)
        self._going = True
        last = int.from_bytes(frame[9:13], "big") & 0x7FFFFFFF
        if last < stream:
            self._close()
            raise ConnectionError(f"GOAWAY {last}, which leaves out {stream}")
        return []

    def _connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection((self._parts.hostname, self._parts.port), timeout=10)
        self._socket = self._trust.wrap_socket(plain, server_hostname=self._parts.hostname)
        self._h2 = h2.connection.H2Connection()
        self._h2.initiate_connection()
        self.connections += 1
        return self._socket

    def _frame(self, connection: ssl.SSLSocket) -> bytes:
        head = self._exactly(connection, 9)
        return head + self._exactly(connection, int.from_bytes(head[:3], "big"))

    def _exactly(self, connection: ssl.SSLSocket, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = connection.recv(size - len(data))
            if not piece:
                self._close()
                raise ConnectionError("closed")
            data += piece
        return data

    def _close(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None


@contextmanager
def tls_load(url: str, trust: Callable[[], ssl.SSLContext], at_least: int, pause: float = 0) -> Iterator[Load]:
    """Two clients over HTTP/1.1, one that keeps its connection and one that does not, and one over HTTP/2.

    They run until the block has ended and `at_least` requests have been answered.

    trust: makes a client's context. pause: seconds between two requests of a client.
    """
    load = Load(url, trust, at_least, pause)
    threads = [
        threading.Thread(target=run)
        for run in (load.send_on_one_connection, load.send_over_http2, load.send_on_new_connections)
    ]
    for thread in threads:
        thread.start()
    try:
        yield load
    except BaseException:
        load.at_least = 0
        raise
    finally:
        load.ended = True
        for thread in threads:
            thread.join()
