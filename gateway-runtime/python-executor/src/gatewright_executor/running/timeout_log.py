"""Logs late executions, with the place that their code has reached. The engine reports which executions are late.

A policy that waits for ever, or a slow upstream, causes many of them. So the first of an instance at a line is logged
with its stack, and those of the next seconds are counted.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable
from contextvars import Context

from gatewright_executor import logs
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.policies.failure import Where, policy_stack
from gatewright_executor.running.delayed_calls import DelayedCalls
from gatewright_executor.running.instance import STREAMS, Execution, Instance
from gatewright_executor.running.loop_watchdog import step_of
from gatewright_executor.running.loops import Loops
from gatewright_executor.running.worker import Worker

COUNTED_SECONDS = 10.0  # after a logged timeout, in which others of the instance at the same line are only counted
HOOKS: dict[int, str] = {
    pb.PHASE_REQUEST: "on_request",
    pb.PHASE_RESPONSE: "on_response",
    pb.PHASE_REQUEST_STREAM: "on_request_stream",
    pb.PHASE_RESPONSE_STREAM: "on_response_stream",
}
log = logging.getLogger(__name__)


class TimeoutLog:
    """Logs timeouts. `workers` are all threads that run executions. clock: for their deadlines.

    `schedule` calls a function in so many seconds.
    """

    def __init__(
        self,
        workers: Callable[[], Iterable[Worker]],
        loops: Loops,
        clock: Callable[[], float],
        schedule: Callable[[float, Callable[[], object]], None] | None = None,
    ) -> None:
        self._clock = clock
        self._schedule = schedule or DelayedCalls().schedule
        self._workers = workers
        self._loops = loops
        self._counted: dict[tuple[Instance, str], int] = {}  # by instance and place
        self._lock = threading.Lock()

    def record(self, late: pb.TimedOut, instance: Instance, execution: Execution | None) -> Where:
        """Logs or counts a late execution. execution: None if it has just ended. Returns its place."""
        where = self.where(execution) if execution is not None and execution.started else Where()
        key = (instance, where.place)
        with self._lock:
            is_known = key in self._counted
            self._counted[key] = self._counted[key] + 1 if is_known else 0
        if not is_known:
            self._schedule(COUNTED_SECONDS, lambda: self._log_count(key))
            Context().run(self._log_late, late, instance, execution, where)
        return where

    def where(self, execution: Execution) -> Where:
        """The place of a running execution."""
        frames = sys._current_frames()  # the only way to see another thread's frame
        for worker in self._workers():
            if worker.execution is execution:
                where = policy_stack(frames.get(worker.thread))
                return where if worker.execution is execution else Where()
        loop = self._loops.of(execution.instance)
        frame = frames.get(loop.thread_id)
        step = step_of(frame)
        if step is not None and step.origin is execution:
            return policy_stack(frame)
        return loop.where(execution)

    # -------------------------------------------------------------- what is logged

    def _log_late(self, late: pb.TimedOut, instance: Instance, execution: Execution | None, where: Where) -> None:
        logs.current.set(LateOrigin(late, instance, execution))
        limit, now = late.timeout_us / 1e6, self._clock()
        elapsed = max(limit, limit + now - execution.deadline) if execution is not None else limit
        blocked = self._loops.blocked(instance, now - elapsed, now)
        operation = late.operation.decode("utf-8", "backslashreplace")
        missed = "yield, nor a chunk asked for," if late.phase in STREAMS else "answer"
        log.error(
            "%s timed out: no %s after %.3f s of %.3f s; %s%s",
            HOOKS.get(late.phase, ""), missed, elapsed, limit, _state(execution, where),
            f"; {blocked}" if blocked else "",
            extra={"trace": where.stack, "fields": {"api": instance.metadata.api_name, "operation": operation}},
        )  # fmt: skip

    def _log_count(self, key: tuple[Instance, str]) -> None:
        instance, place = key
        with self._lock:
            count = self._counted.pop(key)
        if count:
            at = f" at {place}" if place else ""
            log.error("%d more executions of %s timed out in %g s%s", count, instance.title, COUNTED_SECONDS, at)


class LateOrigin:
    """The origin of the log line about a late execution."""

    __slots__ = ("partial", "policy", "request_id", "traceparent")

    def __init__(self, late: pb.TimedOut, instance: Instance, execution: Execution | None) -> None:
        self.policy, self.partial = instance.key, ""
        self.request_id = late.request_id.decode("utf-8", "backslashreplace")
        self.traceparent = execution.traceparent if execution is not None else b""


def _state(execution: Execution | None, where: Where) -> str:
    if execution is None:
        return "it ended just after its deadline"
    if not execution.started:
        return "it had not begun, and waited for a slot or a thread"
    return f"it is at {where.place}" if where.place else "its place in the code is not known"
