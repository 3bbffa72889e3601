"""Starts the processes of a node in order, each ready before the next, and stops them in reverse."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gatewright_cli.supervision.log_output import LogOutput
from gatewright_cli.supervision.managed_process import Keeper, Noted
from gatewright_cli.supervision.restarts import RestartPolicy
from gatewright_cli.supervision.specs import ProcessSpec


@dataclass(frozen=True)
class Started:
    """How long a process took from being called for until it was ready, in seconds."""

    name: str
    seconds: float


class Supervisor:
    """The processes of one node. start → they are kept alive → stop, which is also right after a failed start."""

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        output: LogOutput,
        policy: RestartPolicy | None = None,
        changed: Callable[[], None] = lambda: None,
        noted: Noted = lambda *_: None,
    ) -> None:
        self._output, self._policy, self._changed, self._noted = output, policy, changed, noted
        self.keepers = [self._keeper(spec) for spec in specs]

    async def start(self) -> list[Started]:
        """Raises StartError for the first process that cannot be started; those before it run on until stop."""
        started = []
        for keeper in list(self.keepers):
            began = time.monotonic()
            await keeper.start()
            started.append(Started(keeper.spec.name, time.monotonic() - began))
        return started

    async def stop(self) -> None:
        """In reverse order: who takes requests in stops first, who serves others stops after them."""
        for keeper in self.keepers[::-1]:
            await keeper.stop()

    def keeper(self, name: str) -> Keeper:
        return next(keeper for keeper in self.keepers if keeper.spec.name == name)

    def add(self, spec: ProcessSpec, before: str) -> Keeper:
        """A further process, which stops after the one named `before`. Start it; it is kept alive from then on."""
        keeper = self._keeper(spec)
        self.keepers.insert(self.keepers.index(self.keeper(before)), keeper)
        return keeper

    async def remove(self, keeper: Keeper) -> None:
        """Stops a process for good."""
        await keeper.stop()
        self.keepers.remove(keeper)
        self._changed()

    def _keeper(self, spec: ProcessSpec) -> Keeper:
        return Keeper(spec, self._output, self._policy, self._changed, self._noted)

    def kill(self) -> None:
        """Ends all processes at once; a stop that is under way then returns."""
        for keeper in self.keepers:
            keeper.kill()
