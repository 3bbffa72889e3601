"""Another Envoy, with another engine inside, takes the place of the present one without a refused connection.

The present engine leaves the node's state to the next one → the next Envoy starts beside the present one, with other
sockets, and listens on the same ports → it serves all APIs → new connections go to it, and it gets the present one's
name and sockets → the present one drains and ends. Until new connections go to the next one, nothing has changed for
clients; if it does not start, the present engine goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gatewright_cli.builds.generation import Generation
from gatewright_cli.clients.engine_admin import EngineAdmin, EngineRefusedError
from gatewright_cli.clients.envoy_admin import EnvoyAdmin
from gatewright_cli.local_http import LocalHttpError
from gatewright_cli.node.files.admin_relays import AdminRelays
from gatewright_cli.node.files.run_dir import RunDir
from gatewright_cli.node.listeners.listener_handover import ListenerHandover
from gatewright_cli.node.specs import processes
from gatewright_cli.node.specs.envoy_drain import ReplacedEnvoyDrain
from gatewright_cli.node.specs.processes import ENVOY, NodeSettings, Roster
from gatewright_cli.supervision.logs.output import LogOutput
from gatewright_cli.supervision.managed_process import ManagedProcess, StartError
from gatewright_cli.supervision.specs import ProcessSpec
from gatewright_cli.supervision.supervisor import Supervisor

SERVES_SECONDS = 60.0
POLL_SECONDS = 0.05
OWN_PORTS = ("--attach-listen", "--state-listen")
"""Options of engines that listen on ports of their own, which two of them cannot have at once."""


@dataclass(frozen=True)
class _Next:
    """An Envoy that serves beside the present one. apis: how many the present one served."""

    present: ManagedProcess
    fresh: ManagedProcess
    starting: ProcessSpec
    serving: ProcessSpec
    handovers: Sequence[ListenerHandover]
    apis: int


class Takeovers:
    """Those of one run, one after the other: start → finish → remove."""

    def __init__(
        self, settings: NodeSettings, run_dir: RunDir, supervisor: Supervisor, output: LogOutput, relays: AdminRelays
    ) -> None:
        self._settings, self._run_dir, self._supervisor = settings, run_dir, supervisor
        self._output, self._relays = output, relays
        self._serial = 1
        self._next: _Next | None = None

    def obstacle(self) -> str:
        """The option by which two engines cannot run at once; "" for none."""
        guest = self._supervisor.process(ENVOY).spec.guest
        return next((option for option in OWN_PORTS if guest and option in guest.arguments), "")

    async def start(self, generation: Generation, roster: Roster, *, serves_all: bool) -> None:
        """Starts the next Envoy beside the present one, for `finish`. Raises EngineRefusedError.

        serves_all: the next engine has to serve all APIs of the present one by then.
        """
        present, serial = self._supervisor.process(ENVOY), self._serial + 1
        starting, serving = processes.beside(present.spec, self._settings, self._run_dir, generation, roster, serial)
        admin = _engine_of(present.spec)
        apis = (await admin.stats()).node.apis
        handovers = [ListenerHandover(address) for address in await self._addresses(present.spec)]
        await admin.hand_over(away=True)
        fresh = self._supervisor.add(starting, before=ENVOY)
        self._serial = serial
        try:
            await self._relays.open(starting)
            for handover in handovers:
                handover.keep()
            await fresh.start()
            await self._until_acknowledged(starting)
            if serves_all and not await self._serves(starting, apis, SERVES_SECONDS):
                served = (await _engine_of(starting).stats()).node.apis
                text = f"the new engine serves {served} of {apis} APIs after {SERVES_SECONDS:g} s"
                raise EngineRefusedError(f"{text}; its lines in the log name the others")
        except BaseException as error:
            await asyncio.shield(self._give_up(fresh, starting, handovers, admin))
            if isinstance(error, StartError):
                raise EngineRefusedError(f"{ENVOY} does not start with the new engine: {error}") from error
            raise
        self._next = _Next(present, fresh, starting, serving, handovers, apis)

    async def finish(self, seconds: float = SERVES_SECONDS) -> ManagedProcess:
        """Has the next Envoy take the place of the present one, which it returns, for `remove`.

        seconds: how long it waits for the next engine to serve as many APIs as the present one.
        """
        assert self._next is not None
        following, self._next = self._next, None
        if not await self._serves(following.starting, following.apis, seconds):
            self._output.event("the new engine takes over and serves fewer APIs than the one before", "warning")
        for handover in following.handovers:
            handover.pass_on()
        self._rename(following)
        return following.present

    async def remove(self, replaced: ManagedProcess) -> None:
        """Drains a replaced Envoy, and stops it for good."""
        await self._supervisor.remove(replaced)
        await self._relays.close(replaced.spec)
        for path in (*replaced.spec.sockets, *(replaced.spec.guest.sockets if replaced.spec.guest else ())):
            self._run_dir.remove_file(path)

    def _rename(self, following: _Next) -> None:
        """Without a pause, so that the admin sockets always belong to one of the two."""
        present, starting, serving = following.present, following.starting, following.serving
        assert starting.guest is not None
        assert serving.guest is not None
        starting.guest.sockets[-1].replace(serving.guest.sockets[-1])
        self._relays.exchange(serving, starting)
        drain = ReplacedEnvoyDrain(_admin_of(starting), self._settings.drain_seconds, following.handovers)
        present.assign(processes.leaving(present.spec, starting, self._serial - 1, drain))
        present.mark_replaced()
        following.fresh.assign(serving)

    async def _addresses(self, spec: ProcessSpec) -> list[str]:
        with contextlib.suppress(LocalHttpError):
            return await EnvoyAdmin(_admin_of(spec)).listener_addresses()
        return []

    async def _until_acknowledged(self, starting: ProcessSpec) -> None:
        """Waits until the new Envoy has all that its engine has. Raises EngineRefusedError."""
        admin, end = _engine_of(starting), time.monotonic() + SERVES_SECONDS
        while not await admin.envoy_acknowledged_all():
            if time.monotonic() > end:
                raise EngineRefusedError(
                    f"Envoy has not acknowledged what the new engine gave it in {SERVES_SECONDS:g} s"
                )
            await asyncio.sleep(POLL_SECONDS)

    async def _serves(self, starting: ProcessSpec, apis: int, seconds: float) -> bool:
        """Whether the new Envoy serves as many APIs as the present one, within a time."""
        admin, end = _engine_of(starting), time.monotonic() + seconds
        while (await admin.stats()).node.apis < apis:
            if time.monotonic() > end:
                return False
            await asyncio.sleep(POLL_SECONDS)
        return True

    async def _give_up(
        self, fresh: ManagedProcess, starting: ProcessSpec, handovers: list[ListenerHandover], admin: EngineAdmin
    ) -> None:
        await self._supervisor.remove(fresh)
        await self._relays.close(starting)
        for handover in handovers:
            handover.close()
        with contextlib.suppress(EngineRefusedError):  # it has started again meanwhile
            await admin.hand_over(away=False)
        self._output.event("the new engine does not take over: the present one goes on", "error")


def _engine_of(spec: ProcessSpec) -> EngineAdmin:
    assert spec.guest is not None
    return EngineAdmin(spec.guest.sockets[-1])


def _admin_of(spec: ProcessSpec) -> Path:
    """Where the admin interface of an Envoy is reached."""
    return spec.relay or spec.sockets[0]
