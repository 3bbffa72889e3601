"""A server that stands for a bucket: it keeps what it gets by PUT, and answers GET with it."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class Bucket:
    """Use as a context manager. objects: by path. status: of its answers to PUT; only 200 keeps what it gets."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.status = 200
        bucket = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                content = self.rfile.read(int(self.headers["content-length"]))
                if bucket.status == 200:
                    bucket.objects[self._key] = content
                self._answer(bucket.status, b"")

            def do_GET(self) -> None:
                found = bucket.objects.get(self._key)
                self._answer(404 if found is None else 200, found or b"")

            @property
            def _key(self) -> str:
                return self.path.partition("?")[0]

            def _answer(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
