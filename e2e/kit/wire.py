"""HTTP requests to the byte and the frame: shapes that no ordinary client sends, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import contextlib
import functools
import select
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h11

SECONDS = 30.0
Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Shape:
    """A request: the content of its HEADERS, and the DATA and trailers behind. No data: END_STREAM on HEADERS."""

    name: str
    method: str = "POST"
    headers: Headers = field(default_factory=list)
    data: Sequence[bytes] = ()
    trailers: Headers = field(default_factory=list)
    chunked: bool = False  # HTTP/1.1: chunked although there is no data, or with trailers
    host: str = "test.local"

    @property
    def body(self) -> bytes:
        return b"".join(self.data)


@dataclass
class Answer:
    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    reset: bool = False

    def value(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


def http1(port: int, path: str, shape: Shape) -> Answer:
    """Sends while it reads: an answer may come before the request has ended."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        sender = threading.Thread(target=_send, args=(connection, http1_bytes(path, shape)))
        sender.start()
        try:
            return _read_http1(connection, shape.method)
        finally:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            sender.join(SECONDS)


def send_raw(port: int, request: bytes) -> Answer:
    """Sends these bytes and reads the answer, in HTTP/1.1."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        _send(connection, request)
        return _read_http1(connection, "GET")


def http1_bytes(path: str, shape: Shape) -> bytes:
    lines = [f"{shape.method} {path} HTTP/1.1", f"host: {shape.host}", *(f"{k}: {v}" for k, v in shape.headers)]
    if shape.chunked or shape.trailers:
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in shape.data if chunk)
        trailers = "".join(f"{k}: {v}\r\n" for k, v in shape.trailers).encode()
        return _head([*lines, "transfer-encoding: chunked"]) + chunks + b"0\r\n" + trailers + b"\r\n"
    if shape.data:
        lines.append(f"content-length: {len(shape.body)}")
    return _head(lines) + shape.body


def _head(lines: list[str]) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _send(connection: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):  # the peer may have answered and closed
        connection.sendall(data)


def _read_http1(connection: socket.socket, method: str) -> Answer:
    parser, answer = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20), Answer()
    parser.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
    parser.send(h11.EndOfMessage())
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            try:
                parser.receive_data(connection.recv(1 << 16))
            except ConnectionError:
                answer.reset = True
                return answer
        elif isinstance(event, h11.Response):
            answer.status = event.status_code
            answer.headers = [(k.decode(), v.decode("latin-1")) for k, v in event.headers]
        elif isinstance(event, h11.Data):
            answer.body += event.data
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            return answer


def http2(port: int, path: str, shape: Shape) -> Answer:
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or the end of each window waits for an ACK
        return _Http2(connection, path, shape).run()


HUFFMAN_BYTES = 1 << 14
"""The longest value of which hpack makes Huffman's code: it takes quadratic time, 13 s of CPU for 257 KiB."""


class _Http2:
    """One stream: sends as the windows allow, and reads meanwhile."""

    def __init__(self, connection: socket.socket, path: str, shape: Shape) -> None:
        self._socket, self._shape, self._answer = connection, shape, Answer()
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="latin-1"))
        if any(len(value) > HUFFMAN_BYTES for _, value in shape.headers):
            self._h2.encoder.encode = functools.partial(self._h2.encoder.encode, huffman=False)  # type: ignore[method-assign]
        self._h2.initiate_connection()
        self._stream = self._h2.get_next_available_stream_id()
        head = [(":method", shape.method), (":path", path), (":scheme", "http"), (":authority", shape.host)]
        self._pieces = [piece[i : i + 16384] for piece in shape.data for i in range(0, max(len(piece), 1), 16384)]
        self._ended = not self._pieces and not shape.trailers
        self._done = False
        self._h2.send_headers(self._stream, [*head, *shape.headers], end_stream=self._ended)

    def run(self) -> Answer:
        while not self._done:
            self._send()
            with contextlib.suppress(ConnectionError):
                self._socket.sendall(self._h2.data_to_send())
            if self._ended or not self._can_send() or select.select([self._socket], [], [], 0)[0]:
                self._receive()
        return self._answer

    def _can_send(self) -> bool:
        window: int = self._h2.local_flow_control_window(self._stream)
        return not self._pieces or window >= len(self._pieces[0])

    def _send(self) -> None:
        if self._ended or not self._can_send():
            return
        if self._pieces:
            piece = self._pieces.pop(0)
            self._ended = not self._pieces and not self._shape.trailers
            self._h2.send_data(self._stream, piece, end_stream=self._ended)
        else:
            self._ended = True
            self._h2.send_headers(self._stream, self._shape.trailers, end_stream=True)

    def _receive(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            self._answer.reset = self._done = True
        for event in self._h2.receive_data(data):
            self._handle(event)

    def _handle(self, event: object) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            pairs = [(str(k), str(v)) for k, v in event.headers]
            self._answer.status = int(dict(pairs)[":status"])
            self._answer.headers = [pair for pair in pairs if not pair[0].startswith(":")]
        elif isinstance(event, h2.events.DataReceived):
            self._answer.body += event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, self._stream)
        elif isinstance(event, h2.events.StreamEnded):
            self._done = True
        elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
            self._answer.reset = self._done = True
