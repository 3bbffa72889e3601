"""Takes a node out of service and back as its controller asks; the engine passes the wish on.

Envoy never opens listeners again that it has drained, so a node that is to serve again gets another Envoy.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from gatewright_cli.clients.engine_admin import DrainPhase, DrainWish, EngineAdmin
from gatewright_cli.clients.envoy_admin import EnvoyAdmin
from gatewright_cli.local_http import LocalHttpError
from gatewright_cli.node.specs.envoy_drain import EnvoyDrain
from gatewright_cli.supervision.logs.output import LogOutput
from gatewright_cli.supervision.managed_process import ManagedProcess, StartError

POLL_SECONDS = 1.0
RETRY_SECONDS = 0.1
ACKNOWLEDGED_SECONDS = 10.0
LONGEST_SECONDS = 30 * 86400.0
"""Requests may take as long as they do."""


class NodeDrain:
    """Run it while the node runs. envoy: the present process, whose admin socket is at `admin`."""

    def __init__(
        self, engine: EngineAdmin, envoy: Callable[[], ManagedProcess], admin: Path, output: LogOutput
    ) -> None:
        self._engine, self._present, self._admin, self._output = engine, envoy, admin, output
        self._envoy = EnvoyAdmin(admin)
        self._phase: DrainPhase = "serving"
        self._wish = DrainWish(drained=False)
        self._changed, self._entered = asyncio.Event(), asyncio.Event()

    @property
    def _process(self) -> ManagedProcess:
        return self._present()

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._report(), name="report of the drain")
            tasks.create_task(self._follow(), name="drain")

    async def _report(self) -> None:
        """The engine may be started again, and then has the phase from here."""
        while True:
            with contextlib.suppress(LocalHttpError):
                wish = await self._engine.report_drain(self._phase)
                if wish != self._wish:
                    self._wish = wish
                    self._changed.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._entered.wait()
            self._entered.clear()

    async def _follow(self) -> None:
        while True:
            await self._until(lambda: self._wish.drained)
            self._enter("draining", "draining: the node is not ready, and soon takes no new connections")
            if await self._is_called_off():
                self._enter("serving", "the drain was called off")
                continue
            while self._wish.drained:
                envoy = await self._close()
                self._enter("drained", "drained: no exchange is under way")
                while self._wish.drained and self._process.pid == envoy:
                    await asyncio.sleep(RETRY_SECONDS)
                self._phase = "draining"  # with another Envoy, all begins anew
                self._entered.set()
            await self._serve_again()

    def _enter(self, phase: DrainPhase, message: str) -> None:
        self._phase = phase
        self._entered.set()
        self._output.event(message)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def _is_called_off(self) -> bool:
        """Lets load balancers leave: the node is not ready, and still accepts connections."""
        with contextlib.suppress(LocalHttpError):
            await self._envoy.fail_health_check()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._wish.accept_seconds):
                await self._until(lambda: not self._wish.drained)
        if not self._wish.drained:
            with contextlib.suppress(LocalHttpError):
                await self._envoy.pass_health_check()
        return not self._wish.drained

    async def _close(self) -> int | None:
        """Closes the listeners and waits for the end of all requests. The pid of the Envoy that has done so."""
        while True:
            envoy = self._process.pid
            closing = asyncio.create_task(EnvoyDrain(self._admin, LONGEST_SECONDS, 0.0).run(), name="drain of Envoy")
            try:
                while self._process.pid == envoy and not closing.done():
                    await asyncio.wait({closing}, timeout=RETRY_SECONDS)
            finally:
                closing.cancel()
                await asyncio.wait({closing})
            with contextlib.suppress(LocalHttpError, asyncio.CancelledError):  # another one starts, or has its place
                closing.result()
                if self._process.pid == envoy:
                    return envoy
            await asyncio.sleep(RETRY_SECONDS)

    async def _serve_again(self) -> None:
        self._enter("opening", "Envoy is started again, with open listeners")
        await self._process.stop()
        while True:
            try:
                await self._process.start()
            except StartError as error:
                self._output.event(f"the node cannot serve again yet: {error}", "error")
                await asyncio.sleep(ACKNOWLEDGED_SECONDS)
            else:
                break
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ACKNOWLEDGED_SECONDS):
                while not await self._engine.envoy_acknowledged_all():
                    await asyncio.sleep(RETRY_SECONDS)
        self._enter("serving", "the node serves again")
