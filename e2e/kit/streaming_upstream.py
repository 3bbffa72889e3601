"""An upstream whose answers take their time, as the request's query says. HTTP/1.1, on a free port of loopback.

`/…?first=S` waits S seconds before it begins; `&pieces=N&gap=S` sends N pieces, chunked, with S seconds before each;
`&headers=N` sends N headers more. `/…?silent` begins, and sends nothing until the client is gone.
"""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ended: threading.Event

    def do_POST(self) -> None:
        """Reads a body that has a content-length."""
        self.rfile.read(int(self.headers["content-length"]))
        self.do_GET()

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)

        def number(name: str) -> float:
            return float(query.get(name, ["0"])[0])

        if self.ended.wait(number("first")):
            return
        with contextlib.suppress(ConnectionError):
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            for extra in range(int(number("headers"))):
                self.send_header(f"x-extra-{extra}", "v")
            self.end_headers()
            for piece in range(int(number("pieces"))):
                if self.ended.wait(number("gap")):
                    return
                self._chunk(f"data: {piece}\n\n".encode())
            if "silent" in query:
                self.ended.wait(60)
            self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


class StreamingUpstream:
    """Use as a context manager."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        handler = type("Handler", (_Handler,), {"ended": self._ended})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> StreamingUpstream:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
