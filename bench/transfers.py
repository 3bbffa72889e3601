"""Large bodies: an upstream and a client that send and receive them without keeping them in memory."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from bench.error import BenchError
from bench.processes import HOST

BLOCK = bytes(64 << 10)
SECONDS = 60.0
"""The time without a byte after which either end gives up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = SECONDS
    counts: Counts

    def do_GET(self) -> None:
        """Sends as many bytes as the query names."""
        left = int(parse_qs(urlsplit(self.path).query)["bytes"][0])
        self._begin(left)
        with contextlib.suppress(OSError):
            while left:
                sent = self.connection.send(BLOCK[:left])
                self.counts.sent += sent
                left -= sent
        self.close_connection = left > 0

    def do_POST(self) -> None:
        """Reads the whole body, and answers with the number of its bytes."""
        received = 0
        for size in self._body():
            received += size
            self.counts.received += size
        count_text = str(received).encode()
        self._begin(len(count_text))
        self.wfile.write(count_text)

    def _begin(self, length: int) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/octet-stream")
        self.send_header("content-length", str(length))
        self.end_headers()

    def _body(self) -> Iterator[int]:
        """The sizes of the body's parts, as they come."""
        if self.headers["transfer-encoding"] != "chunked":
            yield from self._read_parts(int(self.headers.get("content-length", "0")))
            return
        while size := int(self.rfile.readline(), 16):
            yield from self._read_parts(size)
            self.rfile.readline()
        self.rfile.readline()

    def _read_parts(self, size: int) -> Iterator[int]:
        while size:
            part = len(self.rfile.read1(min(size, len(BLOCK))))
            if not part:
                raise ConnectionError("expected the rest of the body, got its end")
            size -= part
            yield part

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


@dataclass
class Counts:
    """Bytes of the bodies of all exchanges so far. sent: that the kernel has accepted. received: that came."""

    sent: int = 0
    received: int = 0


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Ignores broken connections, which the client reports."""


@contextlib.contextmanager
def byte_upstream() -> Iterator[tuple[str, Counts]]:
    """Runs an upstream. Yields its HOST:PORT and its counts. It answers `GET /…?bytes=N` with N bytes, and a POST with
    the number of bytes received."""
    counts = Counts()
    with _Server((HOST, 0), type("Handler", (_Handler,), {"counts": counts})) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"{HOST}:{server.server_address[1]}", counts
        server.shutdown()


def download(port: int, path: str, size: int) -> float:
    """The seconds until an answer of `size` bytes has come. BenchError if it has another size."""
    with _connection(port) as client:
        start = time.monotonic()
        client.request("GET", f"{path}?bytes={size}")
        answer = client.getresponse()
        room, received = bytearray(1 << 20), 0
        while count := answer.readinto(room):
            received += count
        if (answer.status, received) != (http.client.OK, size):
            raise BenchError(f"expected an answer of {size} bytes, got {answer.status} with {received}")
        return time.monotonic() - start


def upload(port: int, path: str, size: int) -> float:
    """The seconds until the upstream has answered a body of `size` bytes. BenchError if it received another size."""
    with _connection(port) as client:
        start = time.monotonic()
        client.putrequest("POST", path)
        client.putheader("content-length", str(size))
        client.endheaders()
        for left in range(size, 0, -len(BLOCK)):
            client.send(BLOCK[:left])
        answer = client.getresponse()
        body = answer.read()
        if (answer.status, body) != (http.client.OK, str(size).encode()):
            raise BenchError(f"expected {size} bytes to arrive, got {answer.status}: {body[:200]!r}")
        return time.monotonic() - start


@contextlib.contextmanager
def _connection(port: int) -> Iterator[http.client.HTTPConnection]:
    client = http.client.HTTPConnection(HOST, port, timeout=SECONDS)
    try:
        yield client
    finally:
        client.close()
