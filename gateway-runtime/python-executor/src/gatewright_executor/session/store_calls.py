"""Calls of policies to the engine's store (gatewright.store), on one stream.

A call leaves with the next reply frame. Its result comes with a request frame, and the reading thread gives it to the
waiting thread or coroutine. If the reading thread itself has to wait, since it runs a quick policy, another thread
reads on first.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Iterable
from typing import Protocol

from gatewright.store import Answer, Backend, Call, Operation, StoreFullError, StoreUnavailableError

from gatewright_executor import logs
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.running.inline_runner import InlineRunner
from gatewright_executor.running.instance import Execution, Instance, PreparationOrigin
from gatewright_executor.session.replies import Replies

OPERATIONS: dict[Operation, pb.StoreOperation] = {
    "get": pb.STORE_OPERATION_GET,
    "set": pb.STORE_OPERATION_SET,
    "increment": pb.STORE_OPERATION_INCREMENT,
    "expire": pb.STORE_OPERATION_EXPIRE,
    "delete": pb.STORE_OPERATION_DELETE,
    "throttle": pb.STORE_OPERATION_THROTTLE,
    "reserve": pb.STORE_OPERATION_RESERVE,
    "settle": pb.STORE_OPERATION_SETTLE,
}


def store_of_running_instance() -> Backend:
    """The backend for a store that the running policy makes. RuntimeError: no instance's code is running."""
    origin = logs.current.get()
    store = origin.instance.store if isinstance(origin, Execution | PreparationOrigin) else None
    if store is None:
        raise RuntimeError("expected a store to be made in prepare, got one made elsewhere, perhaps during the import")
    return store


class Waiter(Protocol):
    """A thread or coroutine that waits for a result."""

    def settle(self, result: pb.StoreResult | None) -> None:
        """Passes the result on; None: none will come. Called once, from any thread."""


class StoreCalls:
    """The store calls of one stream. Calls come from any thread, results from the reading thread."""

    def __init__(self, replies: Replies, runner: InlineRunner) -> None:
        self._replies = replies
        self.runner = runner
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Waiter] = {}
        self._ended = False

    def begin(self, message: pb.StoreCall, waiter: Waiter) -> int:
        """Sends a call. StoreUnavailableError: the stream has ended."""
        number = message.id = next(self._numbers)
        self._waiting[number] = waiter
        if self._ended:  # read after the waiter was added: either `end` settles it, or this sees that the stream ended
            self.forget(number)
            raise StoreUnavailableError("the stream to the engine has ended")
        self._replies.put_store_call(message.SerializeToString())
        self._replies.flush()
        return number

    def forget(self, number: int) -> None:
        """Drops a call whose result is no longer awaited."""
        self._waiting.pop(number, None)

    def settle(self, results: Iterable[pb.StoreResult]) -> None:
        """Gives results to their waiters."""
        for result in results:
            if (waiter := self._waiting.pop(result.id, None)) is not None:
                waiter.settle(result)

    def end(self) -> None:
        """Ends all calls, since no results come any more."""
        self._ended = True
        for number in [*self._waiting]:
            if (waiter := self._waiting.pop(number, None)) is not None:
                waiter.settle(None)


class InstanceStore:
    """The store of one instance (gatewright.store.Backend)."""

    def __init__(self, calls: StoreCalls, instance: Instance, number: int) -> None:
        self._calls = calls
        self._instance = instance
        self._number = number  # of the instance, on this stream

    def call(self, call: Call, timeout: float) -> Answer:
        """Waits for the result, in the thread of a plain function. RuntimeError in the thread of an event loop, since
        its other work would wait too."""
        if _in_event_loop():
            raise RuntimeError("expected a function that is async to use AsyncStore, got a call of Store, which waits")
        if isinstance(logs.current.get(), Execution):  # and not a preparation
            self._instance.latency.note_waits()
        waiter = _ThreadWaiter()
        number = self._calls.begin(self._message(call, timeout), waiter)
        if not self._calls.runner.give_way():
            self._calls.forget(number)
            raise StoreUnavailableError("no thread could be started to read the result")
        if not waiter.wait(timeout):
            self._calls.forget(number)
            raise _too_late(timeout)
        return _answer(waiter.result)

    async def call_async(self, call: Call, timeout: float) -> Answer:
        """Awaits the result in the running event loop."""
        waiter = _LoopWaiter(asyncio.get_running_loop())
        number = self._calls.begin(self._message(call, timeout), waiter)
        try:
            async with asyncio.timeout(timeout):
                return _answer(await waiter.future)
        except TimeoutError:
            raise _too_late(timeout) from None
        finally:
            self._calls.forget(number)

    def _message(self, call: Call, timeout: float) -> pb.StoreCall:
        message = pb.StoreCall(
            instance=self._number,
            operation=OPERATIONS[call.operation],
            key=call.key,
            value=call.value,
            ttl_ms=round(call.ttl * 1000),
            if_absent=call.if_absent,
            amount=call.amount,
            shared=call.shared,
            kept=call.kept,
            timeout_us=round(timeout * 1e6),
            name=call.name,
            at_most=call.at_most,
            hold_ms=round(call.hold * 1000),
        )
        if (limit := call.limit) is not None:
            message.rate, message.per_us, message.burst = limit.rate, round(limit.per * 1e6), limit.burst
        return message


class _ThreadWaiter:
    """Lets a thread wait for a result."""

    def __init__(self) -> None:
        self.result: pb.StoreResult | None = None
        self._settled = threading.Lock()
        self._settled.acquire()

    def settle(self, result: pb.StoreResult | None) -> None:
        self.result = result
        self._settled.release()

    def wait(self, timeout: float) -> bool:
        return self._settled.acquire(timeout=timeout)


class _LoopWaiter:
    """Lets a coroutine wait for a result."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.future: asyncio.Future[pb.StoreResult | None] = loop.create_future()

    def settle(self, result: pb.StoreResult | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._settle, result)

    def _settle(self, result: pb.StoreResult | None) -> None:
        if not self.future.done():
            self.future.set_result(result)


def _answer(result: pb.StoreResult | None) -> Answer:
    if result is None:
        raise StoreUnavailableError("the stream to the engine has ended")
    match result.outcome:
        case pb.STORE_OUTCOME_UNSPECIFIED:
            return Answer(
                result.yes,
                result.value,
                result.number,
                result.retry_after_us / 1e6,
                result.reset_after_us / 1e6,
                result.reserved,
            )
        case pb.STORE_OUTCOME_INVALID:
            raise ValueError(result.message)
        case pb.STORE_OUTCOME_FULL:
            raise StoreFullError(result.message)
        case _:
            raise StoreUnavailableError(result.message)


def _too_late(timeout: float) -> StoreUnavailableError:
    return StoreUnavailableError(f"expected an answer of the store within {timeout:g} s, got none")


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
