"""How Envoy is stopped without losing a request."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gatewright_cli.node import listener_gate
from gatewright_cli.node.ports import join_address
from gatewright_cli.supervision.local_http import LocalClient
from gatewright_cli.supervision.probes import POLL_SECONDS, http_client

ACCEPT_SECONDS = 1.0
IDLE_SECONDS = 1.0


@dataclass(frozen=True)
class EnvoyDrain:
    """Four steps, `seconds` in all at most (https://www.envoyproxy.io/docs/envoy/latest/operations/admin):

    1. The health check fails, so load balancers look elsewhere, and clients are told to close their connection with the
       next answer. New connections are still taken, for `accepts_seconds`; None: for a second, or until there are none.
    2. New connections wait outside until those that wait inside are accepted.
    3. The listeners close, whichever there are by then: now new connections are refused.
    4. What is under way ends: there is no connection left, or after a while only some on which nothing happens.
    """

    admin: Path
    seconds: float = 10.0
    accepts_seconds: float | None = None

    async def run(self) -> None:
        """May raise LocalHttpError."""
        began = time.monotonic()
        client = http_client(self.admin)
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
    """HOST:PORT of each listener for TCP that Envoy has now. One with HTTP/3 has the same for UDP, which Envoy's list
    does not tell from it: where that is closed, a new connection waits for nothing and a client goes to TCP.
    """
    answer = await client.get("/listeners", params={"format": "json"})
    found = msgspec.json.decode(answer.content or b"{}", type=_Listeners).listener_statuses
    sockets = [one.local_address.socket_address for one in found]
    return list(dict.fromkeys(join_address(one.address, one.port_value) for one in sockets if one))


async def _active(client: LocalClient, what: str) -> int:
    """How many connections ("cx") or requests ("rq") of clients there are."""
    answer = await client.get("/stats", params={"filter": f"^http.gatewright.downstream_{what}_active$"})
    _, _, value = answer.text.partition(": ")
    return int(value.strip() or 0)
