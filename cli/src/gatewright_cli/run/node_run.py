"""One run of a node: start, deploy, report ready, follow the APIs, stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from gatewright_cli import addresses
from gatewright_cli.api_files import ApiFiles, Sample
from gatewright_cli.clients.controller_refusals import DeployError, NoAnswerError
from gatewright_cli.clients.engine_admin import EngineAdmin, GatewayReport
from gatewright_cli.clients.envoy_admin import EnvoyAdmin
from gatewright_cli.clients.management import Management
from gatewright_cli.local_http import LocalHttpError
from gatewright_cli.node.files import inspector_page
from gatewright_cli.node.files.admin_relays import AdminRelays
from gatewright_cli.node.files.operator_secrets import TOKEN_FILE
from gatewright_cli.node.files.peers import Peers
from gatewright_cli.node.files.run_dir import STATUS, RunDir
from gatewright_cli.node.listeners.gateway import Listener, write_rendered
from gatewright_cli.node.phase_times import PhaseTimes
from gatewright_cli.node.specs import environment
from gatewright_cli.node.specs.processes import ENVOY, SUPERVISOR_METRICS, NodeSettings, at_start, engine_process
from gatewright_cli.node.supervisor_metrics import SupervisorMetrics
from gatewright_cli.run import other_signals
from gatewright_cli.run.deployment import START_WAIT_SECONDS, Deployment, Reader
from gatewright_cli.run.gateway_reloading import GatewayReloads
from gatewright_cli.run.hangup_signals import HangupAction, HangupSignals
from gatewright_cli.run.live_updates import RunInterface, UpdateSources, live_updates
from gatewright_cli.run.logs import level_options
from gatewright_cli.run.logs.export import LogExport
from gatewright_cli.run.logs.level_changes import NOT_APPLIED, LogLevelChanges
from gatewright_cli.run.logs.levels import Apply, LogLevels, NotAppliedError
from gatewright_cli.run.logs.reopening import LogReopening
from gatewright_cli.run.stop_signals import StopAction, StopSignals
from gatewright_cli.supervision.logs.output import LogOutput
from gatewright_cli.supervision.managed_process import StartError
from gatewright_cli.supervision.orphans import Orphans
from gatewright_cli.supervision.supervisor import Supervisor

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)
POLL_SECONDS = 0.02
LOOK_SECONDS = 2.0
ORPHANS_SECONDS = 2.0

Failure = StartError | DeployError


class NodeRun:
    """One run of a node, from the first process started to the last one stopped.

    management: of the node's controller, if it has one. files: what to deploy; read: reads one of them again.
    rendered: waits for the Gateway as the engine reads it; None if the controller writes it.
    strict: the start fails if an API is not deployed.
    spent: the seconds of the phases before; this run adds its own phases and logs all.
    """

    def __init__(
        self,
        settings: NodeSettings,
        run_dir: RunDir,
        management: Management | None,
        files: ApiFiles,
        read: Reader,
        output: LogOutput,
        changes: UpdateSources,
        spent: PhaseTimes,
        rendered: Callable[[], str] | None,
        strict: bool = False,
    ) -> None:
        self._settings, self._run_dir, self._files, self._output = settings, run_dir, files, output
        self._changes, self._spent, self._strict = changes, spent, strict
        self._rendered = rendered
        self._state, self._folder = "starting", str(Path.cwd())
        self._certificates: list[dict[str, Any]] = []
        self._export_trouble = ""
        self._peers, self._orphans = Peers(run_dir), Orphans(self._log_orphans)
        self._engine = EngineAdmin(run_dir.socket("engine-admin"))
        envoy = EnvoyAdmin(run_dir.socket("envoy-admin"))
        level_changes = LogLevelChanges(output, management, self._engine, envoy)
        self._levels = LogLevels(level_options.levels_at_start(settings), apply_levels(level_changes), output)
        specs, started_with = at_start(settings, run_dir), self._levels.started_with
        self._supervisor = Supervisor(specs, output, None, self._on_change, self._on_pid, started_with)
        self._export = LogExport(output, self._engine, settings.gateway.secret_names)
        self._management = management
        self._deployment = Deployment(management, files, read, output, self._write_status, settings.apis)
        self._listening = GatewayReloads(changes.gateway, run_dir, management, self._engine, self._orphans)
        self._metrics = SupervisorMetrics(lambda: self._supervisor.processes)
        at = run_dir.socket(SUPERVISOR_METRICS)
        self._metrics_socket = self._metrics.socket(at, self._peers.engines_check(at, output), output)
        self._relays = AdminRelays(self._peers, output)
        self._interface = RunInterface(
            self._status_now,
            self._reloaded,
            self._levels,
            self._listening,
            orphans=self._orphans,
            metrics=self._metrics,
            relays=self._relays,
        )
        self._log_reopening = LogReopening(output, output.files, envoy)
        self._stop_requested = asyncio.Event()
        self._stop_signals, self._hangup_signals = StopSignals(), HangupSignals()

    async def run(self) -> Failure | None:
        """Runs until a signal asks to stop, and returns None; or until the start fails, and returns why. It leaves no
        process and no file behind either way.
        """
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._on_stop_signal, signal.Signals(number).name)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        loop.add_signal_handler(other_signals.REOPEN, self._log_reopening.on_signal)
        for number in other_signals.UNUSED:
            loop.add_signal_handler(number, self._on_unused_signal, signal.Signals(number).name)
        exporting = asyncio.create_task(self._export.run(), name="log export")
        serving, stop_requested = asyncio.create_task(self._serve()), asyncio.create_task(self._stop_requested.wait())
        watching = self._adopt_orphans()
        try:
            await asyncio.wait({serving, stop_requested}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._set_state("stopping")
            await _cancel(serving, stop_requested, exporting)
            await self._export.flush()
            await self._stop()
            await _cancel(watching)
        return None if serving.cancelled() else _failure(serving)

    def _adopt_orphans(self) -> asyncio.Task[None]:
        try:
            self._orphans.adopt()
        except OSError as error:
            self._output.event("orphaned processes will not be killed", "warning", reason=error.strerror)
        return asyncio.create_task(self._orphans.watch(), name="orphans")

    def _on_pid(self, name: str, pid: int | None) -> None:
        self._peers.on_pid(name, pid)
        self._orphans.on_pid(name, pid)

    def _log_orphans(self, programs: dict[int, str]) -> None:
        examples = [f"{name} ({pid})" for pid, name in list(programs.items())[:5]]
        self._output.event("orphaned processes are killed", "warning", count=len(programs), which=examples)

    def _reloaded(self) -> None:
        self._deployment.policies_changed()
        envoy = self._supervisor.process(ENVOY)
        envoy.spec = replace(envoy.spec, listen=self._listening.current.addresses)
        self._write_status()

    @property
    def forced(self) -> bool:
        """Whether a second signal ended the orderly stop early."""
        return self._stop_signals.forced

    @property
    def _token_file(self) -> Path:
        return self._run_dir.path / TOKEN_FILE

    async def _serve(self) -> None:
        for feature in self._settings.isolation.lacks:
            self._output.event("executors are not fully isolated: the kernel lacks something", "warning", lacks=feature)
        self._output.event("starting", status=str(self._run_dir.path / STATUS), pid=os.getpid())
        withheld = environment.withheld(process.spec for process in self._supervisor.processes)
        self._output.event("variables that no process gets", "debug", names=withheld)
        for process in self._supervisor.processes:
            await self._relays.open(process.spec)
        await self._metrics_socket.start()
        reader = engine_process(self._settings)
        before = {reader: partial(self._write_gateway, self._rendered)} if self._rendered else {}
        started = await self._supervisor.start(before)
        self._spent.seconds |= {process.name: process.seconds for process in started}
        async with live_updates(
            self._changes,
            self._settings,
            self._run_dir,
            self._supervisor,
            self._output,
            self._interface,
            self._management,
        ):
            end = time.monotonic() + START_WAIT_SECONDS
            with self._spent.measure("deploy"):
                await self._deployment.start(end)
            with self._spent.measure("acknowledged"):
                await self._until_envoy_acknowledges(end)
            await self._deployment.log_undeployed()
            if self._strict:
                self._deployment.require_all_deployed()
            report = await self._engine.gateway()
            listeners = self._settings.gateway.listeners
            open_listeners = [listener for listener in listeners if listener.name not in report.closed]
            if not open_listeners:
                raise DeployError(f"no listener can be opened: {'; '.join(map(str, report.failing_files))}")
            self._set_state("running")
            self._announce_ready(open_listeners, report)
            await self._deployment.follow()

    async def _write_gateway(self, rendered: Callable[[], str]) -> None:
        write_rendered(self._run_dir, await asyncio.to_thread(rendered))

    async def _until_envoy_acknowledges(self, end: float) -> None:
        """Waits until Envoy has acknowledged everything that the engine sent it, or until `end` (time.monotonic()).
        Raises DeployError if Envoy refuses the Gateway.

        Envoy's workers then have the configuration: Envoy hands it to them before it acknowledges it, and each worker
        applies it before it accepts later connections.
        """
        while not (confirmed := await self._engine.envoy_acknowledged_all()) and time.monotonic() < end:
            if refused := (await self._engine.gateway()).refusal:
                raise DeployError(f"Envoy refuses the Gateway: {refused}")
            await asyncio.sleep(POLL_SECONDS)
        if not confirmed:
            self._output.event("Envoy has not acknowledged all that the engine gave it", "warning")

    def _announce_ready(self, listeners: Sequence[Listener], report: GatewayReport) -> None:
        """Logs and prints that the node is ready. listeners: the open ones. report: the engine's, with the problems."""
        parts = {phase: f"{seconds:.2f}s" for phase, seconds in self._spent.seconds.items()}
        settings, (serving, apis) = self._settings, self._deployment.serving()
        total = f"{sum(self._spent.seconds.values()):.2f}s"
        self._output.event("ready", total=total, **parts, serving=serving, apis=apis)
        with contextlib.suppress(OSError):  # stdout is closed; the node runs nevertheless
            click.echo(f"ready {listeners[0].url}" + self._deployment.serving_words())
            for listener in listeners[1:]:
                click.echo(f"also {listener.url} (listener {listener.name})")
            for listener in listeners:
                if listener.http3:
                    click.echo(f"HTTP/3 on {listener.url} (listener {listener.name})")
            if url := settings.controller_url:
                click.echo(f"management API {url}, token in {self._token_file}")
                click.echo(f"Inspector {inspector_page.address(url)} (`gatewright inspector --open` signs in)")
            closed = [("closed", f"the listener {name}") for name in report.closed]
            failing = [("failing", str(file)) for file in report.failing_files]
            for state, text in (*closed, *failing, *self._deployment.shortcomings()):
                click.echo(f"  {state:<8} {text}")
            if (sample := self._sample()) is not None:
                click.echo(sample.command(listeners[0].url))

    def _sample(self) -> Sample | None:
        """A request for people to try, preferably to an API at the echo. It is printed, and never sent by the run."""
        serving = [api for api in self._files.apis if api.sample and self._deployment.is_deployed(api.name)]
        serving.sort(key=lambda api: not api.is_at(self._settings.echo))
        return serving[0].sample if serving else None

    def _on_stop_signal(self, name: str) -> None:
        match self._stop_signals.received(time.monotonic()):
            case StopAction.STOP:
                self._output.event("stopping (send the signal again to force it)", signal=name)
                self._stop_requested.set()
            case StopAction.FORCE:
                self._output.event("stopping by force", "warning", signal=name)
                self._supervisor.kill()

    def _on_hangup(self) -> None:
        match self._hangup_signals.received():
            case HangupAction.STOP:
                self._output.event("the terminal was closed")
                self._on_stop_signal("SIGHUP")
            case HangupAction.RELOAD:
                self._interface.reload.set()

    def _on_unused_signal(self, name: str) -> None:
        self._output.event(f"{name} is ignored", "warning", signals=other_signals.MEANINGS)

    async def _stop(self) -> None:
        self._levels.close()
        with contextlib.suppress(LocalHttpError, TimeoutError):  # load balancers leave while the listeners are open
            async with asyncio.timeout(LOOK_SECONDS):
                await self._engine.report_drain("stopping")
        await self._supervisor.stop()
        await self._relays.close_all()
        await self._metrics_socket.close()
        if not await self._orphans.wait_until_gone(ORPHANS_SECONDS):
            self._output.event("orphaned processes still run", "error")
        self._run_dir.remove()
        self._output.event("stopped")

    def _set_state(self, state: str) -> None:
        self._state = state
        self._write_status()

    async def _status_now(self) -> dict[str, Any]:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._deployment.refresh()
                await self._refresh_from_controller()
        return self._status()

    async def _refresh_from_controller(self) -> None:
        """Reads from the controller, if there is one, what became of certificates by ACME and of the state's export."""
        if self._management is None:
            return
        with contextlib.suppress(NoAnswerError):
            if self._settings.state_export:
                self._export_trouble = await self._management.state_export_trouble()
            certificates = await self._management.certificates()
            self._certificates = [{"name": name, **msgspec.to_builtins(state)} for name, state in certificates.items()]

    def _on_change(self) -> None:
        """A process has changed."""
        self._metrics.count_restarts()
        self._write_status()

    def _write_status(self) -> None:
        self._run_dir.write_status(self._status())

    def _status(self) -> dict[str, Any]:
        """status.json, version 1. `state` is starting, running (`ready` was printed) or stopping.

        `folder` is the one that the run was started in. `tokenFile` holds the token of `controller`. `apis`,
        `refusedFiles` and `databaseTrouble`: see Deployment; they are empty without a controller. `acme`: certificates
        by ACME, `stateExportTrouble`: why the state is not exported, by the controller's last answer.
        """
        settings, listeners = self._settings, self._listening.current.listeners
        return {
            "version": 1,
            "state": self._state,
            "pid": os.getpid(),
            "url": listeners[0].url,
            "listeners": [
                {"name": listener.name, "url": listener.url, "http3": listener.http3} for listener in listeners
            ],
            "controller": settings.controller_url,
            "tokenFile": str(self._token_file) if settings.controller else None,
            "echo": addresses.url(settings.echo) if settings.echo else None,
            "manifest": str(settings.manifest) if settings.manifest else None,
            "folder": self._folder,
            "build": str(settings.build.path),
            "stateDir": str(settings.state_dir),
            "processes": [status for process in self._supervisor.processes for status in process.statuses()],
            "apis": self._deployment.report(),
            "refusedFiles": self._deployment.refused_files(),
            "databaseTrouble": self._deployment.database_trouble,
            "acme": self._certificates,
            "stateExportTrouble": self._export_trouble,
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


def apply_levels(changes: LogLevelChanges) -> Apply:
    """Applies levels with `changes`; raises its errors as NotAppliedError, for LogLevels."""

    async def apply(component: str, levels: Mapping[str, str]) -> None:
        try:
            await changes.apply(component, levels)
        except NOT_APPLIED as error:
            raise NotAppliedError(str(error)) from error

    return apply
