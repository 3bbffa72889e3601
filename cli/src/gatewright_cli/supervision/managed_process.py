"""Keeps one process alive: starts it, waits until it is ready, starts it again when it ends, stops it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from enum import StrEnum

from gatewright_cli.supervision.child import Child, NotStartedError, describe_exit
from gatewright_cli.supervision.liveness import until_silent
from gatewright_cli.supervision.log_output import LogOutput
from gatewright_cli.supervision.probes import POLL_SECONDS, Drain
from gatewright_cli.supervision.progress import Progress, Sign
from gatewright_cli.supervision.records import Source
from gatewright_cli.supervision.restarts import RestartPolicy, Restarts
from gatewright_cli.supervision.specs import ProcessSpec

Noted = Callable[[str, int | None], None]
STALL_SECONDS = 60.0
SAY_AFTER_SECONDS = 10.0
LONGEST_POLL_SECONDS = 0.2


class State(StrEnum):
    """Where a process stands."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"


class StartError(Exception):
    """A process could not be started: which, why, its last lines, what to look at."""

    def __init__(self, spec: ProcessSpec, reason: str, last_lines: list[bytes]) -> None:
        self.spec, self.reason, self.last_lines = spec, reason, last_lines
        said = [f"  │ {line.decode('utf-8', 'backslashreplace')}" for line in last_lines]
        cure = [f"  {spec.cure}"] if spec.cure else []
        command = [f"  its command: {' '.join(spec.command)}"]
        super().__init__("\n".join([f"{spec.name} did not start: {reason}", *said, *command, *cure]))


class _EndedError(Exception):
    """This life of the process is over. Where `final`, another attempt at the first start would be no different."""

    def __init__(self, reason: str, lived: float, last_lines: list[bytes], final: bool = False) -> None:
        super().__init__(reason)
        self.lived, self.last_lines, self.final = lived, last_lines, final


class Keeper:
    """One process of a node, through all its lives. `changed` is called after each change of `state` or `pid`, `noted`
    when a process begins, with its name and pid, and before it is reaped, with None."""

    def __init__(
        self,
        spec: ProcessSpec,
        output: LogOutput,
        policy: RestartPolicy | None = None,
        changed: Callable[[], None] = lambda: None,
        noted: Noted = lambda *_: None,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self.spec = spec
        self._source = Source(spec.name, spec.component)
        self.state = State.WAITING
        self.leaving = False
        self.restarts = Restarts(policy or RestartPolicy())
        self._output = output
        self._changed, self._noted = changed, noted
        self._stall_seconds = stall_seconds
        self._child: Child | None = None
        self._came_up: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while there is a process."""
        return None if self._child is None or self._child.exited.done() else self._child.pid

    def status(self) -> dict[str, object]:
        """For status.json: name, state, pid (null while there is no process), restarts, listen, sockets, leaving
        (another process has taken its place), and the spec's labels."""
        return {
            "name": self.spec.name,
            "state": self.state,
            "pid": self.pid,
            "restarts": self.restarts.count,
            "listen": self.spec.listen,
            "sockets": [str(socket) for socket in ([self.spec.relay] if self.spec.relay else self.spec.sockets)],
            "leaving": self.leaving,
            **self.spec.labels,
        }

    @property
    def lived(self) -> float:
        """Seconds since the present process was started; 0.0 while there is none."""
        return 0.0 if self._child is None or self.pid is None else self._child.lived

    def leave(self) -> None:
        """Notes that another process has taken its place: it only finishes what it has."""
        self.leaving = True
        self._changed()

    async def start(self) -> None:
        """Returns when the process is ready for the first time. Raises StartError where it cannot be started."""
        self._came_up = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._keep(self._came_up), name=f"keep {self.spec.name}")
        self._task.add_done_callback(self._stopped_keeping)
        await self._came_up

    async def stop(self) -> None:
        """Drains and stops the process, and no longer starts it again. Leaves no process and no socket."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._child is not None and self.pid is not None:
            was_ready = self.state is State.READY
            self._become(State.STOPPING)
            if was_ready and self.spec.drain is not None:
                await self._drain(self.spec.drain, self._child)
            await self._child.stop(self.spec.stop_seconds)
        self._remove_sockets()
        if self.spec.temporary is not None:
            await self.spec.temporary.remove(self._note_removal)
        self._become(State.STOPPED)

    def kill(self) -> None:
        """Ends the process at once; a stop that is under way then returns."""
        if self._child is not None and self.pid is not None:
            self._child.kill()

    async def _keep(self, came_up: asyncio.Future[None]) -> None:
        while True:
            try:
                await self._live_once(came_up)
            except _EndedError as end:
                delay = self.restarts.delay_after(end.lived)
                if not came_up.done() and (end.final or not self.restarts.another_start()):
                    came_up.set_exception(StartError(self.spec, str(end), end.last_lines))
                    return
                await self._wait_before_restart(str(end), end.lived, delay)

    def _stopped_keeping(self, task: asyncio.Task[None]) -> None:
        """A fault of ours must not look like a process that takes its time, or that nobody needs."""
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        self._output.event(f"no longer watched: {error!r}", "error", process=self.spec.name)
        if self._came_up is not None and not self._came_up.done():
            self._came_up.set_exception(error)

    async def _wait_before_restart(self, reason: str, lived: float, delay: float) -> None:
        said = {"process": self.spec.name, "after": f"{lived:.1f}s", "again_in": f"{delay:.2f}s"}
        self._output.event(f"process ended: {reason}", "warning", **said)
        self._become(State.RESTARTING)
        await asyncio.sleep(delay)

    async def _live_once(self, came_up: asyncio.Future[None]) -> None:
        self._remove_sockets()
        if self.spec.temporary is not None:
            try:
                await self.spec.temporary.make(self._note_removal)
            except OSError as error:
                raise _EndedError(f"its temporary folder cannot be made: {error}", 0.0, []) from error
        self._child = child = self._spawn()
        self._become(State.STARTING)
        await self._until_ready(child)
        if self.spec.handed is not None:
            self.spec.handed.open()
        self._become(State.READY)
        message = "process is back" if came_up.done() else "process is ready"
        self._output.event(message, process=self.spec.name, pid=child.pid, took=f"{child.lived:.2f}s")
        if not came_up.done():
            came_up.set_result(None)
        await self._watch(child)
        raise self._ended(child)

    async def _watch(self, child: Child) -> None:
        """Returns when the process has ended. One that stands still is ended."""
        if self.spec.alive is None:
            await asyncio.wait({child.exited})
            return
        vigil = asyncio.create_task(until_silent(self.spec.alive, child, self.spec.silence_seconds))
        either: set[asyncio.Task[str] | asyncio.Future[int]] = {vigil, child.exited}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not child.exited.done():
                self._output.event("process is killed", "error", process=self.spec.name, reason=vigil.result())
                child.kill()
                await asyncio.wait({child.exited})
        finally:
            vigil.cancel()
            await asyncio.wait({vigil})

    def _note_removal(self, pid: int) -> None:
        self._noted(f"{self.spec.name}: rm", pid)

    def _spawn(self) -> Child:
        name = self.spec.name
        try:
            child = Child(
                self.spec,
                lambda lines: self._output.relay(self._source, lines),
                self._output.relay_access,
                ending=lambda: self._noted(name, None),
            )
        except NotStartedError as error:
            raise _EndedError(str(error), 0.0, [], final=True) from error
        self._noted(name, child.pid)
        return child

    async def _until_ready(self, child: Child) -> None:
        """No fixed limit: as long as something changes, it is waited for."""
        probing = asyncio.create_task(self._probe(child))
        either: set[asyncio.Task[str | None] | asyncio.Future[int]] = {probing, child.exited}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not probing.done():
                probing.cancel()
                await asyncio.wait({probing})
        if child.exited.done():
            raise self._ended(child)
        if obstacle := probing.result():
            await child.stop(self.spec.stop_seconds)
            reason = f"no progress for {self._stall_seconds:g} s while not ready ({obstacle})"
            raise _EndedError(reason, child.lived, list(child.last_lines), final=True)

    async def _probe(self, child: Child) -> str | None:
        """None once the process is ready; the obstacle, once it has stalled."""
        progress, pause, say_at = Progress(time.monotonic()), POLL_SECONDS / 4, SAY_AFTER_SECONDS
        while obstacle := await self.spec.ready.obstacle():
            now = time.monotonic()
            sign = Sign(obstacle, child.lines_read, child.cpu_seconds())
            if progress.stalled_for(sign, now) >= self._stall_seconds:
                return obstacle
            if child.lived >= say_at:
                say_at += SAY_AFTER_SECONDS
                self._output.event("still waiting", process=self.spec.name, since=f"{child.lived:.0f}s", what=obstacle)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_POLL_SECONDS, max(POLL_SECONDS / 4, child.lived / 10))
        return None

    async def _drain(self, drain: Drain, child: Child) -> None:
        draining = asyncio.create_task(drain.run())
        either: set[asyncio.Task[None] | asyncio.Future[int]] = {draining, child.exited}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
        await asyncio.wait({draining})
        error = None if draining.cancelled() else draining.exception()
        if error is not None:
            self._output.event(f"could not be drained: {error!r}", "warning", process=self.spec.name)

    def _ended(self, child: Child) -> _EndedError:
        return _EndedError(describe_exit(child.exited.result()), child.lived, list(child.last_lines))

    def _become(self, state: State) -> None:
        self.state = state
        self._changed()

    def _remove_sockets(self) -> None:
        for socket in self.spec.sockets:
            socket.unlink(missing_ok=True)
