"""A port of loopback at which nobody listens, and that nobody else on the machine is given meanwhile."""

from __future__ import annotations

import http.server
import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def closed_port() -> Iterator[int]:
    """Connections are refused there, until somebody listens who shares the port (SO_REUSEPORT, socket(7))."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


class SharedPortServer(http.server.ThreadingHTTPServer):
    """A server that may listen there."""

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()
