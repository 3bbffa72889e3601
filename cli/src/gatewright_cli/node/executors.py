"""The executor processes of a run: which serve, and how others take their places without a lost execution.

A replacement, of the groups that a build has changed or of one process, goes the same way: start the new processes →
each is ready → the engine configures every policy instance in them and routes new exchanges to them → the old ones
drain → the engine disconnects from them → they are stopped. Until the engine has switched, the old ones serve; if it
refuses, the new ones are stopped again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gatewright_cli.builds.generation import Generation
from gatewright_cli.isolation.executor_users import IsolationError
from gatewright_cli.node import processes
from gatewright_cli.node.engine_admin import EngineAdmin, EngineRefusedError, ExecutorsReport
from gatewright_cli.node.phase_times import PhaseTimes
from gatewright_cli.node.processes import ExecutorId, NodeSettings
from gatewright_cli.node.run_dir import RunDir
from gatewright_cli.supervision.local_http import LocalHttpError
from gatewright_cli.supervision.log_output import LogOutput
from gatewright_cli.supervision.managed_process import ManagedProcess, StartError, State
from gatewright_cli.supervision.specs import ProcessSpec
from gatewright_cli.supervision.supervisor import Supervisor

ENGINE = "engine"
ENGINE_SECONDS = 30.0
POLL_SECONDS = 0.1
SLACK_SECONDS = 15.0


@dataclass(frozen=True)
class Executor:
    """One executor process, and the generation that it runs from."""

    id: ExecutorId
    process: ManagedProcess
    generation: Generation

    @property
    def address(self) -> str:
        """unix:/path, as the engine has it."""
        return f"unix:{self.process.spec.sockets[0]}"


class Executors:
    """All executor processes of a run. One change at a time; those that were replaced drain in the background. Close it
    before the supervisor stops.

    on_unused: called with each generation but the present one, once no process runs from it any more.
    """

    def __init__(
        self,
        settings: NodeSettings,
        run_dir: RunDir,
        supervisor: Supervisor,
        output: LogOutput,
        admin: EngineAdmin,
        first: Generation,
        on_unused: Callable[[Generation], None] = lambda _: None,
    ) -> None:
        self._settings, self._run_dir, self._supervisor = settings, run_dir, supervisor
        self._output, self._admin = output, admin
        self.generation, self._on_unused = first, on_unused
        self.serving = [
            Executor(one, supervisor.process(one.name), first) for one in processes.first_executors(settings, run_dir)
        ]
        self._all = list(self.serving)
        self._serials = {(one.id.group, one.id.slot): 1 for one in self.serving}
        self._one_change = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """No longer waits for those that drain: whoever stops all processes stops these too."""
        for task in self._leaving:
            task.cancel()
        if self._leaving:
            await asyncio.wait(self._leaving)

    async def switch_to(
        self,
        generation: Generation,
        spent: PhaseTimes | None = None,
        before_deploy: Callable[[], None] = lambda: None,
        *,
        superseded: Sequence[str] = (),
    ) -> asyncio.Task[None]:
        """Makes a generation the one that serves. Raises EngineRefusedError, StartError: the present one goes on then.

        Processes of a group that is the same in both go on. Answers what ends when those that were replaced are gone.
        before_deploy: called before the engine is told; a cancellation before that leaves everything as it was, one
        after it may not.
        superseded: policies, name:version, that the generation has not, or not as they were; what runs of them stays
        with the processes before it until the controller has others.
        """
        async with self._one_change:
            keeps = [one for one in self.serving if _is_same(one, generation)]
            kept = {one.id.group for one in keeps}
            fresh = [group.name for group in generation.build.groups if group.name not in kept]
            ids = [self._next(name, slot) for name in fresh for slot in range(self._settings.executors)]
            leaving = [one for one in self.serving if one not in keeps]
            self.serving = await self._switch(generation, ids, keeps, spent or PhaseTimes(), before_deploy, superseded)
            before, self.generation = self.generation, generation
            self._report_if_unused(before)
            return self._drain(leaving)

    async def replace(self, old: Executor) -> asyncio.Task[None] | None:
        """Gives one process's place to a new one of the same generation. Raises EngineRefusedError, StartError."""
        async with self._one_change:
            if old not in self.serving:
                return None  # another change was faster
            others = [one for one in self.serving if one is not old]
            one = self._next(old.id.group, old.id.slot)
            self.serving = await self._switch(self.generation, [one], others, PhaseTimes(), lambda: None)
            return self._drain([old])

    async def _switch(
        self,
        generation: Generation,
        ids: Iterable[ExecutorId],
        others: list[Executor],
        spent: PhaseTimes,
        before_deploy: Callable[[], None],
        superseded: Sequence[str] = (),
    ) -> list[Executor]:
        specs = [(one, self._spec(generation, one)) for one in ids]  # all of them, before any is added
        fresh = [self._add(generation, one, spec) for one, spec in specs]
        serving = sorted([*others, *fresh], key=lambda one: (one.id.group, one.id.slot))
        roster = {one.id: one.process.spec.sockets[0] for one in serving}
        try:
            with spent.measure("executors"):
                await _all_started(fresh)
                await self._engine_is_ready()
            before_deploy()
            with spent.measure("engine"):
                manifest, addresses = generation.build.manifest, processes.addresses(roster)
                await self._admin.deploy(generation.number, manifest, addresses, superseded)
        except BaseException:
            await asyncio.shield(asyncio.gather(*(self._remove(one) for one in fresh)))
            raise
        self._supervisor.process(ENGINE).spec = processes.engine(self._settings, self._run_dir, generation, roster)
        return serving

    def _next(self, group: str, slot: int) -> ExecutorId:
        serial = self._serials.get((group, slot), 0) + 1
        self._serials[group, slot] = serial
        return ExecutorId(group, slot, serial)

    def _spec(self, generation: Generation, one: ExecutorId) -> ProcessSpec:
        try:
            return processes.executor(self._settings, self._run_dir, generation, one, self._run_dir.socket(one.name))
        except IsolationError as error:
            raise EngineRefusedError(str(error)) from error

    def _add(self, generation: Generation, one: ExecutorId, spec: ProcessSpec) -> Executor:
        made = Executor(one, self._supervisor.add(spec, before=ENGINE), generation)
        self._all.append(made)
        return made

    async def _engine_is_ready(self) -> None:
        """The engine may be on its way back at this moment."""
        process, end = self._supervisor.process(ENGINE), time.monotonic() + ENGINE_SECONDS
        while process.state is not State.READY:
            if time.monotonic() > end:
                raise EngineRefusedError(f"the policy engine is not ready, it is {process.state}")
            await asyncio.sleep(POLL_SECONDS)

    def _drain(self, leaving: list[Executor]) -> asyncio.Task[None]:
        for one in leaving:
            one.process.mark_replaced()
        task = asyncio.create_task(self._remove_when_done(leaving), name="executors drain")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        return task

    async def _remove_when_done(self, leaving: list[Executor]) -> None:
        end = time.monotonic() + self._settings.executor_drain_seconds + SLACK_SECONDS
        while leaving and time.monotonic() < end:
            if report := await self._report():
                done = [one for one in leaving if report.at(one.address) is None]
                leaving = [one for one in leaving if one not in done]
                await asyncio.gather(*(self._remove(one) for one in done))
            await asyncio.sleep(POLL_SECONDS)
        await asyncio.gather(*(self._remove(one) for one in leaving))

    async def _report(self) -> ExecutorsReport | None:
        try:
            return await self._admin.executors()
        except LocalHttpError:  # the engine is on its way back
            return None

    async def _remove(self, one: Executor) -> None:
        socket = one.process.spec.sockets[0]
        await self._supervisor.remove(one.process)
        self._run_dir.remove_file(socket)
        self._all.remove(one)
        self._report_if_unused(one.generation)

    def _report_if_unused(self, generation: Generation) -> None:
        if generation is not self.generation and not any(one.generation is generation for one in self._all):
            self._on_unused(generation)


def _is_same(one: Executor, generation: Generation) -> bool:
    """Whether a process runs what another generation has for its group."""
    content = one.generation.build.group(one.id.group).content
    return content != "" and content in {
        group.content for group in generation.build.groups if group.name == one.id.group
    }


async def _all_started(executors: list[Executor]) -> None:
    """Side by side. Raises the first StartError."""
    starting = [asyncio.create_task(one.process.start()) for one in executors]
    try:
        await asyncio.gather(*starting)
    except StartError:
        raise
    finally:
        for task in starting:
            task.cancel()
        await asyncio.gather(*starting, return_exceptions=True)
