"""Lifetimes of policy instances: `open` calls the policy's prepare, `close` closes the value that it made. The same for
the value of `setup`, which instances share.

Both wait for their end, each in a thread without other work. Async functions run on the event loop of the instance's
executions, in one task from beginning to end, so that a yield may be within a task group or a timeout.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from contextvars import Context
from typing import Any

from gatewright.lifetime import lifetime, shared_lifetime

from gatewright_executor import logs
from gatewright_executor.policies.failure import describe, policy_traceback
from gatewright_executor.policies.policy_loader import Hook, LoadedPolicy
from gatewright_executor.running.instance import Instance, Lifetime, PreparationOrigin

log = logging.getLogger(__name__)


def lifetime_of(instance: Instance, policy: LoadedPolicy, loop: asyncio.AbstractEventLoop | None) -> Lifetime:
    """The lifetime of an instance. `loop`: the event loop of its executions, if a function of the policy is async."""

    def run(awaitable: Awaitable[Any]) -> Any:
        assert loop is not None
        return asyncio.run_coroutine_threadsafe(_await(awaitable), loop).result()

    prepare, close = _function(policy.prepare), _function(policy.close)
    value = lifetime(prepare, close, instance.params, instance.metadata, run, instance.shared)
    return _drive(instance, value, loop, "prepare")


def setup_lifetime(owner: Instance, setup: Hook, loop: asyncio.AbstractEventLoop | None) -> Lifetime:
    """The lifetime of the value that instances share, held by `owner`. `loop`: as for lifetime_of, for async setup."""
    return _drive(owner, shared_lifetime(setup.function, owner.metadata.system_params), loop, "setup")


def _drive(
    instance: Instance,
    value: AbstractContextManager[Any] | AbstractAsyncContextManager[Any],
    loop: asyncio.AbstractEventLoop | None,
    function: str,
) -> Lifetime:
    context = Context()
    context.run(logs.current.set, PreparationOrigin(instance))
    if isinstance(value, AbstractContextManager):
        return InThread(value, context)
    assert loop is not None
    return OnLoop(value, context, loop, function, instance.without_secrets)


def _function(hook: Hook | None) -> Any:
    return hook.function if hook is not None else None


class InThread:
    """The lifetime of plain functions, which run in the calling thread."""

    def __init__(self, value: AbstractContextManager[Any], context: Context) -> None:
        self._value = value
        self._context = context

    def open(self) -> Any:
        return self._context.run(self._value.__enter__)

    def close(self) -> None:
        self._context.run(self._value.__exit__, None, None, None)

    def abandon(self) -> None:
        """Does nothing: Python cannot stop a thread."""


class OnLoop:
    """The lifetime of async functions, which run in a task of their own."""

    def __init__(
        self,
        value: AbstractAsyncContextManager[Any],
        context: Context,
        loop: asyncio.AbstractEventLoop,
        function: str = "prepare",
        hide_secrets: Callable[[str], str] = str,
    ) -> None:
        self._value = value
        self._context = context
        self._loop = loop
        self._function = function
        self._hide_secrets = hide_secrets
        self._task: asyncio.Task[None] | None = None
        self._opened: Future[Any] = Future()
        self._ending = asyncio.Event()
        self._closed: Future[None] = Future()

    def open(self) -> Any:
        self._loop.call_soon_threadsafe(self._start, context=Context())
        return self._opened.result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._ending.set, context=Context())
        self._closed.result()

    def abandon(self) -> None:
        self._loop.call_soon_threadsafe(self._cancel, context=Context())

    # -------------------------------------------------------------- on the loop

    def _start(self) -> None:
        self._task = self._loop.create_task(self._live(), context=self._context)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _live(self) -> None:
        try:
            prepared = await self._value.__aenter__()
        except BaseException as error:  # an exception of the policy must not reach the loop
            self._opened.set_exception(error)
            return
        self._opened.set_result(prepared)
        failure = await self._wait_and_close()
        if failure is None or self._ending.is_set():
            _settle(self._closed, failure)
            return
        message, trace = map(self._hide_secrets, (describe(failure), policy_traceback(failure)))
        log.error("%s failed after its yield: %s", self._function, message, extra={"trace": trace})
        self._closed.set_result(None)

    async def _wait_and_close(self) -> BaseException | None:
        """Waits for `close`, and closes the value. A task group around the yield cancels this task when one of its
        tasks fails: the CancelledError is thrown into the policy's generator, whose task group raises the error."""
        try:
            async with AsyncExitStack() as stack:
                stack.push_async_exit(self._value)
                await self._ending.wait()
        except BaseException as error:
            return error
        return None


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _settle(future: Future[None], error: BaseException | None) -> None:
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
