"""Connections until TLS is established on them: within limits, as those that wait for a request."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from http import HTTPStatus
from typing import Any, cast

from gatewright_controller.local.listener_tls import ListenerTls
from gatewright_controller.management.connections import BoundedProtocol, Limits, Waiting, make_room, problem_bytes

IN_CLEAR = "expected TLS, got a request in clear: use https:// for this port"


class Handshake(asyncio.Protocol):
    """A new connection, which a `BoundedProtocol` takes over once TLS is established. A client that does not speak TLS
    in time is disconnected; one that sends HTTP is told to use https.
    """

    def __init__(self, tls: ListenerTls, limits: Limits, waiting: Waiting, **options: Any) -> None:
        self._tls, self._limits, self._waiting = tls, limits, waiting
        self._connections = options["server_state"].connections
        self._make_protocol = functools.partial(BoundedProtocol, limits, waiting, **options)
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)
        self._waiting[self] = None
        make_room(self._connections, self._waiting, self._limits)
        self._task = asyncio.get_running_loop().create_task(self._establish())

    def data_received(self, data: bytes) -> None:
        """What arrives with the end of the handshake, before the protocol has taken over."""
        self._early += data

    def give_way(self) -> None:
        """Ends the connection."""
        self._leave()
        self._transport.abort()

    shutdown = give_way
    """As the server calls it when it stops."""

    async def _establish(self) -> None:
        try:
            with self._transport.get_extra_info("socket").dup() as in_clear:
                secured = await self._handshake(in_clear)
        except OSError:  # ssl.SSLError and TimeoutError are
            self._transport.abort()
            return
        finally:
            self._leave()
        if secured is None or secured.is_closing():
            return
        protocol = self._make_protocol()
        secured.set_protocol(protocol)
        protocol.connection_made(secured)
        if self._early:
            protocol.data_received(self._early)

    async def _handshake(self, in_clear: socket.socket) -> asyncio.Transport | None:
        """None where the connection has ended meanwhile. Raises OSError."""
        seconds = self._limits.handshake_seconds
        try:
            return await asyncio.get_running_loop().start_tls(
                self._transport,
                self,
                self._tls.context,
                server_side=True,
                ssl_handshake_timeout=seconds,
                ssl_shutdown_timeout=self._limits.close_seconds,
            )
        except OSError as error:
            if getattr(error, "reason", "") == "HTTP_REQUEST":
                with contextlib.suppress(OSError):
                    in_clear.send(problem_bytes(HTTPStatus.BAD_REQUEST, IN_CLEAR))
            raise

    def _leave(self) -> None:
        self._connections.discard(self)
        self._waiting.pop(self, None)
