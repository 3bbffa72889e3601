"""Another Envoy, with another engine inside, takes the place of the present one without a refused connection.

The present engine leaves the node's state to the next one → the next Envoy starts beside the present one, with other
sockets, and listens on the same ports → it serves all APIs → new connections go to it, and it gets the present one's
name and sockets → the present one drains and ends. Until new connections go to the next one, nothing has changed for
clients; if it does not start, the present engine goes on.

If the present Envoy ends meanwhile, it is not started again beside the next one, which has the same state directory and
ports: either the next one takes its place, or does not start, and the present one is started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from gatewright_cli.supervision.managed_process import ManagedProcess, StartError, State
from gatewright_cli.supervision.specs import ProcessSpec
from gatewright_cli.supervision.supervisor import Supervisor

SERVES_SECONDS = 60.0
POLL_SECONDS = 0.05
OWN_PORTS = ("--attach-listen", "--state-listen")
"""Options of engines that listen on ports of their own, which two of them cannot have at once."""


@dataclass(frozen=True)
class Takeover:
    """An Envoy, fresh, starts or serves beside the present one. apis: how many the present one served."""

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
        self._next: Takeover | None = None

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
        # An EnvoyDrain would keep new connections from the present Envoy too, which listens on the same ports.
        starting = replace(starting, drain=ReplacedEnvoyDrain(_admin_of(starting), self._settings.drain_seconds, ()))
        admin = _engine_of(present.spec)
        apis = (await admin.stats()).node.apis
        handovers = [ListenerHandover(address) for address in await self._addresses(present.spec)]
        await admin.hand_over(away=True)
        present.pause_restarts()
        fresh = self._supervisor.add(starting, before=ENVOY)
        following = Takeover(present, fresh, starting, serving, handovers, apis)
        self._serial = serial
        try:
            await self._relays.open(starting)
            for handover in handovers:
                handover.keep()
            await fresh.start()
            await self._until_acknowledged(starting)
            if serves_all and not await self._serves(following, SERVES_SECONDS):
                served = (await _engine_of(starting).stats()).node.apis
                text = f"the new engine serves {served} of {apis} APIs after {SERVES_SECONDS:g} s"
                raise EngineRefusedError(f"{text}; its lines in the log name the others")
        except BaseException as error:
            await asyncio.shield(self._give_up(following))
            if isinstance(error, StartError):
                raise EngineRefusedError(f"{ENVOY} does not start with the new engine: {error}") from error
            raise
        self._next = following

    async def finish(self, seconds: float = SERVES_SECONDS) -> Takeover:
        """Has the next Envoy take the place of the present one. Returns what `remove` needs.

        seconds: how long it waits for the next engine to be ready and to serve as many APIs as the present one.
        """
        assert self._next is not None
        following, self._next = self._next, None
        if not await self._serves(following, seconds):
            is_ready = following.fresh.state is State.READY
            lack = "serves fewer APIs than the one before" if is_ready else "is not ready: Envoy is started again"
            self._output.event(f"the new engine takes over and {lack}", "warning")
        for handover in following.handovers:
            handover.pass_on()
        self._rename(following)
        return following

    async def remove(self, done: Takeover) -> None:
        """Drains the replaced Envoy, unless it has ended already, and stops it for good."""
        replaced = done.present
        await self._supervisor.remove(replaced)
        for handover in done.handovers:
            handover.close()
        await self._relays.close(replaced.spec)
        for path in (*replaced.spec.sockets, *(replaced.spec.guest.sockets if replaced.spec.guest else ())):
            self._run_dir.remove_file(path)

    def _rename(self, following: Takeover) -> None:
        """Without a pause, so that the admin sockets always belong to one of the two."""
        present, starting, serving = following.present, following.starting, following.serving
        assert starting.guest is not None
        assert serving.guest is not None
        with contextlib.suppress(FileNotFoundError):  # the next engine has ended, or is starting again
            starting.guest.sockets[-1].replace(serving.guest.sockets[-1])
        self._relays.exchange(serving, starting)
        drain = ReplacedEnvoyDrain(_admin_of(starting), self._settings.drain_seconds, following.handovers)
        present.assign(processes.leaving(present.spec, starting, self._serial - 1, drain))
        present.mark_replaced()
        following.fresh.assign(serving)
        if following.fresh.state is not State.READY:
            following.fresh.kill()  # it is started again, now with the present one's name and sockets

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

    async def _serves(self, following: Takeover, seconds: float) -> bool:
        """Whether the new Envoy is ready and serves as many APIs as the present one, within a time."""
        admin, end = _engine_of(following.starting), time.monotonic() + seconds
        while following.fresh.state is not State.READY or (await admin.stats()).node.apis < following.apis:
            if time.monotonic() > end:
                return False
            await asyncio.sleep(POLL_SECONDS)
        return True

    async def _give_up(self, failed: Takeover) -> None:
        await self._supervisor.remove(failed.fresh)
        await self._relays.close(failed.starting)
        for handover in failed.handovers:
            handover.close()
        present = failed.present
        with contextlib.suppress(EngineRefusedError):  # it has ended
            await _engine_of(present.spec).hand_over(away=False)
        outcome = "goes on" if present.state is State.READY else "has ended, and is started again"
        self._output.event(f"the new engine does not take over: the present one {outcome}", "error")
        present.resume_restarts()


def _engine_of(spec: ProcessSpec) -> EngineAdmin:
    assert spec.guest is not None
    return EngineAdmin(spec.guest.sockets[-1])


def _admin_of(spec: ProcessSpec) -> Path:
    """Where the admin interface of an Envoy is reached."""
    return spec.relay or spec.sockets[0]
