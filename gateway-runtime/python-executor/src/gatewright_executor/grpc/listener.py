"""Accepts connections on a Unix socket: one with mode 0600, or one that the process inherited."""

from __future__ import annotations

import logging
import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from gatewright_executor.critical_thread import CriticalThread
from gatewright_executor.grpc import peers
from gatewright_executor.grpc.connection import Connection

PATH_BYTES = 107  # unix(7)
log = logging.getLogger(__name__)
Address: TypeAlias = Path | int
"""A path to listen on, or the descriptor of a Unix socket that listens already."""


class SocketError(Exception):
    """The path to listen on cannot be used."""


class Listener:
    """Accepts connections, and calls `serve` for each in a thread of its own. Start, stop; each once.

    limit: the most bytes of a message. known: the file with the processes that may connect (peers.py); None: any
    process of this user may.
    """

    def __init__(self, serve: Callable[[Connection], None], limit: int, known: Path | None = None) -> None:
        self._serve = serve
        self._known = known
        self._limit = limit
        self._socket: socket.socket | None = None
        self._connections: set[Connection] = set()
        self._lock = threading.Lock()
        self._stopping = False

    def start(self, address: Address) -> None:
        """Listens at a path, with mode 0600, or on a socket that listens already. Raises SocketError."""
        self._socket = _inherited(address) if isinstance(address, int) else _listening(address)
        CriticalThread(self._accept, self._socket, name="accept").start()

    def go_away(self) -> None:
        """Accepts no new connections, and no new calls on present ones."""
        with self._lock:
            self._stopping = True
        if self._socket is not None:
            self._socket.shutdown(socket.SHUT_RDWR)  # makes accept return
            self._socket.close()
        for connection in self._connections.copy():
            connection.go_away()

    def close(self, seconds: float) -> None:
        """Waits until all calls are answered, for at most `seconds`, and closes."""
        deadline = time.monotonic() + seconds
        for connection in self._connections.copy():
            connection.await_idle(max(0.0, deadline - time.monotonic()))
            connection.close()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:  # after go_away
                return
            if self._known is not None and (why := peers.refusal(client, self._known)):
                log.warning("connection refused: %s", why)
                client.close()
                continue
            connection = Connection(client, self._limit, self._forget)
            with self._lock:
                if self._stopping:
                    client.close()
                    return
                self._connections.add(connection)
            connection.open()
            CriticalThread(self._serve, connection, name="connection").start()

    def _forget(self, connection: Connection) -> None:
        with self._lock:
            self._connections.discard(connection)


def _inherited(descriptor: int) -> socket.socket:
    """The listening socket of the descriptor, which child processes will not inherit."""
    try:
        inherited = socket.socket(fileno=descriptor)
        if inherited.family != socket.AF_UNIX or not inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            inherited.detach()
            raise SocketError(f"expected a Unix socket that listens at descriptor {descriptor}, got another one")
    except OSError as error:
        raise SocketError(f"expected a Unix socket that listens at descriptor {descriptor}, got: {error}") from None
    inherited.set_inheritable(False)
    return inherited


def _listening(path: Path) -> socket.socket:
    _free(path)
    made = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)  # no other thread of ours runs yet
    try:
        made.bind(str(path.absolute()))
        made.listen()
    except OSError as error:
        made.close()
        raise SocketError(f"expected to listen on {path}, got: {error}") from None
    finally:
        os.umask(mask)
    return made


def _free(path: Path) -> None:
    """Removes the socket that a killed process left behind. SocketError for anything else at the path."""
    if len(os.fsencode(path.absolute())) > PATH_BYTES:
        raise SocketError(f"expected a socket path of at most {PATH_BYTES} bytes, got {path.absolute()}")
    if not path.parent.is_dir():
        raise SocketError(f"expected a folder at {path.parent} for the socket, found none")
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise SocketError(f"expected a socket or nothing at {path}, found a file; it is left alone")
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise SocketError(f"another process listens on {path}; stop it, or listen elsewhere")
    path.unlink()
