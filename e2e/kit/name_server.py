"""A name server under a test's control."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


class NameServer:
    """Answers for its own names with addresses that may change (RFC 1035), over UDP, and with NXDOMAIN for all others.

    is_silent: it answers nothing.
    """

    def __init__(self, address: str) -> None:
        self.address, self.known = address, dict[str, list[str]]()
        self.asked, self.is_silent = 0, False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(0.1)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        try:
            self._socket.bind((address, 53))
        except OSError:
            self._socket.close()
            raise
        self._thread.start()

    def _serve(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                question, client = self._socket.recvfrom(4096)
                if self.is_silent:
                    continue
                self._socket.sendto(self._answer(question), client)

    def _answer(self, question: bytes) -> bytes:
        name, at = [], 12
        while length := question[at]:
            name.append(question[at + 1 : at + 1 + length].decode().lower())
            at += 1 + length
        (kind,) = struct.unpack("!H", question[at + 1 : at + 3])
        addresses = self.known.get(".".join(name))
        answers = addresses if addresses and kind == 1 else []
        self.asked += bool(answers)
        flags = 0x8180 if addresses is not None else 0x8183  # NXDOMAIN
        head = question[:2] + struct.pack("!HHHHH", flags, 1, len(answers), 0, 0)
        records = [b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 1, 4) + socket.inet_aton(address) for address in answers]
        return head + question[12 : at + 5] + b"".join(records)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._socket.close()


@contextmanager
def name_server() -> Iterator[NameServer]:
    try:
        server = NameServer(
            f"127.53.{os.getpid() >> 8 & 255}.{os.getpid() & 255 or 1}"
        )  # an address of this worker alone
    except PermissionError:
        pytest.skip("this user may not listen on port 53")
    try:
        yield server
    finally:
        server.close()
