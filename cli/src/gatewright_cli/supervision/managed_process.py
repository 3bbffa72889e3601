"""One process of a node: started, awaited until it is ready, restarted with back-off when it ends, stopped."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any, TypeVar

from gatewright_documents.os_errors import os_reason

from gatewright_cli.supervision.child import Child, NotStartedError, describe_exit
from gatewright_cli.supervision.liveness import until_silent
from gatewright_cli.supervision.logs.go_dump import GoDump
from gatewright_cli.supervision.logs.output import LogOutput
from gatewright_cli.supervision.logs.parties import Parties
from gatewright_cli.supervision.logs.records import Source, now
from gatewright_cli.supervision.probes import POLL_SECONDS, Drain
from gatewright_cli.supervision.progress import Progress, Snapshot
from gatewright_cli.supervision.restarts import RestartPolicy, Restarts
from gatewright_cli.supervision.specs import ProcessSpec
from gatewright_cli.supervision.stack_page import StackPage

OnPid = Callable[[str, int | None], None]
StartedWith = Callable[[ProcessSpec], ProcessSpec]
T = TypeVar("T")
STALL_SECONDS = 60.0
REPORT_SECONDS = 10.0
RESTARTS_KEPT = 64
"""How many restart times are kept; the pauses between restarts allow fewer in a minute."""
LONGEST_POLL_SECONDS = 0.2


class State(StrEnum):
    """The state of a process."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"


class StartError(Exception):
    """A process could not be started. The message says which, why, its last lines, and where to look."""

    def __init__(self, spec: ProcessSpec, reason: str, last_lines: list[bytes]) -> None:
        self.spec, self.reason, self.last_lines = spec, reason, last_lines
        lines = [f"  │ {line.decode('utf-8', 'backslashreplace')}" for line in last_lines]
        cure = [f"  {spec.cure}"] if spec.cure else []
        command = [f"  its command: {' '.join(spec.command)}"]
        super().__init__("\n".join([f"{spec.name} did not start: {reason}", *lines, *command, *cure]))


class _EndedError(Exception):
    """The operating system process has ended. final: another attempt at the first start would fail as well."""

    def __init__(self, reason: str, uptime: float, last_lines: list[bytes], final: bool = False) -> None:
        super().__init__(reason)
        self.uptime, self.last_lines, self.final = uptime, last_lines, final


class ManagedProcess:
    """A process that is restarted, with back-off, whenever it ends before `stop`.

    on_change: called after each change of `state` or `pid`. on_pid: called with name and pid when an operating system
    process has started, and with name and None before it is reaped. stall_seconds: how long a process that is not ready
    may show no progress (no other obstacle, no log line, no CPU time) before its start has failed. started_with: called
    before each start, returns the spec for it.
    """

    def __init__(
        self,
        spec: ProcessSpec,
        output: LogOutput,
        policy: RestartPolicy | None = None,
        on_change: Callable[[], None] = lambda: None,
        on_pid: OnPid = lambda *_: None,
        stall_seconds: float = STALL_SECONDS,
        started_with: StartedWith = lambda spec: spec,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spec = spec
        self._started_with = started_with
        self._parties, self._dump = self._parties_now(), GoDump(spec.go_policies or {})
        self.state = State.WAITING
        self.leaving = False
        self.restarts = Restarts(policy or RestartPolicy())
        self.restarted_at: deque[str] = deque(maxlen=RESTARTS_KEPT)
        self._output = output
        self._on_change, self._on_pid = on_change, on_pid
        self._stall_seconds, self._clock = stall_seconds, clock
        self._child: Child | None = None
        self._may_restart = asyncio.Event()
        self._may_restart.set()
        self._first_ready: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, while a process runs."""
        return None if self._child is None or self._child.exited.done() else self._child.pid

    def status(self) -> dict[str, object]:
        """For status.json: name, state, pid (null while no process runs), restarts, restartedAt (the latest times at
        which it was ready again), listen, sockets, leaving (another process has taken its place), the spec's labels.
        """
        return {
            "name": self.spec.name,
            "state": self.state,
            "pid": self.pid,
            "restarts": self.restarts.count,
            "restartedAt": [*self.restarted_at],
            "listen": self.spec.listen,
            "sockets": [str(socket) for socket in ([self.spec.relay] if self.spec.relay else self.spec.sockets)],
            "leaving": self.leaving,
            **self.spec.labels,
        }

    def statuses(self) -> list[dict[str, object]]:
        """Its status, after that of its guest: `inside` names the process that the guest is in."""
        own, guest = self.status(), self.spec.guest
        if guest is None:
            return [own]
        sockets = [str(socket) for socket in guest.sockets]
        return [own | {"name": guest.name, "sockets": sockets, "listen": None, "inside": self.spec.name}, own]

    @property
    def uptime(self) -> float:
        """Seconds since the present process was started; 0.0 while none runs."""
        return 0.0 if self._child is None or self.pid is None else self._child.uptime

    @property
    def stack_page(self) -> StackPage | None:
        """Where the threads of the present process write their stacks; None if none runs, or it writes none."""
        return None if self._child is None else self._child.stack_page

    def mark_replaced(self) -> None:
        """Marks the process as replaced: it drains, and status() reports that it is leaving."""
        self.leaving = True
        self._on_change()

    def assign(self, spec: ProcessSpec) -> None:
        """Gives the running process another name, other sockets, another drain and other checks; it starts again by
        this spec.
        """
        self.spec = spec
        self._parties = self._parties_now()
        self._on_change()

    async def start(self) -> None:
        """Returns when the process is ready for the first time. Raises StartError if it cannot be started."""
        self._first_ready = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run_until_stopped(self._first_ready), name=f"supervise {self.spec.name}")
        self._task.add_done_callback(self._on_task_done)
        await self._first_ready

    def pause_restarts(self) -> None:
        """If the process ends, it is not started again before `resume_restarts`."""
        self._may_restart.clear()

    def resume_restarts(self) -> None:
        """Undoes `pause_restarts`."""
        self._may_restart.set()

    async def restart(self, spec: ProcessSpec) -> None:
        """Drains and stops the process, and starts it by another spec. Raises StartError as `start` does."""
        await self.stop()
        self.spec = spec
        await self.start()

    async def stop(self) -> None:
        """Drains and stops the process for good. Leaves no process and no socket."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._child is not None and self.pid is not None:
            was_ready = self.state is State.READY
            self._set_state(State.STOPPING)
            if was_ready and self.spec.drain is not None:
                await self._drain(self.spec.drain, self._child)
            await self._child.stop(self.spec.stop_seconds)
        self._remove_sockets()
        if self.spec.temporary is not None:
            await self.spec.temporary.remove(self._on_removal)
        self._set_state(State.STOPPED)

    def kill(self) -> None:
        """Kills the process; a stop in progress then returns."""
        if self._child is not None and self.pid is not None:
            self._child.kill()

    async def _run_until_stopped(self, first_ready: asyncio.Future[None]) -> None:
        while True:
            try:
                await self._run_once(first_ready)
            except _EndedError as end:
                delay = self.restarts.delay_after(end.uptime)
                if not first_ready.done() and (end.final or not self.restarts.may_start_again()):
                    first_ready.set_exception(StartError(self.spec, str(end), end.last_lines))
                    return
                fields = {"process": self.spec.name, "after": f"{end.uptime:.1f}s"}
                if self._may_restart.is_set():
                    fields["again_in"] = f"{delay:.2f}s"
                fields |= self._dump_fields()
                self._output.event(f"process ended: {end}", "warning", **fields)
                self._set_state(State.RESTARTING)
                await asyncio.sleep(delay)
                await self._may_restart.wait()

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        """Reports a fault of the supervisor, which must not look like a slow start or an orderly stop."""
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        self._output.event(f"no longer supervised: {error!r}", "error", process=self.spec.name)
        if self._first_ready is not None and not self._first_ready.done():
            self._first_ready.set_exception(error)

    async def _run_once(self, first_ready: asyncio.Future[None]) -> None:
        self._remove_sockets()
        if self.spec.temporary is not None:
            try:
                await self.spec.temporary.make(self._on_removal)
            except OSError as error:
                raise _EndedError(f"its temporary folder cannot be made: {os_reason(error)}", 0.0, []) from error
        self._child = child = self._spawn()
        self._set_state(State.STARTING)
        await self._until_ready(child)
        if self.spec.handed is not None:
            self.spec.handed.open()
        if first_ready.done():
            self.restarted_at.append(now())
        self._set_state(State.READY)
        message = "process is back" if first_ready.done() else "process is ready"
        self._output.event(message, process=self.spec.name, pid=child.pid, took=f"{child.uptime:.2f}s")
        if not first_ready.done():
            first_ready.set_result(None)
        await self._until_ended(child)
        raise self._ended_error(child)

    async def _until_ended(self, child: Child) -> None:
        """Returns when the process has ended. Kills it if it fails its liveness check."""
        if self.spec.alive is None:
            await asyncio.wait({child.exited})
            return
        silent = await _while_it_runs(child, until_silent(_Alive(self), child, self.spec.silence_seconds))
        if not child.exited.done():
            self._output.event("process is killed", "error", process=self.spec.name, reason=silent.result())
            child.kill()
            await asyncio.wait({child.exited})

    def _on_removal(self, pid: int) -> None:
        self._on_pid(f"{self.spec.name}: rm", pid)

    def _spawn(self) -> Child:
        spec = self._started_with(self.spec)
        guest = spec.guest
        names = [spec.name, *([guest.name] if guest else [])]
        self._parties, self._dump = self._parties_now(), GoDump(spec.go_policies or {})
        try:
            if guest:
                guest.hand_over(guest.arguments)
            child = Child(
                spec,
                self._relay,
                self._output.relay_access,
                on_exit=lambda: self._report_pid(names, None),
            )
        except NotStartedError as error:
            raise _EndedError(str(error), 0.0, [], final=True) from error
        except OSError as error:
            raise _EndedError(f"its configuration cannot be written: {os_reason(error)}", 0.0, []) from error
        self._report_pid(names, child.pid)
        return child

    def _report_pid(self, names: list[str], pid: int | None) -> None:
        for name in names:
            self._on_pid(name, pid)

    def _parties_now(self) -> Parties:
        spec, guest = self.spec, self.spec.guest
        return Parties(Source(spec.name, spec.component), Source(guest.name, guest.component) if guest else None)

    def _relay(self, lines: list[bytes]) -> None:
        for source, run in self._parties.split(lines):
            self._output.relay(source, run)
            if self.spec.go_policies is not None:
                self._dump.read(run)

    def _dump_fields(self) -> dict[str, str]:
        """What Go said of its end, if the process has ended with a dump of Go's."""
        fields = {"reason": self._dump.reason, "policy": self._dump.policy}
        return {name: value for name, value in fields.items() if value}

    async def _until_ready(self, child: Child) -> None:
        """Returns when the process is ready. Waits without a fixed limit, as long as there is progress."""
        probing = await _while_it_runs(child, self._probe(child))
        if child.exited.done():
            raise self._ended_error(child)
        if obstacle := probing.result():
            await child.stop(self.spec.stop_seconds)
            reason = f"no progress for {self._stall_seconds:g} s while not ready ({obstacle})"
            raise _EndedError(reason, child.uptime, self._last_lines(child), final=True)

    async def _probe(self, child: Child) -> str | None:
        """Returns None when the process is ready, or the obstacle when it has stalled."""
        progress, pause, report_at = Progress(self._clock()), POLL_SECONDS / 4, REPORT_SECONDS
        while obstacle := await self.spec.ready.obstacle():
            now = self._clock()
            snapshot = Snapshot(obstacle, child.lines_read, child.cpu_seconds())
            if progress.stalled_for(snapshot, now) >= self._stall_seconds:
                return obstacle
            if child.uptime >= report_at:
                report_at += REPORT_SECONDS
                self._output.event("still waiting", process=self.spec.name, since=f"{child.uptime:.0f}s", what=obstacle)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_POLL_SECONDS, max(POLL_SECONDS / 4, child.uptime / 10))
        return None

    async def _drain(self, drain: Drain, child: Child) -> None:
        draining = await _while_it_runs(child, drain.run())
        error = None if draining.cancelled() else draining.exception()
        if error is not None:
            self._output.event(f"could not be drained: {error!r}", "warning", process=self.spec.name)

    def _ended_error(self, child: Child) -> _EndedError:
        return _EndedError(describe_exit(child.exited.result()), child.uptime, self._last_lines(child))

    def _last_lines(self, child: Child) -> list[bytes]:
        return [*map(self._output.shown, child.last_lines)]

    def _set_state(self, state: State) -> None:
        self.state = state
        self._on_change()

    def _remove_sockets(self) -> None:
        guest = self.spec.guest
        for socket in (*self.spec.sockets, *(guest.sockets if guest else ())):
            socket.unlink(missing_ok=True)


class _Alive:
    """The liveness check of a process as its present spec has it."""

    def __init__(self, process: ManagedProcess) -> None:
        self._process = process

    async def obstacle(self) -> str | None:
        check = self._process.spec.alive
        return await check.obstacle() if check else None


async def _while_it_runs(child: Child, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """The task of `work`, which is done, or cancelled if the process has ended before."""
    task = asyncio.create_task(work)
    either: set[asyncio.Future[Any]] = {task, child.exited}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        task.cancel()
        await asyncio.wait({task})
    return task
