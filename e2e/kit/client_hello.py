"""ClientHellos by hand: versions and ciphers that no library offers any more, and the answers of servers to them.

RFC 5246 has TLS 1.2, RFC 6101 SSL 3.0; https://www.iana.org/assignments/tls-parameters the numbers.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SSL_3, TLS_1_0, TLS_1_1, TLS_1_2 = 0x0300, 0x0301, 0x0302, 0x0303
ALERT, HANDSHAKE, SERVER_HELLO, SERVER_KEY_EXCHANGE, SERVER_HELLO_DONE = 21, 22, 2, 12, 14
HANDSHAKE_FAILURE, PROTOCOL_VERSION, INAPPROPRIATE_FALLBACK, NO_RENEGOTIATION = 40, 70, 86, 100
EXTENDED_MASTER_SECRET, HEARTBEAT, RENEGOTIATION_INFO, STATUS_REQUEST = 23, 15, 0xFF01, 5
FALLBACK = 0x5600
"""TLS_FALLBACK_SCSV: the client offers an older version than it could, because a handshake has failed."""

MODERN = {
    0xC02B: "ECDHE-ECDSA-AES128-GCM-SHA256",
    0xC02C: "ECDHE-ECDSA-AES256-GCM-SHA384",
    0xCCA9: "ECDHE-ECDSA-CHACHA20-POLY1305",
    0xC02F: "ECDHE-RSA-AES128-GCM-SHA256",
    0xC030: "ECDHE-RSA-AES256-GCM-SHA384",
    0xCCA8: "ECDHE-RSA-CHACHA20-POLY1305",
}
"""Ciphers with ephemeral keys and authenticated encryption."""

WEAK = {
    "NULL": [0x0001, 0x0002, 0x003B, 0xC006, 0xC010],
    "EXPORT": [0x0003, 0x0006, 0x0008, 0x000B, 0x000E, 0x0011, 0x0014, 0x0062, 0x0064],
    "anonymous": [0x0018, 0x001A, 0x001B, 0x0034, 0x003A, 0x006C, 0x006D, 0x00A6, 0x00A7, 0xC015, 0xC018, 0xC019],
    "RC4": [0x0004, 0x0005, 0xC007, 0xC011],
    "DES and 3DES": [0x0009, 0x000A, 0x0015, 0x0016, 0xC008, 0xC012],
    "IDEA, SEED, CAMELLIA, ARIA": [0x0007, 0x0041, 0x0084, 0x0096, 0x009A, 0xC03C, 0xC048, 0xC04C, 0xC05C, 0xC072],
    "CBC": [0xC009, 0xC00A, 0xC013, 0xC014, 0xC023, 0xC024, 0xC027, 0xC028],
    "the key of the certificate for all": [0x002F, 0x0035, 0x003C, 0x003D, 0x009C, 0x009D, 0xC09C, 0xC09D],
    "finite-field DHE": [0x0033, 0x0039, 0x0067, 0x006B, 0x009E, 0x009F, 0xCCAA],
    "shared keys and passwords": [0x008C, 0x008D, 0x00A8, 0x00A9, 0xC01D, 0xC020, 0xC035, 0xCCAC],
}
"""Weak ciphers that testssl.sh and its like look for, by kind."""


@dataclass(frozen=True)
class ServerReply:
    """A server's answer. alert: its description, -1 where the connection ended without one, None for a ServerHello."""

    alert: int | None = None
    version: int = 0
    cipher: int = 0
    compression: int = 0
    extensions: frozenset[int] = frozenset()
    group: int = 0


def offer(
    port: int,
    server_name: str,
    ciphers: Sequence[int],
    version: int = TLS_1_2,
    extensions: Mapping[int, bytes] | None = None,
    compressions: bytes = b"\0",
) -> ServerReply:
    """The server's reply to a ClientHello with this newest version. extensions: further extensions of the hello."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(_record(_hello(server_name, ciphers, version, extensions or {}, compressions)))
        return _parse_reply(_Messages(connection))


def _record(message: bytes) -> bytes:
    return struct.pack(">BHH", HANDSHAKE, TLS_1_0, len(message)) + message


def _hello(
    server_name: str, ciphers: Sequence[int], version: int, more: Mapping[int, bytes], compressions: bytes
) -> bytes:
    suites = b"".join(struct.pack(">H", cipher) for cipher in ciphers)
    body = struct.pack(">H", version) + os.urandom(32) + b"\0" + _sized(suites, 2) + _sized(compressions, 1)
    if version > SSL_3:
        name = _sized(b"\0" + _sized(server_name.encode(), 2), 2)
        groups, points = _sized(struct.pack(">HH", 0x001D, 0x0017), 2), b"\1\0"
        signatures = _sized(struct.pack(">8H", 0x0403, 0x0503, 0x0804, 0x0805, 0x0401, 0x0501, 0x0203, 0x0201), 2)
        all_of_them = {0: name, 10: groups, 11: points, 13: signatures, **more}
        body += _sized(
            b"".join(struct.pack(">H", kind) + _sized(extension, 2) for kind, extension in all_of_them.items()), 2
        )
    return b"\1" + _sized(body, 3)


def _sized(value: bytes, width: int) -> bytes:
    return len(value).to_bytes(width, "big") + value


class _Messages:
    """Reads handshake messages and alerts out of TLS records."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._handshake = connection, b""

    def next(self) -> tuple[int, bytes]:
        """(type of a handshake message, its body), or (ALERT, level and description): b"" if the connection ends."""
        while len(self._handshake) < 4 or len(self._handshake) < 4 + int.from_bytes(self._handshake[1:4], "big"):
            head = self._exactly(5)
            if not head:
                return ALERT, b""
            content = self._exactly(int.from_bytes(head[3:5], "big"))
            if head[0] == ALERT:
                return ALERT, content
            self._handshake += content
        size = 4 + int.from_bytes(self._handshake[1:4], "big")
        message, self._handshake = self._handshake[:size], self._handshake[size:]
        return message[0], message[4:]

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                piece = self._connection.recv(size - len(data))
            except ConnectionError:
                return b""
            if not piece:
                return b""
            data += piece
        return data


def _parse_reply(messages: _Messages) -> ServerReply:
    kind, body = messages.next()
    if kind == ALERT:
        return ServerReply(alert=body[1] if body else -1)
    assert kind == SERVER_HELLO, kind
    version, after = int.from_bytes(body[:2], "big"), 35 + body[34]
    cipher, compression = int.from_bytes(body[after : after + 2], "big"), body[after + 2]
    extensions, rest = set(), body[after + 5 :]
    while rest:
        extensions.add(int.from_bytes(rest[:2], "big"))
        rest = rest[4 + int.from_bytes(rest[2:4], "big") :]
    group = 0
    while kind != SERVER_HELLO_DONE:
        kind, body = messages.next()
        assert kind != ALERT, body
        if kind == SERVER_KEY_EXCHANGE:
            group = int.from_bytes(body[1:3], "big")  # body[0] is 3: named_curve
    return ServerReply(None, version, cipher, compression, frozenset(extensions), group)
