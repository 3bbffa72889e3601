"""The core: executions in, Actions out, to a result sink. No I/O.

Executions of quick policies run in the thread that read them (inline_runner.py). All others, and those that wait for a
slot, go to the worker pool one by one, so that a policy that blocks takes one of its threads and no more. Coroutines go
to an event loop (loops.py). Each execution that was not cancelled before its start is answered exactly once, whatever
its policy does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass

from gatewright.policy import FailureClass

from gatewright_executor.convert.translator import with_work
from gatewright_executor.policies.policy_loader import Hook
from gatewright_executor.running.execution import execute, refusal, refuse_late
from gatewright_executor.running.flusher import Flusher
from gatewright_executor.running.growth import Growth
from gatewright_executor.running.hung import HUNG_SECONDS, HungExecutions, by_instance, hung_executions
from gatewright_executor.running.instance import Admission, Concurrency, Execution, Instance, concurrency
from gatewright_executor.running.limits import LIMITS, Limits
from gatewright_executor.running.loops import Loops
from gatewright_executor.running.own_work import OwnWork
from gatewright_executor.running.stall_watchdog import StallWatchdog
from gatewright_executor.running.stream_execution import StreamExecution
from gatewright_executor.running.timeout_log import HOOKS, TimeoutLog
from gatewright_executor.running.worker import Worker
from gatewright_executor.running.worker_pool import WorkerPool

LOOP_STOP_SECONDS = 0.5
ROUND_SECONDS = 0.005  # the time for which a worker goes on with executions that get the slot of the one before
RESERVED = 8  # workers for which there is one in reserve


@dataclass(frozen=True, slots=True)
class Progress:
    """The present state of the executor, and its counts since the start."""

    workers: int
    busy: int
    started: int
    finished: int
    oldest_seconds: float  # the age of the oldest running execution; 0: none runs
    oldest_policy: str
    workers_hung: int
    hung: list[HungExecutions]  # in threads and on event loops


class Dispatcher:
    """Sends executions to the workers and the event loops.

    workers: the most executions of one instance at once, max_workers: the most if they wait for something. An eighth
    more threads are in reserve, so that no policy takes all of them. clock: for starts, deadlines and hung executions.
    """

    def __init__(
        self,
        workers: int,
        max_workers: int = 0,
        hung_seconds: float = HUNG_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        limits: Limits = LIMITS,
    ) -> None:
        self.limits = limits
        self.clock = clock
        self.workers = workers
        self.max_workers = max(workers, max_workers)
        self._hung_seconds = hung_seconds
        self.pool = WorkerPool(_with_reserve(workers), self.run_in_worker, _with_reserve(self.max_workers), clock=clock)
        self.growth = Growth(self.pool, self.dispatch, clock)
        self.watchdog = StallWatchdog()
        self.loops = Loops(self.dispatch, lambda: self.own_work.wake(), clock)
        self._shared_loop = self.loops.shared
        self._flusher = Flusher()
        self.timeout_log = TimeoutLog(lambda: [*self.pool.workers, *self.watchdog.workers], self.loops, clock)
        self.own_work = OwnWork(self.loops.streams, self.timeout_log, hung_seconds, clock)

    @property
    def backlog(self) -> int:
        """The number of executions that have a slot and wait for a worker."""
        return self.pool.backlog

    def start(self) -> None:
        """Starts all threads except those of event loops, which start with their first use."""
        self.pool.start()
        self.growth.start()
        self._flusher.start()
        self.watchdog.start()
        self.own_work.start()
        self.loops.start()

    def stop(self) -> None:
        """Ends each worker after its present execution; queued ones are not started."""
        self.pool.stop()
        self.growth.stop()
        self._flusher.stop()
        self.watchdog.stop()
        self.own_work.stop()
        self.loops.stop(LOOP_STOP_SECONDS)

    def submit(self, execution: Execution) -> None:
        """Accepts an execution. Its sink gets `claim` and `deliver` from any thread, this one included."""
        if self.admit(execution):
            self.dispatch(execution)

    def submit_stream(self, execution: StreamExecution) -> None:
        """Accepts a stream, like `submit`. Its wait for a slot counts as its own work."""
        streams = execution.loop_streams = self.loops.of(execution.instance).streams
        streams.await_turn(execution)
        match execution.instance.admit_stream(execution):
            case Admission.RUN:
                self.dispatch(execution)
            case Admission.FULL:
                streams.at_work.discard(execution)
                self._refuse(execution, execution.refusal or "")
            case Admission.FAILED:
                streams.at_work.discard(execution)
                self.fail(execution)

    def dispatch(self, execution: Execution) -> None:
        """Sends an execution that has a slot to a worker, or to the event loop."""
        if hook := _coroutine_of(execution):
            loop = self.loops.own.get(execution.instance, self._shared_loop)
            if isinstance(execution, StreamExecution):
                loop.streams.submit(execution, hook)
            else:
                loop.submit(execution, hook)
        else:
            self.pool.submit(execution)
            if self.pool.is_short:
                self.growth.wake()

    def concurrency(self, requested: int, coroutines: bool) -> Concurrency:
        """The limits for the executions of an instance. requested: by its attachment; 0: the default."""
        return concurrency(requested, self.workers, self.max_workers, coroutines)

    def make_ready(
        self, instance: Instance, hooks: dict[int, Hook], prepared: object, concurrency: Concurrency
    ) -> None:
        """Makes a prepared instance ready, and runs the executions that have waited for it."""
        for execution in instance.make_ready(hooks, prepared, concurrency):
            self.dispatch(execution)
        self.growth.watch(instance)

    def admit(self, execution: Execution) -> bool:
        """Whether the execution has a slot and must run now; else it waits for a slot, or was refused."""
        match execution.instance.admit(execution):
            case Admission.RUN:
                return True
            case Admission.WAIT:
                self.growth.watch(execution.instance)
            case Admission.FULL:
                self._refuse(execution, execution.refusal or "")
            case Admission.FAILED:
                self.fail(execution)
        return False

    def run_here(self, execution: Execution, worker: Worker) -> None:
        """Runs an execution that has a slot, in this thread, and delivers its action."""
        if not execution.sink.claim(execution):
            return
        now = worker.clock()
        hook = execution.instance.hooks.get(execution.phase)
        if now >= execution.deadline:
            action = refuse_late(execution, now)
        elif hook is None:
            action = refusal(execution, FailureClass.EXCEPTION, _why_no_hook(execution))
        else:
            worker.note_start(execution, now)
            action = Context().run(execute, execution, hook)
            worker.note_end(execution)
            action = with_work(action, worker.ended - now)
        execution.sink.deliver(execution, action)

    def fail(self, execution: Execution) -> None:
        """Refuses an execution of an instance that could not be prepared."""
        if execution.sink.claim(execution) and (failure := execution.instance.failure) is not None:
            message = f"{failure.hook} failed: {failure.message}"
            execution.sink.deliver(execution, refusal(execution, FailureClass.UNAVAILABLE, message))

    def cancel(self, execution: Execution) -> None:
        """Cancels an execution whose exchange has ended: it never starts, or its task on an event loop is cancelled."""
        execution.instance.remove_waiting(execution)
        self.loops.of(execution.instance).cancel(execution)

    def progress(self) -> Progress:
        """The progress, for the health check. It is read without a lock, so its numbers may not match exactly."""
        workers = [*self.pool.workers, *self.watchdog.workers]
        now, running = self.clock(), [execution for worker in workers if (execution := worker.execution)]
        on_loop = [execution for loop in self.loops.all() for execution in loop.running()]
        started, finished = self.loops.counts()
        oldest = min([*running, *on_loop], key=lambda execution: execution.started, default=None)
        hung = hung_executions(running, now, self._hung_seconds)
        return Progress(
            workers=self.workers + self.pool.grown,
            busy=len(running),
            started=sum(worker.started for worker in workers) + started,
            finished=sum(worker.finished for worker in workers) + finished,
            oldest_seconds=now - oldest.started if oldest else 0.0,
            oldest_policy=oldest.policy if oldest else "",
            workers_hung=len(hung),
            hung=by_instance([*hung, *hung_executions(on_loop, now, self._hung_seconds)], now, self.timeout_log.where),
        )

    def run_in_worker(self, execution: Execution, worker: Worker) -> None:
        """Runs an execution that has a slot, and those that get the slot after it, for ROUND_SECONDS."""
        until = worker.clock() + ROUND_SECONDS
        following: Execution | None = execution
        while following is not None:
            execution = following
            self.run_here(execution, worker)
            following = self.release_slot(execution, worker, here=worker.ended < until)
            if following is None and not self.pool.backlog:
                execution.sink.flush()
            else:
                self._flusher.flush_soon(execution.sink)

    def release_slot(self, execution: Execution, worker: Worker, here: bool) -> Execution | None:
        """Releases a slot. Returns the execution that gets it if this thread must run it; else another thread does."""
        if isinstance(execution, StreamExecution):  # of a policy that cannot stream
            execution.give_slot_back(self.dispatch)
            return None
        following = execution.instance.release(execution, worker.ended)
        if following is None or (here and not _coroutine_of(following)):
            return following
        self.dispatch(following)
        return None

    def _refuse(self, execution: Execution, message: str) -> None:
        if execution.sink.claim(execution):
            execution.sink.deliver(execution, refusal(execution, FailureClass.OVERLOADED, message))


def _with_reserve(workers: int) -> int:
    return workers + max(1, workers // RESERVED)


def _coroutine_of(execution: Execution) -> Hook | None:
    """The hook of an execution, if it is a coroutine function."""
    hook = execution.instance.hooks.get(execution.phase)
    return hook if hook is not None and hook.is_coroutine else None


def _why_no_hook(execution: Execution) -> str:
    if (name := HOOKS.get(execution.phase)) is None:
        return f"expected a phase, got {execution.phase}"
    return f"expected {name}(ctx, chunks, params) in the policy's module, which has none; write it there"


class SlotBatch:
    """Executions that a thread runs one at a time, so that consecutive ones of an instance share a slot."""

    __slots__ = ("_dispatcher", "_holder", "_last", "_worker")

    def __init__(self, dispatcher: Dispatcher, worker: Worker) -> None:
        self._dispatcher = dispatcher
        self._worker = worker
        self._holder: Instance | None = None  # the instance whose slot this thread holds
        self._last: Execution | None = None

    def run(self, execution: Execution) -> None:
        """Runs an execution if it gets a slot; else it waits for one, or is refused."""
        if execution.instance is not self._holder:
            self.release()
            if not self._dispatcher.admit(execution):
                return
            self._holder = execution.instance
        self._last = execution
        self._dispatcher.run_here(execution, self._worker)

    def submit(self, execution: Execution) -> None:
        """Lets a worker run the execution."""
        self._dispatcher.submit(execution)

    def release(self) -> None:
        """Releases the slot, after running the executions that waited for it."""
        last, self._holder, self._last = self._last, None, None
        if last is not None and (execution := self._dispatcher.release_slot(last, self._worker, here=True)):
            self._dispatcher.run_in_worker(execution, self._worker)
