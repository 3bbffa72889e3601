"""The streams of one event loop: each is a task of its own, which takes chunks and sends the chunks of its policy.

A task that waits for a chunk or for credit costs only memory. Streams at work are registered, so that own_work.py finds
those that take too long. All chunks that are yielded in one round of the loop leave in one frame.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextvars import Context
from functools import partial
from typing import Any

from gatewright.action import chunk as checked_chunk
from gatewright.header_rules import ActionError
from gatewright.policy import FailureClass, Reject, RequestStreamContext, ResponseStreamContext

from gatewright_executor import logs
from gatewright_executor.convert.translator import encode_end, encode_rejection, stream_context, with_work
from gatewright_executor.policies.failure import PolicyError, coroutine_stack, describe, policy_traceback
from gatewright_executor.policies.policy_loader import Hook
from gatewright_executor.running.chunks import Chunks
from gatewright_executor.running.execution import failure_of, refusal
from gatewright_executor.running.instance import Execution
from gatewright_executor.running.pipe import PIECE_BYTES, resolve
from gatewright_executor.running.stream_execution import NEVER, StreamExecution, StreamSink
from gatewright_executor.running.tracing import tracing

INLINE_YIELDS = 16  # after so many yields that took ROUND_SECONDS without a wait, a stream lets the loop do other work
ROUND_SECONDS = 0.001  # after which yielded chunks are sent, even if the loop's round goes on
log = logging.getLogger(__name__)


class Streams:
    """The streams of the event loop that `loop` returns. `dispatch` runs an execution that has got a slot.

    wakes: called when the loop gets work. works: called when a stream begins to work and no other does. clock: for
    measuring own work.
    """

    def __init__(
        self,
        loop: Callable[[], asyncio.AbstractEventLoop],
        dispatch: Callable[[Execution], None],
        wakes: Callable[[], None],
        works: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._loop = loop
        self._dispatch = dispatch
        self._submitted: deque[tuple[StreamExecution, Hook]] = deque()
        self._woken_waiters: deque[asyncio.Future[None]] = deque()
        self._is_woken = False
        self._unsent: dict[StreamExecution, None] = {}  # that have yielded in this round of the loop
        self._sinks: set[StreamSink] = set()  # with something to send
        self._flush_scheduled = False  # for the end of this round
        self._flush_due = 0.0  # when to flush within a round, by the clock
        self._own_context = Context()  # for code that is no policy's
        self._tasks: set[asyncio.Task[None]] = set()
        self.at_work: set[StreamExecution] = set()  # including those that wait for a slot
        self.started = self.finished = 0
        self._wakes = wakes
        self._works = works

    # -------------------------------------------------------------- from any thread

    def await_turn(self, execution: StreamExecution) -> None:
        """Registers an accepted stream: its wait for a slot or for the loop counts as its own work."""
        self.at_work.add(execution)
        self._works()

    def submit(self, execution: StreamExecution, hook: Hook) -> None:
        """Runs a stream that has a slot."""
        self._submitted.append((execution, hook))
        self._wake_loop()

    def wake(self, waiter: asyncio.Future[None]) -> None:
        """Resolves a future that is awaited on the loop. All calls until the loop runs cost one wake-up."""
        self._woken_waiters.append(waiter)
        self._wake_loop()

    def cancel(self, execution: StreamExecution) -> None:
        """Closes the generator of a stream whose exchange has ended."""
        self._call(self._cancel, execution)

    def cancel_late(self, execution: StreamExecution) -> None:
        """Cancels the task of a late stream, which was answered already, unless it was cancelled before."""
        self._call(self._cancel_late, execution)

    def cancel_again(self, execution: StreamExecution) -> None:
        """Cancels the task of a stream once more that goes on although it was cancelled."""
        self._call(self._cancel_task, execution)

    def abandon(self, execution: StreamExecution) -> None:
        """Releases the slot and the input of a stream that does not end, without waiting for it any longer."""
        if execution.settle():
            execution.sink.deliver(execution, None)
            execution.sink.flush()
        execution.drop_input()
        execution.give_slot_back(self._dispatch)

    @property
    def is_busy(self) -> bool:
        """Whether a stream is at work."""
        return bool(self.at_work)

    def running(self) -> list[Execution]:
        """The streams at work that have begun."""
        return [execution for execution in self.at_work.copy() if execution.started]

    def _wake_loop(self) -> None:
        if not self._is_woken:
            self._is_woken = True
            self._wakes()
            self._call(self._drain_wakeups)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop().call_soon_threadsafe(function, *arguments, context=self._own_context)
        except RuntimeError:  # the loop is closed, and all tasks with it
            log.debug("a stream's event loop ended before the stream")

    # -------------------------------------------------------------- on the loop

    def _drain_wakeups(self) -> None:
        self._is_woken = False
        while self._submitted:
            self._start(*self._submitted.popleft())
        while self._woken_waiters:
            resolve(self._woken_waiters.popleft())

    def _start(self, execution: StreamExecution, hook: Hook) -> None:
        if not execution.sink.claim(execution):
            self.at_work.discard(execution)
            execution.give_slot_back(self._dispatch)
            return
        self.started += 1
        execution.started = self._clock()
        context = Context()
        context.run(logs.current.set, execution)
        if execution.message.traceparent:
            context.run(tracing.enter, execution)
        execution.task = task = asyncio.Task(self._live(execution, hook), loop=self._loop(), context=context)
        self._tasks.add(task)
        task.add_done_callback(partial(self._on_done, execution), context=self._own_context)

    def _cancel(self, execution: StreamExecution) -> None:
        if execution.task is None:
            self.at_work.discard(execution)
        elif not execution.is_over:
            execution.is_over = execution.is_cancelled = True
            execution.started = execution.deadline = self._clock()
            self.at_work.add(execution)
            self._works()
            execution.task.cancel()

    def _cancel_late(self, execution: StreamExecution) -> None:
        if not execution.is_cancelled:
            execution.is_cancelled = True
            self._cancel_task(execution)

    def _cancel_task(self, execution: StreamExecution) -> None:
        if execution.task is not None:
            execution.task.cancel()

    async def _live(self, execution: StreamExecution, hook: Hook) -> None:
        """The whole life of a stream, in its task."""
        instance = execution.instance
        context = stream_context(execution.message, instance.metadata, instance.prepared, execution, instance.shared)
        try:
            generator = hook.function(context, Chunks(execution, context.trailers, self), instance.params)
            execution.generator = generator
            await self._pass_on(execution, generator)
            action = encode_end(execution.id, context)
        except BaseException as error:  # an exception of the policy must not reach the loop
            action = await self._fail(execution, hook, error, context)
        if execution.partial:
            logs.flush_partial(execution)
        self._end(execution, with_work(action, execution.worked_until(self._clock())))

    async def _pass_on(self, execution: StreamExecution, generator: AsyncGenerator[Any, None]) -> None:
        yields, turn = 0, execution.started
        async for yielded in generator:
            data = _data(execution, yielded)
            if len(data) <= PIECE_BYTES and execution.has_credit:
                self._put(execution, data)
            elif not await self._put_or_throw(execution, generator, data):
                return
            yields += 1
            self.work(execution)
            if yields % INLINE_YIELDS == 0 and execution.started - turn > ROUND_SECONDS:
                await asyncio.sleep(0)
                self.work(execution)
                turn = execution.started

    async def _put_or_throw(
        self, execution: StreamExecution, generator: AsyncGenerator[Any, None], data: bytes
    ) -> bool:  # fmt: skip
        """Sends data that is large or has to wait for credit. Returns False if the generator has ended meanwhile.

        A cancellation by the policy itself (asyncio.timeout, a task group) is thrown into it at its yield. The yielded
        data is sent all the same, before the chunks that the policy yields after that.
        """
        pieces, is_open = deque(_cut(data)), True
        while True:
            try:
                await self._put_pieces(execution, pieces)
            except asyncio.CancelledError as cancelled:
                if execution.is_over or not is_open:
                    raise
                self.work(execution)
                try:
                    pieces += _cut(_data(execution, await generator.athrow(cancelled)))
                except StopAsyncIteration:
                    is_open = False
            else:
                return is_open

    async def _fail(
        self, execution: StreamExecution, hook: Hook, error: BaseException,
        context: RequestStreamContext | ResponseStreamContext,
    ) -> bytes:  # fmt: skip
        """The Action for an exception. If the stream is over, an exception but its cancellation is only logged."""
        closing = await self._close(execution)
        if execution.is_over:
            failure = closing or (None if isinstance(error, asyncio.CancelledError) else error)
            if failure is not None:
                _log_closing(hook, failure, execution)
            return b""
        if closing is not None:
            _log_closing(hook, closing, execution)
        if not isinstance(error, Reject):
            return failure_of(execution, hook, error)
        try:
            return encode_rejection(execution.id, error, context)
        except PolicyError as refused:
            return failure_of(execution, hook, refused)

    async def _close(self, execution: StreamExecution) -> BaseException | None:
        """Closes the generator, which raises GeneratorExit at its yield. Returns another exception that comes of it."""
        if execution.generator is None:
            return None
        self.work(execution)
        try:
            await execution.generator.aclose()
        except asyncio.CancelledError:
            return None
        except BaseException as error:  # including "async generator ignored GeneratorExit"
            return error
        return None

    def _end(self, execution: StreamExecution, action: bytes | None) -> None:
        execution.has_ended = True
        self.at_work.discard(execution)
        self.finished += 1
        if execution.chunk_waiter is not None:  # of a task that the policy has left behind
            execution.chunk_waiter.cancel()
        if execution.settle():
            self._pass_to_sink(execution)
            execution.sink.deliver(execution, None if execution.is_over else action)
        self._unsent.pop(execution, None)
        self._flush_soon(execution.sink)
        execution.drop_input()
        execution.generator = None
        execution.give_slot_back(self._dispatch)

    def _on_done(self, execution: StreamExecution, task: asyncio.Task[None]) -> None:
        """Called when the task is done. Ends a stream whose task was cancelled before it began, or has failed by a
        fault of the executor."""
        self._tasks.discard(task)
        execution.task = None
        if execution.has_ended:
            return
        error = None if task.cancelled() else task.exception()
        self._end(execution, refusal(execution, FailureClass.EXCEPTION, describe(error)) if error is not None else None)
        if error is not None:
            log.error("a stream could not be run", exc_info=error)

    # -------------------------------------------------------------- time (OwnTime)

    def rest(self, execution: StreamExecution) -> None:
        """The stream begins to wait."""
        if not execution.is_over:
            self.at_work.discard(execution)
            execution.worked = execution.worked_until(self._clock())
            execution.deadline = NEVER

    def work(self, execution: StreamExecution) -> None:
        """The stream's own work begins, with a new deadline; unless a task of the policy still waits for a chunk, or
        the stream for credit."""
        if not execution.is_over:
            now = self._clock()
            execution.worked = execution.worked_until(now)
            execution.started = now
            if execution.is_waiting:
                self.rest(execution)
                return
            execution.deadline = now + execution.limit
            self.at_work.add(execution)
            if len(self.at_work) == 1:
                self._works()

    def credit_given(self, execution: StreamExecution) -> None:
        """The stream's sink has credit to send."""
        self._flush_soon(execution.sink)

    # -------------------------------------------------------------- yielded chunks

    async def _put_pieces(self, execution: StreamExecution, pieces: deque[memoryview]) -> None:
        """Sends the pieces as credit allows, and removes them."""
        while pieces:
            if not execution.has_credit:
                await self._wait_for_credit(execution)
            self._put(execution, pieces.popleft())

    def _put(self, execution: StreamExecution, data: bytes | memoryview) -> None:
        """Sends a piece for which there is credit, to the stream behind this one or to the engine. A piece without data
        is sent only as the first one."""
        size = len(data)
        if not size and execution.has_sent:
            return
        execution.has_sent = True
        if execution.outlet is not None:
            execution.outlet.put(bytes(data))
            return
        execution.note_sent(size)
        if execution.out_bytes + size > PIECE_BYTES:
            self._pass_to_sink(execution)
        execution.out.append(data)
        execution.out_bytes += size
        self._unsent[execution] = None
        self._flush_soon(execution.sink)
        if execution.started > self._flush_due:
            self._flush_now()

    async def _wait_for_credit(self, execution: StreamExecution) -> None:
        self.rest(execution)
        loop = asyncio.get_running_loop()
        try:
            while not execution.has_credit:
                execution.credit_waiter = waiter = loop.create_future()
                if not execution.has_credit:  # else it came before the waiter was visible to the reading thread
                    await waiter
        finally:
            execution.credit_waiter = None

    def _pass_to_sink(self, execution: StreamExecution) -> None:
        if execution.out and not execution.is_over:
            parts, execution.out, execution.out_bytes = execution.out, [], 0
            execution.sink.put_piece(execution, parts)

    def _flush_soon(self, sink: StreamSink) -> None:
        self._sinks.add(sink)
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._flush_due = self._clock() + ROUND_SECONDS
            self._loop().call_soon(self._flush, context=self._own_context)

    def _flush(self) -> None:
        """Flushes at the end of the loop's round."""
        self._flush_scheduled = False
        self._flush_now()

    def _flush_now(self) -> None:
        self._flush_due = self._clock() + ROUND_SECONDS
        for execution in self._unsent:
            self._pass_to_sink(execution)
        self._unsent.clear()
        while self._sinks:
            self._sinks.pop().flush()


def _cut(data: bytes) -> list[memoryview]:
    """Cuts data into pieces, at least one."""
    view = memoryview(data)
    return [view[at : at + PIECE_BYTES] for at in range(0, len(view) or 1, PIECE_BYTES)]


def _data(execution: StreamExecution, yielded: object) -> bytes:
    """The checked data of a yielded chunk."""
    if execution.is_over:
        execution.is_cancelled = True
        raise asyncio.CancelledError
    if type(yielded) is bytes:
        return yielded
    try:
        return checked_chunk(yielded)
    except ActionError as error:
        place = coroutine_stack(execution.generator).place
        raise PolicyError(f"{error} ({place})" if place else str(error)) from None


def _log_closing(hook: Hook, error: BaseException, execution: Execution) -> None:
    message, trace = map(execution.instance.without_secrets, (describe(error), policy_traceback(error)))
    log.error("%s failed while it was closed: %s", hook.name, message, extra={"trace": trace})
