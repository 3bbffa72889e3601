"""An upstream that never answers, or answers every request alike."""

from __future__ import annotations

import socket
import threading


class Silent:
    """An upstream that accepts connections and answers each request with the same bytes, or never."""

    def __init__(self, answer: bytes | None, *, hangs_up: bool = False) -> None:
        self._answer, self._hangs_up = answer, hangs_up
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._kept: list[socket.socket] = []
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._kept.append(connection)
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        connection.recv(65536)
        if self._answer is not None:
            connection.sendall(self._answer)
        if self._hangs_up:
            connection.close()

    def close(self) -> None:
        self._listener.close()
        for connection in self._kept:
            connection.close()
