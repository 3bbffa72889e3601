"""The streams of one event loop: each is a task of its own, which takes chunks and passes on what its policy yields.

A task that waits for a chunk or for credit costs memory and nothing else. Only those at work are registered, for
own_work.py to see who takes too long. All that is yielded in one round of the loop leaves in one frame.
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
from gatewright_executor.running.stream_execution import NEVER, PIECE_BYTES, StreamExecution, StreamSink
from gatewright_executor.running.tracing import tracing

INLINE_YIELDS = 16  # after which a stream that has not waited lets the loop's other work go on, if they took
ROUND_SECONDS = 0.001  # as long; and after which what was yielded leaves, however long the loop's round goes on
log = logging.getLogger(__name__)


class Streams:
    """`loop` starts it where it does not run yet; `dispatch` runs an execution that has got a slot.

    wakes: called when the loop gets something to do. works: called when a stream is at work, and none was. clock: by
    which own work is measured.
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
        self._wakened: deque[asyncio.Future[None]] = deque()
        self._is_woken = False
        self._unsent: dict[StreamExecution, None] = {}  # that have yielded in this round of the loop
        self._sinks: set[StreamSink] = set()  # that have something to send
        self._flushes = False  # at the end of this round,
        self._flush_due = 0.0  # or then, by the clock
        self._outside = Context()  # of what is no policy's doing
        self._tasks: set[asyncio.Task[None]] = set()
        self.at_work: set[StreamExecution] = set()  # and those that wait for their turn
        self.started = self.finished = 0
        self._wakes = wakes
        self._works = works

    # -------------------------------------------------------------- from any thread

    def await_turn(self, execution: StreamExecution) -> None:
        """It is accepted, and waits for a slot or for the loop: that counts as its own work."""
        self.at_work.add(execution)
        self._works()

    def submit(self, execution: StreamExecution, hook: Hook) -> None:
        """Runs a stream that has a slot."""
        self._submitted.append((execution, hook))
        self._wake_loop()

    def wake(self, waiter: asyncio.Future[None]) -> None:
        """Lets go on what waits on the loop. All that comes until the loop looks costs one wake-up."""
        self._wakened.append(waiter)
        self._wake_loop()

    def cancel(self, execution: StreamExecution) -> None:
        """Closes its generator: nobody waits for it any more."""
        self._call(self._cancel, execution)

    def cancel_late(self, execution: StreamExecution) -> None:
        """It has been answered. What it awaits is cancelled, unless it has learnt of its end meanwhile."""
        self._call(self._cancel_late, execution)

    def cancel_again(self, execution: StreamExecution) -> None:
        """It goes on although it was cancelled: what it awaits is cancelled once more."""
        self._call(self._cancel_task, execution)

    def give_up(self, execution: StreamExecution) -> None:
        """Does not wait for its end any longer: its place is free, what it holds is let go as far as possible."""
        if execution.settle():
            execution.sink.deliver(execution, None)
            execution.sink.flush()
        execution.drop_input()
        execution.give_slot_back(self._dispatch)

    @property
    def is_busy(self) -> bool:
        """Whether there is one at work."""
        return bool(self.at_work)

    def running(self) -> list[Execution]:
        """Those at work that have begun."""
        return [execution for execution in self.at_work.copy() if execution.started]

    def _wake_loop(self) -> None:
        if not self._is_woken:
            self._is_woken = True
            self._wakes()
            self._call(self._look)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop().call_soon_threadsafe(function, *arguments, context=self._outside)
        except RuntimeError:  # the loop is closed, and all tasks with it
            log.debug("a stream's event loop has ended before it")

    # -------------------------------------------------------------- on the loop

    def _look(self) -> None:
        self._is_woken = False
        while self._submitted:
            self._start(*self._submitted.popleft())
        while self._wakened:
            if not (waiter := self._wakened.popleft()).done():
                waiter.set_result(None)

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
        task.add_done_callback(partial(self._ended, execution), context=self._outside)

    def _cancel(self, execution: StreamExecution) -> None:
        if execution.task is None:
            self.at_work.discard(execution)
        elif not execution.is_over:
            execution.is_over = execution.is_told = True
            execution.started = execution.deadline = self._clock()
            self.at_work.add(execution)
            self._works()
            execution.task.cancel()

    def _cancel_late(self, execution: StreamExecution) -> None:
        if not execution.is_told:
            execution.is_told = True
            self._cancel_task(execution)

    def _cancel_task(self, execution: StreamExecution) -> None:
        if execution.task is not None:
            execution.task.cancel()

    async def _live(self, execution: StreamExecution, hook: Hook) -> None:
        """The whole life of a stream, in its task."""
        instance = execution.instance
        given = stream_context(execution.message, instance.about, instance.prepared, execution, instance.shared)
        try:
            generator = hook.function(given, Chunks(execution, given.trailers, self), instance.params)
            execution.generator = generator
            await self._pass_on(execution, generator)
            action = encode_end(execution.id, given)
        except BaseException as error:  # what a policy raises must not reach the loop
            action = await self._failed(execution, hook, error, given)
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
        """Passes on what is large, or has to wait for credit. Returns False where the generator has ended by then.

        A cancellation by the policy itself (asyncio.timeout, a task group) reaches it at its yield. What it has yielded
        is sent all the same, before what it yields thereupon.
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

    async def _failed(
        self, execution: StreamExecution, hook: Hook, error: BaseException,
        context: RequestStreamContext | ResponseStreamContext,
    ) -> bytes:  # fmt: skip
        """The Action for what was raised; where nobody waits for it, it goes to the log, if it is anybody's fault."""
        closing = await self._close(execution)
        if execution.is_over:
            failed = closing or (None if isinstance(error, asyncio.CancelledError) else error)
            if failed is not None:
                _log_closing(hook, failed, execution)
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
        """GeneratorExit at its yield, where it stands at one. Returns what it makes of that, if it is not its end."""
        if execution.generator is None:
            return None
        self.work(execution)
        try:
            await execution.generator.aclose()
        except asyncio.CancelledError:
            return None
        except BaseException as error:  # "async generator ignored GeneratorExit" among them
            return error
        return None

    def _end(self, execution: StreamExecution, action: bytes | None) -> None:
        execution.has_ended = True
        self.at_work.discard(execution)
        self.finished += 1
        if execution.chunk_waiter is not None:  # a task that the policy has left behind
            execution.chunk_waiter.cancel()
        if execution.settle():
            self._pass_to_sink(execution)
            execution.sink.deliver(execution, None if execution.is_over else action)
        self._unsent.pop(execution, None)
        self._flush_soon(execution.sink)
        execution.drop_input()
        execution.generator = None
        execution.give_slot_back(self._dispatch)

    def _ended(self, execution: StreamExecution, task: asyncio.Task[None]) -> None:
        """Its task is done. Where that was cancelled before it began, or fails by our own fault, nothing is ended."""
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
        """What follows is waiting."""
        if not execution.is_over:
            self.at_work.discard(execution)
            execution.worked = execution.worked_until(self._clock())
            execution.deadline = NEVER

    def work(self, execution: StreamExecution) -> None:
        """What follows is its own work, and has its whole time; unless a task of it waits for a chunk, or it for credit
        while such a task has taken one."""
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
        """Its sink may have credit to send."""
        self._flush_soon(execution.sink)

    # -------------------------------------------------------------- what is yielded

    async def _put_pieces(self, execution: StreamExecution, pieces: deque[memoryview]) -> None:
        """As there is credit. Those that are sent are taken away."""
        while pieces:
            if not execution.has_credit:
                await self._wait_for_credit(execution)
            self._put(execution, pieces.popleft())

    def _put(self, execution: StreamExecution, data: bytes | memoryview) -> None:
        """One piece, for which there is credit. One without data is of use as the first one only."""
        size = len(data)
        if not size and execution.has_sent:
            return
        execution.has_sent = True
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
                if not execution.has_credit:  # else it came when nobody could see that this one waits
                    await waiter
        finally:
            execution.credit_waiter = None

    def _pass_to_sink(self, execution: StreamExecution) -> None:
        if execution.out and not execution.is_over:
            parts, execution.out, execution.out_bytes = execution.out, [], 0
            execution.sink.put_piece(execution, parts)

    def _flush_soon(self, sink: StreamSink) -> None:
        self._sinks.add(sink)
        if not self._flushes:
            self._flushes = True
            self._flush_due = self._clock() + ROUND_SECONDS
            self._loop().call_soon(self._flush, context=self._outside)

    def _flush(self) -> None:
        """After all that the loop had to do in this round."""
        self._flushes = False
        self._flush_now()

    def _flush_now(self) -> None:
        self._flush_due = self._clock() + ROUND_SECONDS
        for execution in self._unsent:
            self._pass_to_sink(execution)
        self._unsent.clear()
        while self._sinks:
            self._sinks.pop().flush()


def _cut(data: bytes) -> list[memoryview]:
    """In pieces: one at least."""
    view = memoryview(data)
    return [view[at : at + PIECE_BYTES] for at in range(0, len(view) or 1, PIECE_BYTES)]


def _data(execution: StreamExecution, yielded: object) -> bytes:
    """What it has yielded, checked."""
    if execution.is_over:
        execution.is_told = True
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
