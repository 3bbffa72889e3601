"""`gatewright run`, once nothing stands in its way: start, deploy, try, say ready, wait, stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Coroutine, Sequence

import click

from gatewright_cli import management, ports
from gatewright_cli.api_files import ApiFile
from gatewright_cli.changing import Changes, changing
from gatewright_cli.keeper import StartError
from gatewright_cli.log_output import LogOutput
from gatewright_cli.management import DeployError
from gatewright_cli.node import NodeSettings, processes
from gatewright_cli.run_dir import STATUS, RunDir
from gatewright_cli.stopping import Wish, Wishes
from gatewright_cli.supervisor import Supervisor

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Failure = StartError | DeployError


class NodeRun:
    """One run of a node, from the first process started to the last one stopped.

    spent: what the time before was used for, as (what, seconds); this run adds its own parts and logs them.
    """

    def __init__(
        self,
        settings: NodeSettings,
        run_dir: RunDir,
        apis: Sequence[ApiFile],
        output: LogOutput,
        changes: Changes,
        spent: Sequence[tuple[str, float]] = (),
    ) -> None:
        self._settings, self._run_dir, self._apis, self._output = settings, run_dir, apis, output
        self._changes, self._spent = changes, list(spent)
        self._state = "starting"
        self._supervisor = Supervisor(processes(settings, run_dir), output, changed=self._write_status)
        self._asked = asyncio.Event()
        self._wishes = Wishes()

    async def run(self) -> Failure | None:
        """Until a signal asks to stop: None; or until the start has failed: why. Leaves nothing behind either way."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._on_signal, signal.Signals(number).name)
        serving, asked = asyncio.create_task(self._serve()), asyncio.create_task(self._asked.wait())
        try:
            await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel(serving, asked)
            await self._stop()
        return None if serving.cancelled() else _failure(serving)

    @property
    def forced(self) -> bool:
        """Whether a second signal cut the orderly stop short."""
        return self._wishes.forced

    async def _serve(self) -> None:
        self._output.event("starting", status=str(self._run_dir.path / STATUS), pid=os.getpid())
        self._spent += [(one.name, one.seconds) for one in await self._supervisor.start()]
        if self._settings.controller:
            await self._timed("deploy", management.deploy(ports.url(self._settings.controller), self._apis))
        trial = next((api.trial for api in self._apis if api.trial), None)
        if trial is not None:
            await self._timed("first request", management.until_it_passes(self._settings.url, trial, self._output))
        self._state = "running"
        self._write_status()
        async with changing(self._changes, self._settings, self._run_dir, self._supervisor, self._output):
            self._say_ready(trial)
            await asyncio.Event().wait()

    async def _timed(self, what: str, work: Coroutine[None, None, None]) -> None:
        began = time.monotonic()
        await work
        self._spent.append((what, time.monotonic() - began))

    def _say_ready(self, trial: tuple[str, str] | None) -> None:
        parts = {what.replace(" ", "_"): f"{seconds:.2f}s" for what, seconds in self._spent}
        self._output.event("ready", total=f"{sum(seconds for _, seconds in self._spent):.2f}s", **parts)
        with contextlib.suppress(BrokenPipeError):  # nobody wants to know; the node runs all the same
            click.echo(f"ready {self._settings.url}")
            if trial is not None:
                click.echo(f"curl {'-I' if trial[0] == 'HEAD' else '-i'} {self._settings.url}{trial[1]}")

    def _on_signal(self, name: str) -> None:
        match self._wishes.heard(time.monotonic()):
            case Wish.STOP:
                self._output.event("stopping (once more to force it)", signal=name)
                self._asked.set()
            case Wish.FORCE:
                self._output.event("stopping by force", "warning", signal=name)
                self._supervisor.kill()

    async def _stop(self) -> None:
        self._state = "stopping"
        await self._supervisor.stop()
        self._run_dir.remove()
        self._output.event("stopped")

    def _write_status(self) -> None:
        """version 1; `state` is starting, running or stopping; see the fields below."""
        settings = self._settings
        self._run_dir.write_status(
            {
                "version": 1,
                "state": self._state,
                "pid": os.getpid(),
                "url": settings.url,
                "controller": ports.url(settings.controller) if settings.controller else None,
                "echo": ports.url(settings.echo) if settings.echo else None,
                "build": str(settings.build.path),
                "stateDir": str(settings.state_dir),
                "processes": [keeper.status() for keeper in self._supervisor.keepers],
            }
        )


async def _cancel(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def _failure(serving: asyncio.Task[None]) -> Failure | None:
    error = serving.exception()
    if error is None or isinstance(error, StartError | DeployError):
        return error
    raise error
