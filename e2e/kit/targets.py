"""Targets that answer, fail, are slow or gone as a test says, and count their requests. HTTP/1.1."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that ends a connection with a reset."""


class Target(ThreadingHTTPServer):
    """`status` is its answer, after `seconds`; reset: it reads a request and resets the connection instead."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name = name
        self.status, self.seconds, self.reset = 200, 0.0, False
        self.requests: Counter[str] = Counter()
        """The number of requests by "METHOD /path"."""
        self.heads: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[bytes] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    @property
    def count(self) -> int:
        return sum(self.requests.values())

    def clear(self) -> None:
        self.status, self.seconds, self.reset = 200, 0.0, False
        self.requests.clear()
        self.heads.clear()
        self.bodies.clear()

    def handle_error(self, *_: Any) -> None:
        """Ignores clients that go away: some tests are about them."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: the second would wait 40 ms for an acknowledgement
    server: Target

    def handle_one(self) -> None:
        target = self.server
        body = self._body()
        target.requests[f"{self.command} {self.path}"] += 1
        target.heads.append((self.command, self.path, {key.lower(): value for key, value in self.headers.items()}))
        target.bodies.append(body)
        if target.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.connection.close()
            self.close_connection = True
            return
        time.sleep(target.seconds)
        answer = target.name.encode()
        self.send_response(target.status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one  # noqa: N815 - the base class' names

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


@contextmanager
def targets(*names: str) -> Iterator[list[Target]]:
    """Runs a target for each name."""
    with ExitStack() as stack:
        running_targets = [stack.enter_context(_serving(name)) for name in names]
        yield running_targets


@contextmanager
def _serving(name: str) -> Iterator[Target]:
    with Target(name) as target:
        thread = threading.Thread(target=target.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield target
        target.shutdown()
        thread.join()
