"""Replaces executor processes that hang, are out of memory or due. `judge` decides, from plain values."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from gatewright_cli.clients.engine_admin import EngineAdmin, EngineRefusedError, ExecutorReport, Hung
from gatewright_cli.local_http import LocalHttpError
from gatewright_cli.node.executors.interpreter_hold import InterpreterHold, find_hold
from gatewright_cli.node.executors.replacement import Executor, Executors
from gatewright_cli.supervision.logs.output import LogOutput
from gatewright_cli.supervision.managed_process import StartError, State
from gatewright_cli.supervision.timer_coalescing import until_next_tick

POLL_SECONDS = 0.5
NOT_SERVING_SECONDS = 2.0
SPREAD = 0.1
SILENT = "silent"
REPLACE_SHARE = 0.5
"""A process is replaced after this share of the silence limit, and killed after all of it."""
FIRST_DELAY, MAX_DELAY, RESET_AFTER = 5.0, 300.0, 600.0


@dataclass(frozen=True)
class Limits:
    """When an executor process is replaced; None: never for that reason.

    age: seconds since its start. executions: that it has begun. resident: bytes of memory. hung: workers that run hung
    executions; None: a quarter of the workers. silent: seconds without an answer to the engine's health check; after
    half of them, another process takes its place, and it may finish its executions.
    """

    age: float | None = None
    executions: int | None = None
    resident: int | None = None
    hung: int | None = None
    silent: float = 3.0


@dataclass(frozen=True)
class Observed:
    """What the supervisor observes of a process. not_serving: for how many seconds it has reported so."""

    pid: int
    uptime: float
    resident: int
    not_serving: float = 0.0
    spread: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """The decision to recycle a process. kill: the process makes no progress, so it is killed and started again. Else
    another one takes its place. cause: one of a few words for the reason. hold: the policy's code that holds its
    interpreter, if known.
    """

    cause: str
    reason: str
    kill: bool = False
    hold: InterpreterHold | None = None

    @property
    def fields(self) -> dict[str, object]:
        """Fields for the log."""
        fields: dict[str, object] = {"reason": self.reason}
        if self.hold is not None:
            fields |= {"policy": self.hold.policy, "at": self.hold.at, "stack": self.hold.stack}
        return fields


def judge(report: ExecutorReport, seen: Observed, limits: Limits) -> Verdict | None:
    """Whether and why to recycle a process; None: it stays. A report with another pid is about its predecessor."""
    if report.pid != seen.pid:
        return None
    if report.silent_ms > limits.silent * 1000 * REPLACE_SHARE:
        silent = report.silent_ms / 1000
        return Verdict(SILENT, f"it has answered no health check for {silent:.1f} s", kill=silent > limits.silent)
    if report.stalled:
        return Verdict("stalled", f"hung executions hold all its workers: {_hung(report.hung)}", kill=True)
    if seen.not_serving > NOT_SERVING_SECONDS:
        return Verdict("blocked", f"its event loop is blocked: {_hung(report.hung) or 'by a coroutine policy'}")
    if report.memory_exhausted:
        return Verdict("memory_exhausted", "it has run out of memory")
    if report.thread_failed:
        return Verdict("thread_failed", "a thread that it needs has failed")
    return _hangs(report, limits) or _is_due(report, seen, limits)


def _hangs(report: ExecutorReport, limits: Limits) -> Verdict | None:
    """Too many hung workers, or one attachment whose hung executions hold all its slots, so that it answers nothing."""
    limit = limits.hung or max(1, report.workers // 4)
    blocked = [hung for hung in report.hung if hung.blocks_instance]
    if report.workers_hung >= limit or blocked:
        return Verdict("hung", f"{report.workers_hung} of its {report.workers} workers hang: {_hung(report.hung)}")
    return None


def _is_due(report: ExecutorReport, seen: Observed, limits: Limits) -> Verdict | None:
    """`spread` keeps processes that were started together from being replaced together."""
    soon = 1.0 - SPREAD * seen.spread
    if limits.age is not None and seen.uptime > limits.age * soon:
        return Verdict("age", f"it is {seen.uptime:.0f} s old")
    if limits.executions is not None and report.executions_started > limits.executions * soon:
        return Verdict("executions", f"it has run {report.executions_started} executions")
    if limits.resident is not None and seen.resident > limits.resident:
        return Verdict("memory", f"it holds {seen.resident >> 20} MiB of memory")
    return None


def _hung(hung: list[Hung]) -> str:
    return ", ".join(
        f"{group.policy} of API {group.api}, instance {group.instance} "
        f"({group.count}, the oldest for {group.oldest_ms / 1000:.0f} s)"
        for group in hung
    )


@dataclass
class ReplacementBackoff:
    """Exponential back-off between replacements in one slot: reset after RESET_AFTER seconds without one."""

    last: float = -RESET_AFTER
    seconds: float = 0.0

    def allows(self, now: float) -> bool:
        """Whether another replacement may follow. now: time.monotonic()."""
        return now - self.last >= self.seconds

    def record(self, now: float) -> None:
        """A replacement begins. now: time.monotonic()."""
        again = now - self.last < RESET_AFTER
        self.seconds = min(max(FIRST_DELAY, self.seconds * 2), MAX_DELAY) if again else FIRST_DELAY
        self.last = now


@dataclass
class _Watched:
    """The state that is kept for one process."""

    pid: int
    spread: float = field(default_factory=random.random)
    unserving_since: float | None = None
    is_located: bool = False  # whether the holder of its interpreter was searched for
    hold: InterpreterHold | None = None


class ExecutorRecycler:
    """Checks the executors twice a second and replaces those that need it, one at a time.

    on_recycled: called with the group and the cause when an executor was killed or replaced.
    """

    def __init__(
        self,
        executors: Executors,
        admin: EngineAdmin,
        output: LogOutput,
        limits: Limits,
        on_recycled: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        self._executors, self._admin, self._output, self._limits = executors, admin, output, limits
        self._on_recycled = on_recycled
        self._watched: dict[int, _Watched] = {}
        self._backoffs: dict[tuple[str, int], ReplacementBackoff] = {}
        self._replacing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Checks and replaces until it is cancelled."""
        try:
            while True:
                await asyncio.sleep(until_next_tick(POLL_SECONDS))
                await self._check_all()
        finally:
            if self._replacing is not None:
                self._replacing.cancel()
                await asyncio.wait({self._replacing})

    async def _check_all(self) -> None:
        try:
            reports = await self._admin.executors()
        except LocalHttpError:  # the engine is restarting
            return
        serving = [executor for executor in self._executors.serving if executor.process.state is State.READY]
        pids = [pid for executor in serving if (pid := executor.process.pid)]
        self._watched = {pid: self._watched.get(pid, _Watched(pid)) for pid in pids}
        for executor in serving:
            report = reports.at(executor.address)
            if report is None or (pid := executor.process.pid) is None:
                continue
            verdict = judge(report, self._observe(executor, pid, report), self._limits)
            if verdict is not None and verdict.cause == SILENT:
                verdict = await self._locate(executor, pid, verdict)
            self._act(executor, verdict)

    def _observe(self, executor: Executor, pid: int, report: ExecutorReport) -> Observed:
        watched, now = self._watched[pid], time.monotonic()
        if not report.connected or report.serving:
            watched.unserving_since = None
        elif watched.unserving_since is None:
            watched.unserving_since = now
        not_serving = 0.0 if watched.unserving_since is None else now - watched.unserving_since
        return Observed(pid, executor.process.uptime, resident(pid), not_serving, watched.spread)

    async def _locate(self, executor: Executor, pid: int, verdict: Verdict) -> Verdict:
        """Finds the policy that holds the interpreter, once, and has the engine put it under quarantine."""
        watched, page = self._watched[pid], executor.process.stack_page
        if not watched.is_located and page is not None:
            watched.is_located = True
            watched.hold = await find_hold(pid, page, executor.generation.build.group(executor.id.group))
            if watched.hold is not None:
                await self._quarantine(executor, pid, watched.hold)
        if (hold := watched.hold) is None:
            return verdict
        return replace(verdict, reason=f"{verdict.reason}: {hold.policy} holds the interpreter at {hold.at}", hold=hold)

    async def _quarantine(self, executor: Executor, pid: int, hold: InterpreterHold) -> None:
        try:
            await self._admin.record_hold(executor.address, pid, hold.policy, hold.at)
        except EngineRefusedError as error:
            self._output.event(f"{hold.policy} is not under quarantine: {error}", "warning", process=executor.id.name)

    def _act(self, executor: Executor, verdict: Verdict | None) -> None:
        if verdict is None:
            return
        if verdict.kill:
            self._output.event("executor is killed", "error", process=executor.id.name, **verdict.fields)
            executor.process.kill()
            self._on_recycled(executor.id.group, verdict.cause)
            return
        backoff = self._backoffs.setdefault((executor.id.group, executor.id.slot), ReplacementBackoff())
        if backoff.allows(time.monotonic()) and (self._replacing is None or self._replacing.done()):
            backoff.record(time.monotonic())
            self._replacing = asyncio.create_task(self._replace(executor, verdict), name="replace executor")

    async def _replace(self, executor: Executor, verdict: Verdict) -> None:
        self._output.event("executor is replaced", "warning", process=executor.id.name, **verdict.fields)
        began = time.monotonic()
        try:
            draining = await self._executors.replace(executor)
        except (EngineRefusedError, StartError) as error:
            self._output.event(f"executor is not replaced: {error}", "error", process=executor.id.name)
            return
        if draining is not None:
            self._on_recycled(executor.id.group, verdict.cause)
            self._output.event("executor replaced", process=executor.id.name, took=f"{time.monotonic() - began:.2f}s")


def resident(pid: int) -> int:
    """Bytes of memory that a process holds (proc(5), /proc/PID/statm); 0 once it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
