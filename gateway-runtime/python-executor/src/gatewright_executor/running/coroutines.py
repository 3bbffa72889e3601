"""Coroutine policies on an event loop, in a thread of its own.

A task per execution costs more than a short policy. So a few long-lived tasks, the runners, take executions from a
queue and drive their coroutines inline; a coroutine that does not suspend needs no task of its own. When a coroutine
suspends, its runner waits with it and another runner takes over the queue. So each policy runs inside a real task,
which `asyncio.timeout`, task groups and HTTP clients need, and in a context of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from contextvars import Context
from typing import Any

from gatewright.policy import touched_metadata

from gatewright_executor import logs
from gatewright_executor.convert.translator import encode_action, with_work
from gatewright_executor.critical_thread import CriticalThread
from gatewright_executor.policies.failure import Where, coroutine_stack
from gatewright_executor.policies.policy_loader import Hook
from gatewright_executor.policy_threads import PolicyTask, StartedBy, log_task_exception
from gatewright_executor.running.execution import context_of, failure_of, refuse_late
from gatewright_executor.running.instance import Execution, Instance, PreparationOrigin, ResultSink
from gatewright_executor.running.stream_execution import StreamExecution
from gatewright_executor.running.streams import Streams
from gatewright_executor.running.tracing import tracing

MAX_IDLE_RUNNERS = 64
INLINE_RUN = 32  # executions that a runner drives before it lets the loop do other work
log = logging.getLogger(__name__)


class Counts:
    """Counts the executions of the loop. Written by its thread only."""

    __slots__ = ("finished", "started")

    def __init__(self) -> None:
        self.started = 0
        self.finished = 0


class Coroutines:
    """An event loop for coroutine policies; its thread starts with the first use. `dispatch` runs an execution that
    has got a slot. stream_works, clock: see Loops."""

    def __init__(
        self, dispatch: Callable[[Execution], None], stream_works: Callable[[], None], clock: Callable[[], float]
    ) -> None:
        self._clock = clock
        self.counts = Counts()
        self._dispatch = dispatch
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = threading.Lock()
        self._queue: deque[tuple[Execution, Hook]] = deque()
        self._woken = False
        self._idle: list[asyncio.Future[None]] = []
        self._runners: set[asyncio.Task[None]] = set()
        self._tasks: dict[Execution, asyncio.Task[None]] = {}  # of executions under way
        self._cancelled: set[Execution] = set()
        self._delivered_to: set[ResultSink] = set()  # with actions that were not sent yet
        self._probed: float | None = None
        self._thread: threading.Thread | None = None
        self._stopped = False
        self.on_work: Callable[[], None] = lambda: None  # called when the loop gets work
        self.streams = Streams(lambda: self.loop, dispatch, lambda: self.on_work(), stream_works, clock)

    # -------------------------------------------------------------- from any thread

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop, started if it does not run yet."""
        if self._loop is None:
            with self._starting:
                if self._loop is None:
                    self._loop = self._start()
        return self._loop

    def submit(self, execution: Execution, hook: Hook) -> None:
        """Runs an execution that has a slot. All executions until the loop wakes cost one wake-up."""
        self._queue.append((execution, hook))
        if not self._woken:
            self._woken = True
            self.on_work()
            self.loop.call_soon_threadsafe(self._wake)

    def cancel(self, execution: Execution) -> None:
        """Cancels the task of an execution, if it runs on this loop."""
        if isinstance(execution, StreamExecution):
            self.streams.cancel(execution)
        elif execution in self._tasks and self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel, execution)

    def stop(self, seconds: float) -> None:
        """Cancels all executions and closes the loop, unless a policy blocks it for longer than `seconds`."""
        if self._loop is not None and self._thread is not None:
            self._stopped = True
            with contextlib.suppress(RuntimeError):  # the loop has ended with its instance meanwhile
                self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(seconds)

    def end_tasks(self, instance: Instance, seconds: float) -> bool:
        """Cancels the tasks that a policy has created for an instance, and waits for them. False: some do not end in
        `seconds`. Where the loop ends meanwhile, all tasks have ended."""
        if self._loop is None:
            return True
        ended: Future[bool] = Future()
        try:
            self._loop.call_soon_threadsafe(_start_cancelling, instance, seconds, ended, context=Context())
        except RuntimeError:  # the loop is closed, and all tasks with it
            return True
        return ended.result()

    def where(self, execution: Execution) -> Where:
        """The place where an execution waits; empty while its step runs."""
        if isinstance(execution, StreamExecution):
            return coroutine_stack(execution.generator)
        task = self._tasks.get(execution)
        waits: object = task.get_coro() if task is not None else None
        while waits is not None:
            frame = getattr(waits, "cr_frame", None)
            if frame is not None and frame.f_code is EXECUTION:
                return coroutine_stack(frame.f_locals.get("coroutine"))
            waits = getattr(waits, "cr_await", None)
        return Where()

    @property
    def thread_id(self) -> int:
        """threading.get_ident() of the loop's thread; 0 before it has started."""
        return (self._thread and self._thread.ident) or 0

    @property
    def native_id(self) -> int:
        """That thread's id in the operating system."""
        return (self._thread and self._thread.native_id) or 0

    @property
    def is_busy(self) -> bool:
        """Whether executions are under way, or wait for the loop."""
        return bool(self._tasks or self._queue or self.streams.is_busy)

    def running(self) -> list[Execution]:
        """The executions under way."""
        return [*self._tasks.copy(), *self.streams.running()]

    def blocked_seconds(self) -> float:
        """The seconds for which the loop has not answered a probe; sends another probe. 0: it answers, or is unused."""
        if self._loop is None:
            return 0.0
        if self._probed is None:
            self._probed = self._clock()
            self._loop.call_soon_threadsafe(self._answer_probe)
        return self._clock() - self._probed if self._probed is not None else 0.0

    # -------------------------------------------------------------- on the loop

    def _answer_probe(self) -> None:
        self._probed = None

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        loop.set_task_factory(_task)
        loop.set_exception_handler(log_task_exception)
        self._thread = CriticalThread(self._run_forever, loop, name="coroutines")
        self._thread.start()
        return loop

    def _run_forever(self, loop: asyncio.AbstractEventLoop) -> None:
        """Runs the loop. A policy's own task that raises SystemExit stops it, so it is run again for the others."""
        asyncio.set_event_loop(loop)
        while not self._stopped:
            try:
                loop.run_forever()
            except BaseException:
                log.exception("a task of a coroutine policy stopped the event loop; it goes on")
        while tasks := asyncio.all_tasks(loop):  # a task that ends may create others, and so may `end_tasks`
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.close()

    def _wake(self) -> None:
        self._woken = False
        self._hand_over()

    def _hand_over(self) -> None:
        """Gives the waiting executions to an idle runner, or to a new one."""
        while self._queue and self._idle:
            wake = self._idle.pop()
            if not wake.done():
                wake.set_result(None)
                return
        if self._queue:
            runner = asyncio.Task(self._run(), loop=self.loop, context=Context())
            self._runners.add(runner)
            runner.add_done_callback(self._ended)

    def _suspended(self) -> None:
        self._hand_over()
        self._flush()

    def _ended(self, runner: asyncio.Task[None]) -> None:
        self._runners.discard(runner)
        if not runner.cancelled() and runner.exception() is not None:
            log.error("a runner of coroutine policies failed", exc_info=runner.exception())
        self._hand_over()

    def _cancel(self, execution: Execution) -> None:
        task = self._tasks.get(execution)
        if task is not None:
            self._cancelled.add(execution)
            task.cancel()

    async def _run(self) -> None:
        """A runner. It ends if a policy has cancelled its task, since asyncio counts cancellations of a task."""
        task, count = asyncio.current_task(), 0
        assert task is not None
        while not task.cancelling():
            if self._queue:
                await self._run_one(*self._queue.popleft(), task)
                count += 1
                if count % INLINE_RUN == 0:
                    await asyncio.sleep(0)
            elif len(self._idle) < MAX_IDLE_RUNNERS:
                wake = self.loop.create_future()
                self._idle.append(wake)
                await wake
            else:
                break

    async def _run_one(self, execution: Execution, hook: Hook, task: asyncio.Task[None]) -> None:
        if execution.sink.claim(execution):
            execution.sink.deliver(execution, await self._answer(execution, hook, task))
        following = execution.instance.release()
        if following is not None:
            self._dispatch(following)
        self._delivered_to.add(execution.sink)
        self._flush()

    def _flush(self) -> None:
        """Sends the delivered actions, unless more are about to follow."""
        while self._delivered_to and not self._queue:
            self._delivered_to.pop().flush()

    async def _answer(self, execution: Execution, hook: Hook, task: asyncio.Task[None]) -> bytes | None:
        now = self._clock()
        if now >= execution.deadline:
            return refuse_late(execution, now)
        execution.started = now
        self._tasks[execution] = task
        self.counts.started += 1
        action = await self._execute(execution, hook)
        self.counts.finished += 1
        del self._tasks[execution]
        if execution in self._cancelled:
            self._cancelled.discard(execution)
            return None
        return with_work(action, self._clock() - now)

    async def _execute(self, execution: Execution, hook: Hook) -> bytes:
        """Like execution.execute, for a coroutine."""
        context = Context()
        context.run(logs.current.set, execution)
        if execution.message.traceparent:
            context.run(tracing.enter, execution)
        try:
            policy_context = context_of(execution)
            coroutine = context.run(hook.function, policy_context, execution.instance.params)
            returned = await drive(coroutine, context, self._suspended)
            action = encode_action(execution.id, execution.phase, returned, touched_metadata(policy_context))
        except BaseException as error:  # what a policy raises must not reach the loop
            action = b"" if execution in self._cancelled else context.run(failure_of, execution, hook, error)
        if execution.partial:
            context.run(logs.flush_partial, execution)
        return action


def _task(loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> asyncio.Future[Any]:
    """The loop's task factory: registers the task with the instance whose policy's code creates it."""
    origin = logs.current.get()
    if not isinstance(origin, Execution | PreparationOrigin):
        return asyncio.Task(coroutine, loop=loop, **more)
    task = PolicyTask(coroutine, loop=loop, **more)
    task.origin = StartedBy(origin)
    origin.instance.tasks.add(task)
    return task


def _start_cancelling(instance: Instance, seconds: float, ended: Future[bool]) -> None:
    cancelling = asyncio.get_running_loop().create_task(_cancel_tasks(instance, seconds))
    cancelling.add_done_callback(lambda _: ended.set_result(cancelling.cancelled() or cancelling.result()))


async def _cancel_tasks(instance: Instance, seconds: float) -> bool:
    tasks = [task for task in instance.tasks if not task.done()]
    for task in tasks:
        task.cancel()
    return not tasks or not (await asyncio.wait(tasks, timeout=seconds))[1]


EXECUTION = Coroutines._execute.__code__  # a frame of this code has the policy's coroutine and the execution


@types.coroutine
def drive(
    coroutine: Coroutine[Any, Any, object], context: Context, on_suspend: Callable[[], None]
) -> Generator[Any, Any, object]:
    """Runs `coroutine` in the current task, but in a context of its own. on_suspend: called when it first suspends."""
    try:
        awaited = context.run(coroutine.send, None)
        on_suspend()
        while True:
            try:
                sent = yield awaited
            except BaseException as error:
                awaited = context.run(coroutine.throw, error)
            else:
                awaited = context.run(coroutine.send, sent)
    except StopIteration as stop:
        return stop.value
