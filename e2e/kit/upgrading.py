"""Requests that ask for another protocol, and both ends of their connections, to the byte."""

from __future__ import annotations

import contextlib
import socket
import threading

from e2e.kit.gateway import Gateway

CRLF = b"\r\n"
WEBSOCKET = [b"connection: upgrade", b"upgrade: websocket", b"sec-websocket-version: 13", b"sec-websocket-key: eA=="]
SWITCHED = CRLF.join([b"HTTP/1.1 101 Switching Protocols", *WEBSOCKET[:2], b"", b""])
SMUGGLED = CRLF.join([b"POST /admin HTTP/1.1", b"host: a", b"content-length: 0", b"", b""])


class RawUpstream:
    """An upstream that answers each connection's first request with given bytes and records all that follows it."""

    def __init__(self) -> None:
        self.answer = b""
        self.heads: list[bytes] = []
        self.behind = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            received = b""
            while CRLF * 2 not in received:
                if not (data := connection.recv(65536)):
                    return
                received += data
            head, _, behind = received.partition(CRLF * 2)
            self.heads.append(head)
            self.behind += behind
            connection.sendall(self.answer)
            while data := connection.recv(65536):
                self.behind += data
                connection.sendall(data)


def upgrade_request(path: str, lines: list[bytes], method: str = "GET") -> bytes:
    return CRLF.join([f"{method} {path} HTTP/1.1".encode(), b"host: test.local", *lines, b"", b""])


class Socket:
    """A client's connection, read and written to the byte."""

    def __init__(self, gateway: Gateway, request: bytes) -> None:
        self._connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=15)
        self._connection.sendall(request)

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self._connection.sendall(data)

    def head(self) -> bytes:
        """Reads the head of the answer."""
        received = b""
        while not received.endswith(CRLF * 2):
            data = self._connection.recv(1)
            assert data, f"expected an answer, got the end behind {received!r}"
            received += data
        return received

    def read(self, size: int) -> bytes:
        received = b""
        while len(received) < size and (data := self._connection.recv(size - len(received))):
            received += data
        return received

    def rest(self) -> bytes:
        """Reads until the gateway ends the connection."""
        received = b""
        with contextlib.suppress(ConnectionError):
            while data := self._connection.recv(65536):
                received += data
        return received
