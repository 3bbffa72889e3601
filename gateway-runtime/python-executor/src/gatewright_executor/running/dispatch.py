"""The core: executions in, Actions out, on worker threads. No I/O.

Executions stay with the thread that took them in (turn.py), but for those of slow policies, and those that wait for a
slot: these go to the workers (crew.py) one by one, so that a policy that blocks takes one of them and nothing else.
Coroutines go to an event loop (loops.py). Each execution that was not cancelled before it started is answered
exactly once, whatever its policy does.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gatewright.policy import FailureClass

from gatewright_executor.policies.policy_loader import Hook
from gatewright_executor.running.execution import refusal, too_late
from gatewright_executor.running.flusher import Sender
from gatewright_executor.running.growth import Growth
from gatewright_executor.running.hung import HUNG_SECONDS, Hung, by_instance, overdue
from gatewright_executor.running.inline_runner import TURN_SECONDS, Reader, Watch
from gatewright_executor.running.instance import Admission, Call, Concurrency, Instance, concurrency
from gatewright_executor.running.loops import Loops
from gatewright_executor.running.timeout_log import Timeouts
from gatewright_executor.running.worker import Worker
from gatewright_executor.running.worker_pool import Crew

LOOP_STOP_SECONDS = 0.5
RESERVED = 8  # for so many workers there is one more


@dataclass(frozen=True, slots=True)
class Progress:
    """What the executor does now, and has done since it started."""

    workers: int
    busy: int
    started: int
    finished: int
    oldest_seconds: float  # how long the execution that has run longest has run; 0: none runs
    oldest_policy: str
    workers_hung: int
    hung: list[Hung]  # on the event loop too


class Dispatcher:
    """The workers, the event loops for coroutines, and the way of an execution to one of them.

    workers: how many executions of one instance they run at most, max_workers: where these wait for something. There
    are an eighth more of them, so that no policy takes them all.
    """

    def __init__(self, workers: int, max_workers: int = 0, hung_seconds: float = HUNG_SECONDS) -> None:
        self.workers = workers
        self.max_workers = max(workers, max_workers)
        self._hung_seconds = hung_seconds
        self.crew = Crew(_with_reserve(workers), self.run_on, _with_reserve(self.max_workers))
        self.growth = Growth(self.crew, self.run)
        self._sender = Sender()
        self.watch = Watch()
        self.loops = Loops(self.release)
        self._shared = self.loops.shared
        self.timeouts = Timeouts(lambda: [*self.crew.workers, *self.watch.workers], self.loops)

    @property
    def backlog(self) -> int:
        """How many executions have a slot and wait for a worker."""
        return self.crew.backlog

    def start(self) -> None:
        self.crew.start()
        self.growth.start()
        self._sender.start()
        self.watch.start()
        self.loops.start()

    def stop(self) -> None:
        """Ends each worker after what it does now; what is queued behind is not started."""
        self.crew.stop()
        self.growth.stop()
        self._sender.stop()
        self.watch.stop()
        self.loops.stop(LOOP_STOP_SECONDS)

    def submit(self, call: Call) -> None:
        """Takes an execution in. Its caller hears of it by `begin` and `end`, from any thread, from here too."""
        if self.admit(call):
            self._put(call)

    def reader(self, go_on: Callable[[deque[Call]], None], abandon: Callable[[], None]) -> Reader:
        """For a stream (turn.Reader)."""
        return Reader(self.watch, self.crew, go_on, abandon)

    def row(self, worker: Worker) -> Row:
        """For executions that this thread takes in and runs, one after the other."""
        return Row(self, worker)

    def run(self, calls: Iterable[Call]) -> None:
        """Sends executions that have a slot to a worker, or to the event loop."""
        for call in calls:
            self._put(call)

    def _put(self, call: Call) -> None:
        if hook := _coroutine_of(call):
            self.loops.own.get(call.instance, self._shared).put(call, hook)
        else:
            self.crew.put(call)
            if self.crew.is_short:
                self.growth.wake()

    def concurrency(self, requested: int, coroutines: bool) -> Concurrency:
        """How many executions of an instance may be under way. requested: what its attachment says; 0: nothing."""
        return concurrency(requested, self.workers, self.max_workers, coroutines)

    def ready(self, instance: Instance, hooks: dict[int, Hook], prepared: object, concurrency: Concurrency) -> None:
        """Runs what has waited for an instance to be prepared."""
        self.run(instance.ready(hooks, prepared, concurrency))
        self.growth.watch(instance)

    def admit(self, call: Call) -> bool:
        """Whether it has a slot and is to run now; else it waits for one, or is answered already."""
        match call.instance.admit(call):
            case Admission.RUN:
                return True
            case Admission.WAIT:
                self.growth.watch(call.instance)
            case Admission.FULL:
                self._refuse(call, call.refusal or "")
            case Admission.FAILED:
                self.fail(call)
        return False

    def finish(self, call: Call, worker: Worker) -> None:
        """Runs an execution that has a slot in this thread."""
        if not call.caller.begin(call):
            return
        now = time.monotonic()
        hook = call.instance.hooks.get(call.phase)
        if now >= call.deadline:
            action = too_late(call, now)
        elif hook is None:
            action = refusal(call, FailureClass.EXCEPTION, f"expected a phase, got {call.phase}")
        else:
            action = worker.run(call, hook, now)
        call.caller.end(call, action)

    def release(self, instance: Instance) -> None:
        """Gives the slot of a coroutine back."""
        call = instance.release()
        if call is not None:
            self._put(call)

    def fail(self, call: Call) -> None:
        """Answers an execution of an instance that could not be prepared: it was not started."""
        if call.caller.begin(call) and (failure := call.instance.failure) is not None:
            call.caller.end(call, refusal(call, FailureClass.UNAVAILABLE, f"{failure.hook} failed: {failure.message}"))

    def cancel(self, call: Call) -> None:
        """Nobody waits for it any more: it is not started, or if it is a coroutine, it is cancelled."""
        call.instance.forget(call)
        self.loops.of(call.instance).cancel(call)

    def progress(self) -> Progress:
        """For the health check; taken without stopping anything, so it may be off by what happens meanwhile."""
        workers = [*self.crew.workers, *self.watch.workers]
        now, running = time.monotonic(), [call for worker in workers if (call := worker.call)]
        on_loop = [call for loop in self.loops.all() for call in loop.running()]
        started, finished = self.loops.counts()
        oldest = min([*running, *on_loop], key=lambda call: call.started, default=None)
        hung = overdue(running, now, self._hung_seconds)
        return Progress(
            workers=self.workers + self.crew.grown,
            busy=len(running),
            started=sum(worker.started for worker in workers) + started,
            finished=sum(worker.finished for worker in workers) + finished,
            oldest_seconds=now - oldest.started if oldest else 0.0,
            oldest_policy=oldest.policy if oldest else "",
            workers_hung=len(hung),
            hung=by_instance([*hung, *overdue(on_loop, now, self._hung_seconds)], now, self.timeouts.where),
        )

    def run_on(self, call: Call, worker: Worker) -> None:
        """Runs an execution that has a slot, and those that get the slot after it, as many as there is time for."""
        until = time.monotonic() + TURN_SECONDS
        following: Call | None = call
        while following is not None:
            call = following
            self.finish(call, worker)
            following = self.pass_on(call, worker, here=worker.ended < until)
            if following is None and not self.crew.backlog:
                call.caller.flush()
            else:
                self._sender.leave(call.caller)

    def pass_on(self, call: Call, worker: Worker, here: bool) -> Call | None:
        """Gives a slot back. Returns the execution that gets it, if this thread is to run it; else another one does."""
        following = call.instance.release(call, worker.ended)
        if following is None or (here and not _coroutine_of(following)):
            return following
        self._put(following)
        return None

    def _refuse(self, call: Call, message: str) -> None:
        if call.caller.begin(call):
            call.caller.end(call, refusal(call, FailureClass.OVERLOADED, message))


def _with_reserve(workers: int) -> int:
    return workers + max(1, workers // RESERVED)


def _coroutine_of(call: Call) -> Hook | None:
    """What is to be called, if that is a coroutine function."""
    hook = call.instance.hooks.get(call.phase)
    return hook if hook is not None and hook.is_coroutine else None


class Row:
    """Executions of one thread: at most one of them is under way, so those of one instance in a row share a slot."""

    __slots__ = ("_dispatcher", "_holder", "_last", "_worker")

    def __init__(self, dispatcher: Dispatcher, worker: Worker) -> None:
        self._dispatcher = dispatcher
        self._worker = worker
        self._holder: Instance | None = None  # of the slot
        self._last: Call | None = None

    def run(self, call: Call) -> None:
        """Takes an execution in and, if there is a slot for it, runs it."""
        if call.instance is not self._holder:
            self.end()
            if not self._dispatcher.admit(call):
                return
            self._holder = call.instance
        self._last = call
        self._dispatcher.finish(call, self._worker)

    def leave(self, call: Call) -> None:
        """Lets another thread run it."""
        self._dispatcher.submit(call)

    def end(self) -> None:
        """Gives the slot back, after those that have waited for it."""
        last, self._holder, self._last = self._last, None, None
        if last is not None and (call := self._dispatcher.pass_on(last, self._worker, here=True)) is not None:
            self._dispatcher.run_on(call, self._worker)
