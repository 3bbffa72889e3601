"""An upstream that sends pieces, each when the test permits it. HTTP/1.1, on a free port of loopback."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECONDS = 30.0
LOOK_SECONDS = 0.02


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: ModelUpstream

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        if length := self.headers["content-length"]:
            self.rfile.read(int(length))
        else:
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        self._answer()

    def _answer(self) -> None:
        upstream = self.upstream
        permits = upstream.permits  # of this answer; later answers have others
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            self.send_response(200)
            self.send_header("content-type", upstream.content_type)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for piece in upstream.pieces:
                if permits is not None and not self._is_permitted(permits):
                    break
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                upstream.sent += 1
            else:
                self.wfile.write(b"0\r\n\r\n")
                return
        upstream.gone.set()
        self.close_connection = True

    def _is_permitted(self, permits: threading.Semaphore) -> bool:
        """Waits for a permit; False if the other end has gone meanwhile."""
        while not permits.acquire(timeout=LOOK_SECONDS):
            readable, _, _ = select.select([self.connection], [], [], 0)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                return False
        return True

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Ignores connections that break: tests look at the other end."""


class ModelUpstream:
    """Use as a context manager, then `answer_with` for each answer.

    sent: the number of pieces sent. gone: set when the gateway has closed the connection in the middle.
    """

    def __init__(self) -> None:
        self.pieces: Sequence[bytes] = ()
        self.content_type = "text/event-stream"
        self.permits: threading.Semaphore | None = None
        self.sent = 0
        self.gone = threading.Event()
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"upstream": self}))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextlib.contextmanager
    def answer_with(self, pieces: Sequence[bytes], permits: int | None = None) -> Iterator[ModelUpstream]:
        """Each answer has these pieces. permits: how many are sent before the first `permit`; None: all."""
        self.pieces, self.sent = pieces, 0
        self.permits = None if permits is None else threading.Semaphore(permits)
        self.gone = threading.Event()
        try:
            yield self
        finally:
            if self.permits is not None:
                self.permits.release(len(pieces) * 100)

    def permit(self, count: int = 1) -> None:
        """Permits so many more pieces."""
        assert self.permits is not None
        self.permits.release(count)

    def __enter__(self) -> ModelUpstream:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
