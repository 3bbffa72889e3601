"""Clients that go on sending requests while a gateway stops, and the outcome of every single request.

`answered`: status 200. Refused: the connection was refused, so no request was sent, and a client goes elsewhere. Any
other outcome is a lost request, which `lost` describes.
"""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 15
REFUSALS = 3


@dataclass
class Clients:
    """Each client runs until it was refused REFUSALS times. Times are time.monotonic()."""

    url: str
    keep_alive: bool
    trust: ssl.SSLContext | None = None
    answered: int = 0
    lost: list[str] = field(default_factory=list)
    last_answered_connect: float = 0.0
    first_refusal: float = float("inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        connection = self._connection()
        refusals = 0
        while refusals < REFUSALS:
            if connection.sock is None or not self.keep_alive:
                connection.close()
                start = time.monotonic()
                try:
                    connection.connect()
                except ConnectionRefusedError:
                    self._refused()
                    refusals += 1
                    continue
                except OSError as error:
                    connection.close()  # after a failed handshake, http.client keeps the socket
                    self._lose(f"connect: {error!r}", start)
                    continue
            self._ask(connection, start)
        connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        if self.trust:
            return http.client.HTTPSConnection(
                parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS, context=self.trust
            )
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)

    def _ask(self, connection: http.client.HTTPConnection, connected: float) -> None:
        """http.client closes the connection afterwards if the server said so."""
        try:
            connection.request("GET", urlsplit(self.url).path)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self._lose(repr(error), connected)
            return
        if answer.status != 200:
            self._lose(f"status {answer.status}", connected)
        with self._lock:
            self.answered += 1
            self.last_answered_connect = max(self.last_answered_connect, connected)

    def _refused(self) -> None:
        with self._lock:
            self.first_refusal = min(self.first_refusal, time.monotonic())

    def _lose(self, event: str, connected: float) -> None:
        with self._lock:
            ago = time.monotonic() - connected
            self.lost.append(f"{event}, connected {ago:.3f} s ago, after {self.answered} answers")


@contextmanager
def run_clients(
    url: str, *, keep_alive: bool, clients: int = 8, trust: ssl.SSLContext | None = None
) -> Iterator[Clients]:
    """Runs clients beside the block, which has to stop the gateway: they end when they are refused.

    trust: for a URL of https."""
    flow = Clients(url, keep_alive, trust)
    threads = [threading.Thread(target=flow.run, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield flow
    finally:
        for thread in threads:
            thread.join(TIMEOUT_SECONDS + 5)
