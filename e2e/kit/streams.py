"""Many HTTP/2 requests open at once on one connection: their bodies end when the test says so."""

from __future__ import annotations

import socket
from collections.abc import Callable

import h2.config
import h2.connection
import h2.events

SECONDS = 30.0


class OpenStreams:
    """Use as a context manager: `count` POSTs to the path, each with headers and one byte of its body sent."""

    def __init__(self, port: int, path: str, count: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration())
        self._h2.initiate_connection()
        self._until(
            lambda event: isinstance(event, h2.events.RemoteSettingsChanged)
        )  # the setting allows so many streams
        head = [(":method", "POST"), (":path", path), (":scheme", "http"), (":authority", "test.local")]
        self._streams = [self._open(head) for _ in range(count)]
        self.statuses: list[int] = []
        self._flush()

    def __enter__(self) -> OpenStreams:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _open(self, head: list[tuple[str, str]]) -> int:
        stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream, head)
        self._h2.send_data(stream, b"x")
        return stream

    def end_bodies(self) -> list[int]:
        """Ends all bodies; the statuses of the answers, 0 for a stream that was reset."""
        for stream in self._streams:
            self._h2.end_stream(stream)
        self._until(self._is_last)
        return self.statuses

    def _is_last(self, event: object) -> bool:
        if isinstance(event, h2.events.ResponseReceived):
            self.statuses.append(next(int(value) for name, value in event.headers or [] if name == b":status"))
        elif isinstance(event, h2.events.StreamReset):
            self.statuses.append(0)
        return len(self.statuses) == len(self._streams)

    def _flush(self) -> None:
        self._socket.sendall(self._h2.data_to_send())

    def _until(self, is_last: Callable[[object], bool]) -> None:
        while True:
            self._flush()
            data = self._socket.recv(1 << 16)
            assert data, "the connection was closed"
            events = self._h2.receive_data(data)
            ends = [is_last(event) for event in events]
            if any(ends):
                self._flush()
                return
