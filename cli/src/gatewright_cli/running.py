"""`gatewright run`, once nothing stands in its way: start, deploy, say ready, look after it all, stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import click
from gatewright_controller.relay import Relay, Unnamed

from gatewright_cli import environment, ports
from gatewright_cli.api_files import ApiFiles
from gatewright_cli.changing import Changes, Inquiries, changing
from gatewright_cli.deployment import PATIENCE_SECONDS, Deployment, Reader
from gatewright_cli.engine_admin import EngineAdmin
from gatewright_cli.hangup import Hangup, Hangups
from gatewright_cli.keeper import StartError
from gatewright_cli.log_output import LogOutput
from gatewright_cli.management import DeployError, Management
from gatewright_cli.node import NodeSettings, processes
from gatewright_cli.operator_secrets import TOKEN_FILE
from gatewright_cli.orphans import Orphans
from gatewright_cli.peers import Peers, own_check
from gatewright_cli.run_dir import STATUS, RunDir
from gatewright_cli.spent import Spent
from gatewright_cli.stopping import Wish, Wishes
from gatewright_cli.supervisor import Supervisor

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
POLL_SECONDS = 0.02
LOOK_SECONDS = 2.0
ORPHANS_SECONDS = 2.0

Failure = StartError | DeployError


class NodeRun:
    """One run of a node, from the first process started to the last one stopped.

    management: of the node's controller, if it has one. files: what to deploy; read: reads one of them again.
    strict: the start fails where an API is not deployed.
    spent: what the time before was used for; this run adds its own parts and logs them.
    """

    def __init__(
        self,
        settings: NodeSettings,
        run_dir: RunDir,
        management: Management | None,
        files: ApiFiles,
        read: Reader,
        output: LogOutput,
        changes: Changes,
        spent: Spent,
        strict: bool = False,
    ) -> None:
        self._settings, self._run_dir, self._files, self._output = settings, run_dir, files, output
        self._changes, self._spent, self._strict = changes, spent, strict
        self._state = "starting"
        self._peers, self._orphans = Peers(run_dir), Orphans(self._say_ended)
        self._supervisor = Supervisor(processes(settings, run_dir), output, None, self._write_status, self._noted)
        self._management = management
        self._deployment = Deployment(management, files, read, output, self._write_status)
        self._inquiries = Inquiries(self._status_now, self._deployment.policies_changed, orphans=self._orphans)
        self._relays = [
            Relay(keeper.spec.relay, Unnamed(keeper.spec.sockets[0]), own_check(keeper.spec.relay, output))
            for keeper in self._supervisor.keepers
            if keeper.spec.relay is not None
        ]
        self._asked = asyncio.Event()
        self._wishes, self._hangups = Wishes(), Hangups()

    async def run(self) -> Failure | None:
        """Until a signal asks to stop: None; or until the start has failed: why. Leaves nothing behind either way."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._on_stop_signal, signal.Signals(number).name)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        serving, asked = asyncio.create_task(self._serve()), asyncio.create_task(self._asked.wait())
        watching = self._adopt_orphans()
        try:
            await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._become("stopping")
            await _cancel(serving, asked)
            await self._stop()
            await _cancel(watching)
        return None if serving.cancelled() else _failure(serving)

    def _adopt_orphans(self) -> asyncio.Task[None]:
        try:
            self._orphans.adopt()
        except OSError as error:
            self._output.event("processes that policies leave behind are not ended", "warning", reason=error.strerror)
        return asyncio.create_task(self._orphans.watch(), name="orphans")

    def _noted(self, name: str, pid: int | None) -> None:
        self._peers.note(name, pid)
        self._orphans.note(name, pid)

    def _say_ended(self, programs: dict[int, str]) -> None:
        some = [f"{name} ({pid})" for pid, name in list(programs.items())[:5]]
        self._output.event("processes that were left behind are ended", "warning", count=len(programs), which=some)

    @property
    def forced(self) -> bool:
        """Whether a second signal cut the orderly stop short."""
        return self._wishes.forced

    @property
    def _token_file(self) -> Path:
        return self._run_dir.path / TOKEN_FILE

    async def _serve(self) -> None:
        for what in self._settings.isolation.lacks:
            self._output.event("executors are not kept from all: the kernel lacks something", "warning", lacks=what)
        self._output.event("starting", status=str(self._run_dir.path / STATUS), pid=os.getpid())
        withheld = environment.withheld(keeper.spec for keeper in self._supervisor.keepers)
        self._output.event("variables that no process gets", "debug", names=withheld)
        for relay in self._relays:
            await relay.start()
        self._spent.seconds |= {one.name: one.seconds for one in await self._supervisor.start()}
        async with changing(
            self._changes,
            self._settings,
            self._run_dir,
            self._supervisor,
            self._output,
            self._inquiries,
            self._management,
        ):
            end = time.monotonic() + PATIENCE_SECONDS
            with self._spent.on("deploy"):
                await self._deployment.start(end)
            with self._spent.on("acknowledged"):
                await self._until_envoy_has_it(end)
            await self._deployment.name_who_does_not_serve()
            if self._strict:
                self._deployment.refuse_shortcomings()
            self._become("running")
            self._say_ready()
            await self._deployment.follow()

    async def _until_envoy_has_it(self, end: float) -> None:
        """Until Envoy has acknowledged all that the engine has given it, or until `end` (time.monotonic()).

        Its workers have it then: Envoy hands a configuration to them before it acknowledges it, and each takes it in
        before any connection that is made later.
        """
        admin = EngineAdmin(self._run_dir.socket("engine-admin"))
        while not (confirmed := await admin.envoy_has_all()) and time.monotonic() < end:
            await asyncio.sleep(POLL_SECONDS)
        if not confirmed:
            self._output.event("Envoy has not acknowledged all that the engine gave it", "warning")

    def _say_ready(self) -> None:
        parts = {what: f"{seconds:.2f}s" for what, seconds in self._spent.seconds.items()}
        settings, (serving, apis) = self._settings, self._deployment.serving()
        total = f"{sum(self._spent.seconds.values()):.2f}s"
        self._output.event("ready", total=total, **parts, serving=serving, apis=apis)
        with contextlib.suppress(OSError):  # nobody wants to know; the node runs all the same
            click.echo(f"ready {settings.url}" + (f" ({serving} of {apis} APIs serve)" if apis else ""))
            if settings.controller:
                click.echo(f"management API {ports.url(settings.controller)}, token in {self._token_file}")
            for state, said in self._deployment.shortcomings():
                click.echo(f"  {state:<8} {said}")
            if (sample := self._sample()) is not None:
                click.echo(f"curl {'-I' if sample[0] == 'HEAD' else '-i'} {settings.url}{sample[1]}")

    def _sample(self) -> tuple[str, str] | None:
        """A request for people to try, at the echo where an API has it. It is printed, and never sent from here."""
        serving = [api for api in self._files.apis if api.sample and self._deployment.is_deployed(api.name)]
        serving.sort(key=lambda api: not api.is_at(self._settings.echo))
        return serving[0].sample if serving else None

    def _on_stop_signal(self, name: str) -> None:
        match self._wishes.heard(time.monotonic()):
            case Wish.STOP:
                self._output.event("stopping (once more to force it)", signal=name)
                self._asked.set()
            case Wish.FORCE:
                self._output.event("stopping by force", "warning", signal=name)
                self._supervisor.kill()

    def _on_hangup(self) -> None:
        match self._hangups.heard():
            case Hangup.STOP:
                self._output.event("the terminal is gone")
                self._on_stop_signal("SIGHUP")
            case Hangup.RELOAD:
                self._inquiries.reload.set()

    async def _stop(self) -> None:
        await self._supervisor.stop()
        for relay in self._relays:
            await relay.close()
        if not await self._orphans.gone(ORPHANS_SECONDS):
            self._output.event("processes that were left behind go on", "error")
        self._run_dir.remove()
        self._output.event("stopped")

    def _become(self, state: str) -> None:
        self._state = state
        self._write_status()

    async def _status_now(self) -> dict[str, Any]:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._deployment.look()
        return self._status()

    def _write_status(self) -> None:
        self._run_dir.write_status(self._status())

    def _status(self) -> dict[str, Any]:
        """version 1; `state` is starting, running (ready has been said) or stopping; see the fields below.

        `tokenFile` holds the token that `controller` asks for. `apis` and `refusedFiles`: see Deployment; both are
        empty without a controller.
        """
        settings = self._settings
        return {
            "version": 1,
            "state": self._state,
            "pid": os.getpid(),
            "url": settings.url,
            "controller": ports.url(settings.controller) if settings.controller else None,
            "tokenFile": str(self._token_file) if settings.controller else None,
            "echo": ports.url(settings.echo) if settings.echo else None,
            "build": str(settings.build.path),
            "stateDir": str(settings.state_dir),
            "processes": [keeper.status() for keeper in self._supervisor.keepers],
            "apis": self._deployment.report(),
            "refusedFiles": self._deployment.refused_files(),
        }


async def _cancel(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def _failure(serving: asyncio.Task[None]) -> Failure | None:
    error = serving.exception()
    if error is None or isinstance(error, StartError | DeployError):
        return error
    raise error
