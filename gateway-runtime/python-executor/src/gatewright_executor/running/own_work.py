"""Enforces the time limits of streams' own work, in a thread that no policy can block.

A stream's own work lasts from its acceptance, or from a chunk, until it asks for the next chunk or yields. Only streams
at work are checked, and only while there are any, so a waiting stream costs nothing. A late stream is answered at once
and cancelled. If it goes on all the same it is abandoned, and the health check reports it as hung until it ends.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from contextvars import Context

from gatewright.policy import FailureClass

from gatewright_executor import logs
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.convert.translator import encode_failure, with_work
from gatewright_executor.critical_thread import WokenThread
from gatewright_executor.policies.failure import Failure
from gatewright_executor.running.execution import refuse_late
from gatewright_executor.running.stream_execution import StreamExecution
from gatewright_executor.running.streams import Streams
from gatewright_executor.running.timeout_log import HOOKS, TimeoutLog

LOOK_SECONDS = 0.02
RESTING_LOOKS = 25  # checks without a stream at work after which the thread sleeps
log = logging.getLogger(__name__)


class OwnWork(WokenThread):
    """Checks streams at work, and is woken when a stream begins to work. `loops` are the streams of all event loops."""

    def __init__(
        self,
        loops: Callable[[], Iterable[Streams]],
        timeout_log: TimeoutLog,
        hung_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._loops = loops
        self._timeout_log = timeout_log
        self._hung_seconds = hung_seconds
        super().__init__("own-work")

    def check(self, now: float) -> bool:
        """Answers late streams. Returns whether any stream is at work. now: by the clock."""
        is_any_at_work = False
        for streams in self._loops():
            for execution in streams.at_work.copy():
                is_any_at_work = True
                if now > execution.deadline or execution.has_ended:
                    self._late(streams, execution, now)
        return is_any_at_work

    # -------------------------------------------------------------- its thread

    def _run(self) -> None:
        while self._awake.wait() and not self._stopped:
            resting = 0
            while resting < RESTING_LOOKS and not self._stopped:
                time.sleep(LOOK_SECONDS)
                resting = 0 if self.check(self._clock()) else resting + 1
            self._awake.clear()
            if self._stopped or any(streams.at_work for streams in self._loops()):
                self._awake.set()  # a stream that began meanwhile has not woken this thread

    def _late(self, streams: Streams, execution: StreamExecution, now: float) -> None:
        if execution.has_ended:
            streams.at_work.discard(execution)
        elif not execution.started:
            self._refuse(streams, execution, now)
        elif not execution.is_over:
            self._time_out(streams, execution, now)
        elif now - execution.deadline > self._hung_seconds and not execution.is_abandoned:
            execution.is_abandoned = True
            Context().run(_log_abandoned, execution, now, self._timeout_log)
            streams.cancel_again(execution)
            streams.abandon(execution)

    def _refuse(self, streams: Streams, execution: StreamExecution, now: float) -> None:
        """Refuses a stream that has waited too long for its slot."""
        streams.at_work.discard(execution)
        if execution.sink.claim(execution):
            execution.instance.remove_waiting(execution)
            if execution.settle():
                execution.sink.deliver(execution, refuse_late(execution, now))
                execution.sink.flush()

    def _time_out(self, streams: Streams, execution: StreamExecution, now: float) -> None:
        if not execution.settle():
            return
        hook = HOOKS[execution.phase]
        reached = self._timeout_log.where(execution)
        where, (file, line) = reached.place, reached.file_and_line
        expected = f"expected {hook} to ask for the next chunk or to yield within {execution.limit:g} s"
        message = f"{expected}, it still works{f' at {where}' if where else ''}"
        execution.is_over = True
        execution.deadline = min(execution.deadline, now)  # it may have begun to wait meanwhile
        streams.at_work.add(execution)
        failure = Failure(FailureClass.TIMEOUT, message, execution.instance.key, hook, file=file, line=line)
        worked = execution.worked_until(now)
        execution.sink.deliver(execution, with_work(encode_failure(execution.id, failure), worked))
        execution.sink.flush()
        self._timeout_log.record(_timed_out(execution), execution.instance, execution)
        streams.cancel_late(execution)


def _timed_out(execution: StreamExecution) -> pb.TimedOut:
    message = execution.message
    return pb.TimedOut(
        id=message.id,
        instance=message.instance,
        phase=message.phase,
        timeout_us=message.timeout_us,
        request_id=message.request_id,
        operation=message.operation,
    )


def _log_abandoned(execution: StreamExecution, now: float, timeout_log: TimeoutLog) -> None:
    logs.current.set(execution)
    where = timeout_log.where(execution)
    log.error(
        "expected %s to end when it is cancelled, it goes on after %.1f s%s; the executor abandons it",
        HOOKS[execution.phase], now - execution.deadline, f" at {where.place}" if where.place else "",
        extra={"trace": where.stack},
    )  # fmt: skip
