"""The executor processes of a run, and their replacement without a lost execution.

Replacing the groups that a build has changed, or one process, takes the same steps: start the new processes → each is
ready → the engine configures every policy instance in them and routes new exchanges to them → the old ones drain → the
engine disconnects from them → they are stopped. Until the engine has switched, the old ones serve; if it refuses, the
new ones are stopped again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gatewright_cli.builds.generation import Generation
from gatewright_cli.clients.engine_admin import EngineAdmin, EngineRefusedError, ExecutorsReport
from gatewright_cli.isolation.executor_users import IsolationError
from gatewright_cli.local_http import LocalHttpError
from gatewright_cli.node.executors.takeover import SERVES_SECONDS, Takeovers
from gatewright_cli.node.files.run_dir import RunDir
from gatewright_cli.node.phase_times import PhaseTimes
from gatewright_cli.node.specs import processes
from gatewright_cli.node.specs.processes import ExecutorId, NodeSettings, Roster
from gatewright_cli.supervision.logs.output import LogOutput
from gatewright_cli.supervision.managed_process import ManagedProcess, StartError, State
from gatewright_cli.supervision.specs import ProcessSpec
from gatewright_cli.supervision.supervisor import Supervisor

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
        """unix:/path, as the engine names it."""
        return f"unix:{self.process.spec.sockets[0]}"


class Executors:
    """All executor processes of a run. One change at a time; replaced processes drain in the background. Close it
    before the supervisor stops.

    on_unused: called with each former generation, once no process runs from it any more.
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
        takeovers: Takeovers | None = None,
    ) -> None:
        self._settings, self._run_dir, self._supervisor = settings, run_dir, supervisor
        self._takeovers = takeovers
        self._output, self._admin = output, admin
        self.generation, self._on_unused = first, on_unused
        self.serving = [
            Executor(executor_id, supervisor.process(executor_id.name), first)
            for executor_id in processes.first_executors(settings, run_dir)
        ]
        self._all = list(self.serving)
        self._serials = {(executor.id.group, executor.id.slot): 1 for executor in self.serving}
        self._one_change = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()
        self._replaced: asyncio.Task[None] | None = None
        """The end of the Envoy that was replaced last: its exchanges need the executors that it knows."""
        self._settled = asyncio.Event()
        """No Envoy waits beside the present one for `finish`."""
        self._settled.set()

    @property
    def _engine(self) -> ManagedProcess:
        """The process that the engine runs in; another one after a takeover."""
        return self._supervisor.process(processes.engine_process(self._settings))

    async def close(self) -> None:
        """Waits until a replaced Envoy has drained. Stops waiting for draining executors, since the supervisor stops
        these with all other processes.
        """
        if self._replaced is not None:
            await asyncio.wait({self._replaced})
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
        """Makes a generation the serving one. Raises EngineRefusedError, StartError; then the present one stays.

        If it has another engine, and that runs inside Envoy, another Envoy takes the place of the present one.

        Processes of a group that is the same in both generations stay. Returns a task that ends when the replaced
        processes are gone.
        before_deploy: called before the request to the engine; a cancellation before it changes nothing, one after it
        may.
        superseded: policies, name:version, that the generation lacks or has changed; their instances stay in the old
        processes until the controller has deployed others.
        """
        async with self._one_change:
            keeps = [executor for executor in self.serving if _is_same(executor, generation)]
            kept = {executor.id.group for executor in keeps}
            fresh = [group.name for group in generation.build.groups if group.name not in kept]
            ids = [self._next(name, slot) for name in fresh for slot in range(self._settings.executors)]
            leaving = [executor for executor in self.serving if executor not in keeps]
            self.serving = await self._switch(generation, ids, keeps, spent or PhaseTimes(), before_deploy, superseded)
            before, self.generation = self.generation, generation
            self._report_if_unused(before)
            return self._drain(leaving)

    async def replace(self, old: Executor) -> asyncio.Task[None] | None:
        """Replaces one process by a new one of the same generation. Raises EngineRefusedError, StartError."""
        async with self._one_change:
            if old not in self.serving:
                return None  # another change was faster
            others = [executor for executor in self.serving if executor is not old]
            fresh = self._next(old.id.group, old.id.slot)
            self.serving = await self._switch(self.generation, [fresh], others, PhaseTimes(), lambda: None)
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
        specs = [(executor_id, self._spec(generation, executor_id)) for executor_id in ids]  # before any is added
        fresh = [self._add(generation, executor_id, spec) for executor_id, spec in specs]
        serving = sorted([*others, *fresh], key=lambda executor: (executor.id.group, executor.id.slot))
        roster = {executor.id: executor.process.spec.sockets[0] for executor in serving}
        try:
            with spent.measure("executors"):
                await _start_all(fresh)
                if not self._has_other_engine(generation):
                    await self._wait_for_engine()
            before_deploy()
            with spent.measure("engine"):
                if self._has_other_engine(generation):
                    await self._change_engine(generation, roster, superseded)
                else:
                    spec = processes.with_engine(self._engine.spec, self._settings, self._run_dir, generation, roster)
                    manifest, addresses = generation.build.manifest, processes.addresses(roster)
                    await self._admin.deploy(generation.number, manifest, addresses, superseded)
                    self._engine.spec = spec
        except BaseException:
            await asyncio.shield(asyncio.gather(*(self._remove(executor) for executor in fresh)))
            raise
        return serving

    def _has_other_engine(self, generation: Generation) -> bool:
        return self._settings.in_envoy and generation.build.module_digest != self.generation.build.module_digest

    async def _change_engine(self, generation: Generation, roster: Roster, superseded: Sequence[str]) -> None:
        """Replaces the engine inside of Envoy. Raises EngineRefusedError; then the present engine stays, or is back."""
        if why := self._takeover_obstacle():
            await self._restart_engine(generation, roster, why)
            return
        assert self._takeovers is not None
        await self._until_replaced()
        self._output.event("another engine: another Envoy starts with it, and takes the place of the present one")
        await self._takeovers.start(generation, roster, serves_all=not superseded)
        self._settled.clear()
        if not superseded:
            await self.finish()

    async def finish(self, seconds: float = SERVES_SECONDS) -> None:
        """Call it once the controller knows the generation: if some policies of it are superseded, an engine inside
        Envoy takes over now, with the APIs that the controller has deployed again. seconds: the longest wait for these.
        """
        if self._takeovers is not None and not self._settled.is_set():
            done = await self._takeovers.finish(seconds)
            self._replaced = asyncio.create_task(self._takeovers.remove(done), name="replaced Envoy drains")
            self._settled.set()

    def _takeover_obstacle(self) -> str:
        """Why no second Envoy can start beside the present one; "" if it can."""
        if self._takeovers is None:
            return "there are no relays"
        if self._engine.state is not State.READY:
            return f"the present one is {self._engine.state}"
        option = self._takeovers.obstacle()
        return f"two engines cannot both have {option}" if option else ""

    async def _until_replaced(self) -> None:
        """Waits until a replaced Envoy has ended."""
        await self._settled.wait()
        if self._replaced is not None:
            await asyncio.wait({self._replaced})

    async def _restart_engine(self, generation: Generation, roster: Roster, why: str) -> None:
        """Starts Envoy again with another engine inside. Raises EngineRefusedError; the present engine then is back."""
        spec = processes.with_engine(self._engine.spec, self._settings, self._run_dir, generation, roster)
        before, name = self._engine.spec, self._engine.spec.name
        text = "another engine: Envoy is started again with it, and takes no connection meanwhile"
        self._output.event(text, because=why)
        try:
            await self._engine.restart(spec)
        except StartError as error:
            self._output.event("the new engine does not start: Envoy is started again with the present one", "error")
            await self._engine.restart(before)
            raise EngineRefusedError(f"{name} does not start with the new engine: {error}") from error
        except BaseException:
            self._engine.spec = before
            raise

    def _next(self, group: str, slot: int) -> ExecutorId:
        serial = self._serials.get((group, slot), 0) + 1
        self._serials[group, slot] = serial
        return ExecutorId(group, slot, serial)

    def _spec(self, generation: Generation, executor_id: ExecutorId) -> ProcessSpec:
        try:
            return processes.executor(
                self._settings, self._run_dir, generation, executor_id, self._run_dir.socket(executor_id.name)
            )
        except IsolationError as error:
            raise EngineRefusedError(str(error)) from error

    def _add(self, generation: Generation, executor_id: ExecutorId, spec: ProcessSpec) -> Executor:
        executor = Executor(executor_id, self._supervisor.add(spec, before=self._engine.spec.name), generation)
        self._all.append(executor)
        return executor

    async def _wait_for_engine(self) -> None:
        """Waits until the engine is ready: it may be restarting at this moment."""
        engine, end = self._engine, time.monotonic() + ENGINE_SECONDS
        while engine.state is not State.READY:
            if time.monotonic() > end:
                raise EngineRefusedError(f"the policy engine is not ready, it is {engine.state}")
            await asyncio.sleep(POLL_SECONDS)

    def _drain(self, leaving: list[Executor]) -> asyncio.Task[None]:
        for executor in leaving:
            executor.process.mark_replaced()
        task = asyncio.create_task(self._remove_when_done(leaving), name="executors drain")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        return task

    async def _remove_when_done(self, leaving: list[Executor]) -> None:
        await self._until_replaced()
        end = time.monotonic() + self._settings.executor_drain_seconds + SLACK_SECONDS
        while leaving and time.monotonic() < end:
            if report := await self._report():
                done = [executor for executor in leaving if report.at(executor.address) is None]
                leaving = [executor for executor in leaving if executor not in done]
                await asyncio.gather(*(self._remove(executor) for executor in done))
            await asyncio.sleep(POLL_SECONDS)
        await asyncio.gather(*(self._remove(executor) for executor in leaving))

    async def _report(self) -> ExecutorsReport | None:
        try:
            return await self._admin.executors()
        except LocalHttpError:  # the engine is restarting
            return None

    async def _remove(self, executor: Executor) -> None:
        socket = executor.process.spec.sockets[0]
        await self._supervisor.remove(executor.process)
        self._run_dir.remove_file(socket)
        self._all.remove(executor)
        self._report_if_unused(executor.generation)

    def _report_if_unused(self, generation: Generation) -> None:
        if generation is not self.generation and not any(executor.generation is generation for executor in self._all):
            self._on_unused(generation)


def _is_same(executor: Executor, generation: Generation) -> bool:
    """Whether the process runs the same code and environment that the generation has for its group."""
    content = executor.generation.build.group(executor.id.group).content
    return content != "" and content in {
        group.content for group in generation.build.groups if group.name == executor.id.group
    }


async def _start_all(executors: list[Executor]) -> None:
    """Starts the processes concurrently. Raises the first StartError."""
    starting = [asyncio.create_task(executor.process.start()) for executor in executors]
    try:
        await asyncio.gather(*starting)
    except StartError:
        raise
    finally:
        for task in starting:
            task.cancel()
        await asyncio.gather(*starting, return_exceptions=True)
