"""Coroutine policies on an event loop, in a thread of its own.

A task per execution costs more than a short policy. So a few long-lived tasks, the runners, take executions from a
queue and drive their coroutines inline; one that does not suspend needs no task of its own. When a coroutine
suspends, its runner waits with it and another takes over the queue. So a policy always runs inside a real task, which
`asyncio.timeout`, task groups and HTTP clients need, and each in a context of its own.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from contextvars import Context
from typing import Any

from gatewright.policy import touched_metadata

from gatewright_executor import critical_thread, logs
from gatewright_executor.convert.translator import encode_action
from gatewright_executor.policies.failure import Where, coroutine_stack
from gatewright_executor.policies.policy_loader import Hook
from gatewright_executor.running.execution import context_of, fault, too_late
from gatewright_executor.running.instance import Call, Caller, Instance, Preparing

MAX_IDLE_RUNNERS = 64
INLINE_RUN = 32  # executions that a runner drives before it lets the loop's other work go on
log = logging.getLogger(__name__)


class Counts:
    """What the loop has done. Written by its thread only."""

    __slots__ = ("finished", "started")

    def __init__(self) -> None:
        self.started = 0
        self.finished = 0


class Coroutines:
    """An event loop of coroutine policies; its thread starts with the first use. `release` gives a slot back."""

    def __init__(self, release: Callable[[Instance], None]) -> None:
        self.counts = Counts()
        self._release = release
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = threading.Lock()
        self._todo: deque[tuple[Call, Hook]] = deque()
        self._woken = False
        self._idle: list[asyncio.Future[None]] = []
        self._runners: set[asyncio.Task[None]] = set()
        self._tasks: dict[Call, asyncio.Task[None]] = {}  # of the executions that run
        self._cancelled: set[Call] = set()
        self._answered_to: set[Caller] = set()  # and not sent yet
        self._asked: float | None = None
        self._thread: threading.Thread | None = None
        self._stopped = False
        self.on_work: Callable[[], None] = lambda: None  # called when it gets something to do

    # -------------------------------------------------------------- from any thread

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop; starts it where it does not run yet."""
        if self._loop is None:
            with self._starting:
                if self._loop is None:
                    self._loop = self._start()
        return self._loop

    def put(self, call: Call, hook: Hook) -> None:
        """Takes in an execution that has a slot. All that comes until the loop wakes costs one wake-up."""
        self._todo.append((call, hook))
        if not self._woken:
            self._woken = True
            self.on_work()
            self.loop.call_soon_threadsafe(self._wake)

    def cancel(self, call: Call) -> None:
        """Cancels the task of an execution, if that runs here."""
        if call in self._tasks and self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel, call)

    def stop(self, seconds: float) -> None:
        """Cancels what runs and closes the loop, if a policy does not hold it up for longer than `seconds`."""
        if self._loop is not None and self._thread is not None:
            self._stopped = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(seconds)

    def end_tasks(self, instance: Instance, seconds: float) -> bool:
        """Cancels what a policy has made of tasks for an instance, and waits for their end. False: some do not end."""
        if self._loop is None:
            return True
        ended: Future[bool] = Future()
        try:
            self._loop.call_soon_threadsafe(_begin_to_end, instance, seconds, ended, context=Context())
        except RuntimeError:  # the loop is closed, and all tasks with it
            return True
        return ended.result()

    def where(self, call: Call) -> Where:
        """Where an execution waits; not of one whose step runs now."""
        task = self._tasks.get(call)
        waits: object = task.get_coro() if task is not None else None
        while waits is not None:
            frame = getattr(waits, "cr_frame", None)
            if frame is not None and frame.f_code is EXECUTION:
                return coroutine_stack(frame.f_locals.get("coroutine"))
            waits = getattr(waits, "cr_await", None)
        return Where()

    @property
    def thread_id(self) -> int:
        """threading.get_ident() of the loop's thread; 0 before it is there."""
        return (self._thread and self._thread.ident) or 0

    @property
    def native_id(self) -> int:
        """What the system calls that thread."""
        return (self._thread and self._thread.native_id) or 0

    @property
    def is_busy(self) -> bool:
        """Whether executions are under way, or wait for it."""
        return bool(self._tasks or self._todo)

    def running(self) -> list[Call]:
        """The executions under way."""
        return [*self._tasks.copy()]

    def silent_seconds(self) -> float:
        """For how long the loop has not answered, and asks it again. 0: it answers, or has nothing to do yet."""
        if self._loop is None:
            return 0.0
        if self._asked is None:
            self._asked = time.monotonic()
            self._loop.call_soon_threadsafe(self._answered)
        return time.monotonic() - self._asked if self._asked is not None else 0.0

    # -------------------------------------------------------------- on the loop

    def _answered(self) -> None:
        self._asked = None

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        loop.set_task_factory(_task)
        self._thread = critical_thread.Thread(self._run_forever, loop, name="coroutines")
        self._thread.start()
        return loop

    def _run_forever(self, loop: asyncio.AbstractEventLoop) -> None:
        """A policy's own task that raises SystemExit stops the loop; it goes on with the others'."""
        asyncio.set_event_loop(loop)
        while not self._stopped:
            try:
                loop.run_forever()
            except BaseException:
                log.exception("a task of a coroutine policy stopped the event loop; it goes on")
        for task in (tasks := asyncio.all_tasks(loop)):
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.close()

    def _wake(self) -> None:
        self._woken = False
        self._hand_over()

    def _hand_over(self) -> None:
        """Lets a runner that rests, or a new one, take what waits."""
        while self._todo and self._idle:
            wake = self._idle.pop()
            if not wake.done():
                wake.set_result(None)
                return
        if self._todo:
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

    def _cancel(self, call: Call) -> None:
        task = self._tasks.get(call)
        if task is not None:
            self._cancelled.add(call)
            task.cancel()

    async def _run(self) -> None:
        """A runner. One whose task a policy has cancelled is not used again: asyncio would remember."""
        task, taken = asyncio.current_task(), 0
        assert task is not None
        while not task.cancelling():
            if self._todo:
                await self._take(*self._todo.popleft(), task)
                taken += 1
                if taken % INLINE_RUN == 0:
                    await asyncio.sleep(0)
            elif len(self._idle) < MAX_IDLE_RUNNERS:
                wake = self.loop.create_future()
                self._idle.append(wake)
                await wake
            else:
                break

    async def _take(self, call: Call, hook: Hook, task: asyncio.Task[None]) -> None:
        if call.caller.begin(call):
            call.caller.end(call, await self._answer(call, hook, task))
        self._release(call.instance)
        self._answered_to.add(call.caller)
        self._flush()

    def _flush(self) -> None:
        """Sends what has ended, unless more ends at once."""
        while self._answered_to and not self._todo:
            self._answered_to.pop().flush()

    async def _answer(self, call: Call, hook: Hook, task: asyncio.Task[None]) -> bytes | None:
        now = time.monotonic()
        if now >= call.deadline:
            return too_late(call, now)
        call.started = now
        self._tasks[call] = task
        self.counts.started += 1
        action = await self._execute(call, hook)
        self.counts.finished += 1
        del self._tasks[call]
        if call in self._cancelled:
            self._cancelled.discard(call)
            return None
        return action

    async def _execute(self, call: Call, hook: Hook) -> bytes:
        """As dispatch.execute, for a coroutine."""
        context = Context()
        context.run(logs.current.set, call)
        try:
            given = context_of(call)
            coroutine = context.run(hook.function, given, call.instance.params)
            returned = await drive(coroutine, context, self._suspended)
            action = encode_action(call.id, call.phase, returned, touched_metadata(given))
        except BaseException as error:  # what a policy raises must not reach the loop
            action = b"" if call in self._cancelled else context.run(fault, call, hook, error)
        if call.partial:
            context.run(logs.end, call)
        return action


def _task(loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> asyncio.Future[Any]:
    """A task, which belongs to the instance that it is made for: its policy's code runs here and now."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **more)
    origin = logs.current.get()
    if isinstance(origin, Call | Preparing):
        origin.instance.tasks.add(task)
    return task


def _begin_to_end(instance: Instance, seconds: float, ended: Future[bool]) -> None:
    ending = asyncio.get_running_loop().create_task(_end(instance, seconds))
    ending.add_done_callback(lambda _: ended.set_result(not ending.cancelled() and ending.result()))


async def _end(instance: Instance, seconds: float) -> bool:
    tasks = [task for task in instance.tasks if not task.done()]
    for task in tasks:
        task.cancel()
    return not tasks or not (await asyncio.wait(tasks, timeout=seconds))[1]


EXECUTION = Coroutines._execute.__code__  # has the policy's coroutine, and the call


@types.coroutine
def drive(
    coroutine: Coroutine[Any, Any, object], context: Context, on_suspend: Callable[[], None]
) -> Generator[Any, Any, object]:
    """Runs `coroutine` inside the current task but in a context of its own; calls `on_suspend` when it first waits."""
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
