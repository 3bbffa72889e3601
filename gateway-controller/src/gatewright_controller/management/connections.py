"""Clients of the management API that are slow, silent or many: none of them may keep others from an answer.

A connection waits while it has no whole request. It may do so for a limited time, head and body together; and where
there are too many connections, the one that has waited longest makes room for a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sized
from http import HTTPStatus
from typing import Any, Protocol

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gatewright_controller.management.shapes.problem import Problem


class Limits(msgspec.Struct, frozen=True):
    """connections: at once. request_seconds: from a connection, or from the last answer, to the end of a request.
    write_seconds: how long a client may take nothing of an answer. head_bytes, message_bytes: of a request; the second
    is more than any body that is wanted. handshake_seconds: from a connection until TLS is established on it.
    close_seconds: how long a client may take to agree to the end of a connection with TLS.
    """

    connections: int = 256
    request_seconds: float = 30.0
    write_seconds: float = 30.0
    head_bytes: int = 64 * 1024
    message_bytes: int = 33 * 1024 * 1024
    handshake_seconds: float = 10.0
    close_seconds: float = 1.0


class Waits(Protocol):
    """A connection that waits for its client."""

    def give_way(self) -> None:
        """Ends the connection."""


Waiting = dict[Waits, None]
"""Connections that wait for TLS or for a request, the longest waiting first."""


def make_room(connections: Sized, waiting: Waiting, limits: Limits) -> None:
    """Ends the connection that has waited longest, if there are too many. The newest one waits too."""
    if len(connections) > limits.connections:
        next(iter(waiting)).give_way()


def problem_bytes(status: int, detail: str) -> bytes:
    """An answer after which the connection is closed."""
    title = HTTPStatus(status).phrase
    body = msgspec.json.encode(Problem(title=title, status=status, detail=detail))
    head = f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\n"
    return f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's own, within limits. `waiting` is shared by all connections of a server."""

    def __init__(self, limits: Limits, waiting: Waiting, **options: Any) -> None:
        super().__init__(**options)
        self._limits, self._waiting = limits, waiting
        self._due: asyncio.TimerHandle | None = None
        self._in_head = self._in_message = False
        self._received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._wait_for_request()
        make_room(self.connections, self._waiting, self._limits)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._due is None and self._is_idle:
            self._wait_for_request()
        super().data_received(data)
        self._received += len(data)
        if self._in_head and self._received > self._limits.head_bytes:
            self._refuse(431, f"expected headers of at most {self._limits.head_bytes} bytes")
        elif self._in_message and self._received > self._limits.message_bytes:
            self._refuse(413, f"expected a request of at most {self._limits.message_bytes} bytes")

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Refuses bytes that are no request. msg: what uvicorn would answer as plain text."""
        self._refuse(400, "expected an HTTP/1.1 request with a known method and a path in ASCII, got other bytes")

    def on_message_begin(self) -> None:
        self._in_head = self._in_message = True
        self._received = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_message = False
        self._stop_waiting()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait_for_request()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._within(self._limits.write_seconds)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._is_idle:
            self._wait_for_request()
        else:
            self._stop_waiting()

    def give_way(self) -> None:
        """Ends the connection."""
        self._stop_waiting()
        self.transport.abort()

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait_for_request(self) -> None:
        self._within(self._limits.request_seconds)
        self._waiting.pop(self, None)
        self._waiting[self] = None

    def _stop_waiting(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        self._waiting.pop(self, None)

    def _within(self, seconds: float) -> None:
        if self._due is not None:
            self._due.cancel()
        self._due = self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        self._due = None
        if self._in_message and (self._is_idle or not self.cycle.response_started):
            self._refuse(408, f"expected a whole request within {self._limits.request_seconds:g} s")
        self.transport.abort()

    def _refuse(self, status: int, detail: str) -> None:
        """Says so and closes the connection."""
        if self.transport.is_closing():
            return
        self.transport.write(problem_bytes(status, detail))
        self.transport.close()
