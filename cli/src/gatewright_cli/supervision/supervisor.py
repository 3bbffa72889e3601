"""Starts the processes of a node in order, each ready before the next, and stops them in reverse."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from gatewright_cli.supervision.logs.output import LogOutput
from gatewright_cli.supervision.managed_process import ManagedProcess, OnPid, StartedWith
from gatewright_cli.supervision.restarts import RestartPolicy
from gatewright_cli.supervision.specs import ProcessSpec


@dataclass(frozen=True)
class Started:
    """Seconds from the start of a process until it was ready."""

    name: str
    seconds: float


class Supervisor:
    """The processes of one node, in the order in which they start. Start it; stop it, also after a failed start."""

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        output: LogOutput,
        policy: RestartPolicy | None = None,
        on_change: Callable[[], None] = lambda: None,
        on_pid: OnPid = lambda *_: None,
        started_with: StartedWith = lambda spec: spec,
    ) -> None:
        self._started_with = started_with
        self._output, self._policy, self._on_change, self._on_pid = output, policy, on_change, on_pid
        self.processes = [self._manage(spec) for spec in specs]

    async def start(self, before: Mapping[str, Callable[[], Awaitable[None]]] | None = None) -> list[Started]:
        """Starts the processes. Raises StartError for the first one that cannot be started; those before it run on.

        before: functions by process name, called before that process starts.
        """
        started = []
        for process in list(self.processes):
            began = time.monotonic()
            if before and process.spec.name in before:
                await before[process.spec.name]()
            await process.start()
            started.append(Started(process.spec.name, time.monotonic() - began))
        return started

    async def stop(self) -> None:
        """Stops the processes in reverse order: each before those that it depends on."""
        for process in self.processes[::-1]:
            await process.stop()

    def process(self, name: str) -> ManagedProcess:
        """The process of this name. Raises StopIteration for none."""
        return next(process for process in self.processes if process.spec.name == name)

    def add(self, spec: ProcessSpec, before: str) -> ManagedProcess:
        """Adds a process, not started yet, which stops after the one named `before`."""
        process = self._manage(spec)
        self.processes.insert(self.processes.index(self.process(before)), process)
        return process

    async def remove(self, process: ManagedProcess) -> None:
        """Stops a process for good."""
        await process.stop()
        self.processes.remove(process)
        self._on_change()

    def _manage(self, spec: ProcessSpec) -> ManagedProcess:
        started_with = self._started_with
        return ManagedProcess(
            spec, self._output, self._policy, self._on_change, self._on_pid, started_with=started_with
        )

    def kill(self) -> None:
        """Kills all processes; a stop in progress then returns."""
        for process in self.processes:
            process.kill()
