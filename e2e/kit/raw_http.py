"""Single requests, with or without TLS, from any loopback address, for what HTTP clients cannot send."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tls:
    """The TLS parameters of a connection. names: the alternative names in the server's certificate."""

    version: str
    cipher: str
    names: tuple[str, ...]

    @staticmethod
    def of(connection: ssl.SSLSocket) -> Tls:
        version, cipher, certificate = connection.version(), connection.cipher(), connection.getpeercert()
        assert version
        assert cipher
        assert certificate
        alternatives: Any = certificate["subjectAltName"]
        return Tls(version, cipher[0], tuple(value for _, value in alternatives))


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    tls: Tls | None = None


class RefusedError(Exception):
    """The connection was closed or was never made."""


def request(
    port: int,
    host: str = "127.0.0.1",
    *,
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
    source: str = "127.0.0.1",
    first: bytes = b"",
    path: str = "/x",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Sends one GET on a connection of its own. Raises `RefusedError`.

    server_name: the name in the TLS handshake. source: the address to connect from. first: bytes before the request.
    """
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    try:
        with connected(port, tls, server_name, source) as connection:
            connection.sendall(first + f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n".encode())
            return receive_answer(connection)
    except OSError as error:
        raise RefusedError(str(error)) from None


def connected(
    port: int,
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
    source: str = "127.0.0.1",
    session: ssl.SSLSession | None = None,
) -> socket.socket:
    """Opens a connection, with TLS if `tls` is given; `session`: an earlier one, to be resumed."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0))
    try:
        return tls.wrap_socket(plain, server_hostname=server_name, session=session) if tls else plain
    except OSError:
        plain.close()
        raise


def receive_answer(connection: socket.socket) -> Answer:
    head, body = b"", b""
    while b"\r\n\r\n" not in head:
        if not (piece := connection.recv(65536)):
            raise RefusedError("closed")
        head += piece
    head, _, body = head.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65536)
    tls = Tls.of(connection) if isinstance(connection, ssl.SSLSocket) else None
    return Answer(int(first.split()[1]), headers, body, tls)
