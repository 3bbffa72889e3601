"""Stops Envoy without losing a request."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Awaitable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gatewright_cli.clients.envoy_admin import EnvoyAdmin
from gatewright_cli.node.listeners import listener_gate
from gatewright_cli.node.listeners.listener_handover import ListenerHandover
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
        envoy = EnvoyAdmin(self.admin)
        await envoy.fail_health_check()
        await self._within(began, self._accept_on(envoy))
        await self._close_listeners(envoy, began)
        await self._within(began, self._until_done(envoy))

    async def _within(self, began: float, step: Awaitable[None]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, began + self.seconds - time.monotonic())):
                await step

    async def _accept_on(self, envoy: EnvoyAdmin) -> None:
        if self.accepts_seconds is not None:
            await asyncio.sleep(self.accepts_seconds)
            return
        began = time.monotonic()
        while time.monotonic() - began < ACCEPT_SECONDS and await envoy.active("cx"):
            await asyncio.sleep(POLL_SECONDS)

    async def _close_listeners(self, envoy: EnvoyAdmin, began: float) -> None:
        async with listener_gate.closing(await envoy.listener_addresses(), functools.partial(self._within, began)):
            await envoy.drain_listeners()

    async def _until_done(self, envoy: EnvoyAdmin) -> None:
        began = time.monotonic()
        while await envoy.active("rq" if time.monotonic() - began > IDLE_SECONDS else "cx"):
            await asyncio.sleep(POLL_SECONDS)


@dataclass(frozen=True)
class ReplacedEnvoyDrain:
    """Stops an Envoy to whose listeners another one listens already. New connections go to that one:

    1. Connections in this Envoy's queues are accepted, and its listeners close.
    2. The next answer on each connection asks its client to close it. Connections that are idle stay open, for
       `seconds`, so that their clients can send that request.

    handovers: of its listeners, passed on. The drain closes them.
    """

    admin: Path
    seconds: float
    handovers: Sequence[ListenerHandover]

    async def run(self) -> None:
        """Drains. May raise LocalHttpError."""
        envoy = EnvoyAdmin(self.admin)
        try:
            await envoy.ask_to_close()
            await listener_gate.briefly(_all(handover.until_accepted() for handover in self.handovers))
            await envoy.drain_listeners()
            await listener_gate.briefly(_all(handover.until_gone() for handover in self.handovers))
        finally:
            for handover in self.handovers:
                handover.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.seconds):
                while await envoy.active("cx"):
                    await asyncio.sleep(POLL_SECONDS)


async def _all(waits: Iterable[Coroutine[None, None, None]]) -> None:
    await asyncio.gather(*waits)
