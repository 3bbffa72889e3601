"""What the API server asks a kubelet for: the output of containers, by HTTPS."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from e2e.kubernetes.lab.client import Json
from e2e.kubernetes.lab.network import HOST

PORT = 10250
STATUS: Json = {
    "addresses": [{"type": "InternalIP", "address": HOST}],
    "daemonEndpoints": {"kubeletEndpoint": {"Port": PORT}},
}
"""Of the node: where that is."""
Read = Callable[[str, str, str, float], bytes | None]
"""The output of a namespace's pod's container from a time on, in seconds since the epoch; None where there is none."""


@contextlib.contextmanager
def log_server(certificate: Path, key: Path, read: Read) -> Iterator[None]:
    """Answers `/containerLogs/NAMESPACE/POD/CONTAINER?sinceTime=…` during the block, with all that there is by then."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            _, kind, *names = url.path.split("/")
            since = parse_qs(url.query).get("sinceTime", ["1970-01-01T00:00:00Z"])[0]
            from_time = datetime.datetime.fromisoformat(since).timestamp()
            output = read(names[0], names[1], names[2], from_time) if kind == "containerLogs" else None
            self.send_response(404 if output is None else 200)
            self.send_header("content-type", "text/plain")
            self.send_header("content-length", str(len(output or b"")))
            self.end_headers()
            self.wfile.write(output or b"")

        def log_message(self, *_: object) -> None:
            """It has no log of its own."""

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    server = http.server.ThreadingHTTPServer((HOST, PORT), Handler)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, name="logs")
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
