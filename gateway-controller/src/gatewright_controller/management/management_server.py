"""The HTTP server of the management API."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec
import uvicorn
from starlette.applications import Starlette

from gatewright_controller.management.connections import BoundedProtocol, Limits, Waiting

if TYPE_CHECKING:
    from gatewright_controller.local.listener_tls import ListenerTls

STOP_SECONDS = 3


class Listener(msgspec.Struct, frozen=True):
    """Where the management API is served. tls: None for HTTP in clear."""

    socket: socket.socket
    tls: ListenerTls | None


class ManagementServer(uvicorn.Server):
    """Signals are its process's business: that has a second server to stop. Serves until `ended` is set.

    uvicorn's own loop wakes up ten times a second, to look at what others set and to format a Date header anew; that is
    most of what an idle controller would use.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ended = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self.ended.wait()


def management_server(app: Starlette, tls: ListenerTls | None = None) -> ManagementServer:
    """A server of `app`, to be given its sockets. tls: None for HTTP in clear."""
    limits, waiting = Limits(), Waiting()
    protocol: Callable[..., asyncio.Protocol] = functools.partial(BoundedProtocol, limits, waiting)
    if tls:
        from gatewright_controller.management.handshakes import Handshake  # here, for most controllers have no TLS

        protocol = functools.partial(Handshake, tls, limits, waiting)
    config = uvicorn.Config(
        app,
        http=protocol,  # type: ignore[arg-type]
        ws="none",  # the API has no WebSockets; by default uvicorn imports a library for them where there is one
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    return ManagementServer(config)
