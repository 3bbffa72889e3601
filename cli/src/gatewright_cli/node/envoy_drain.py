"""Stops Envoy without losing a request."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from gatewright_controller._gen import envoy_names

from gatewright_cli.addresses import join_address
from gatewright_cli.local_http import LocalClient
from gatewright_cli.node import listener_gate
from gatewright_cli.supervision.probes import POLL_SECONDS

ACCEPT_SECONDS = 1.0
IDLE_SECONDS = 1.0


@dataclass(frozen=True)
class EnvoyDrain:
    """Four steps, `seconds` in all at most (https://www.envoyproxy.io/docs/envoy/latest/operations/admin):

    1. The health check fails, so load balancers choose other nodes, and the next answer on each connection asks its
       client to close it. New connections are still accepted, for `accepts_seconds`; None: for a second, or until there
       are none.
    2. The kernel holds new connections back until those in the listeners' queues are accepted.
    3. All listeners close: now new connections are refused.
    4. Requests end: until no connection is left, or after a while only idle ones.
    """

    admin: Path
    seconds: float = 10.0
    accepts_seconds: float | None = None

    async def run(self) -> None:
        """Drains. May raise LocalHttpError."""
        began = time.monotonic()
        client = LocalClient(self.admin)
        await client.post("/healthcheck/fail")
        await self._within(began, self._accept_on(client))
        await self._close_listeners(client, began)
        await self._within(began, self._until_done(client))

    async def _within(self, began: float, step: Awaitable[None]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, began + self.seconds - time.monotonic())):
                await step

    async def _accept_on(self, client: LocalClient) -> None:
        if self.accepts_seconds is not None:
            await asyncio.sleep(self.accepts_seconds)
            return
        began = time.monotonic()
        while time.monotonic() - began < ACCEPT_SECONDS and await _active(client, "cx"):
            await asyncio.sleep(POLL_SECONDS)

    async def _close_listeners(self, client: LocalClient, began: float) -> None:
        async with listener_gate.closing(await _addresses(client), functools.partial(self._within, began)):
            await client.post("/drain_listeners")

    async def _until_done(self, client: LocalClient) -> None:
        began = time.monotonic()
        while await _active(client, "rq" if time.monotonic() - began > IDLE_SECONDS else "cx"):
            await asyncio.sleep(POLL_SECONDS)


class _SocketAddress(msgspec.Struct):
    address: str
    port_value: int


class _Address(msgspec.Struct):
    socket_address: _SocketAddress | None = None


class _Listener(msgspec.Struct):
    local_address: _Address


class _Listeners(msgspec.Struct):
    listener_statuses: list[_Listener] = []


async def _addresses(client: LocalClient) -> list[str]:
    """HOST:PORT of each TCP listener that Envoy has now. A listener with HTTP/3 has the same address for UDP, which
    Envoy's list does not distinguish; a client whose new UDP connection is refused uses TCP.
    """
    answer = await client.get("/listeners", params={"format": "json"})
    listeners = msgspec.json.decode(answer.content or b"{}", type=_Listeners).listener_statuses
    sockets = [listener.local_address.socket_address for listener in listeners]
    return list(dict.fromkeys(join_address(socket.address, socket.port_value) for socket in sockets if socket))


async def _active(client: LocalClient, kind: str) -> int:
    """How many connections ("cx") or requests ("rq") of clients there are."""
    answer = await client.get("/stats", params={"filter": f"^http.{envoy_names.STAT_PREFIX}.downstream_{kind}_active$"})
    _, _, value = answer.text.partition(": ")
    return int(value.strip() or 0)
