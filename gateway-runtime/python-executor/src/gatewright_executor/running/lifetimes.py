"""A policy instance's lifetime as the executor drives it: `open` calls the policy's prepare, `close` ends what it made.
The same of what its instances share, which is setup's.

Both wait until that is done, each in a thread that has nothing else to do. What is async runs on the event loop of the
instance's executions, in one task from its beginning to its end: so task groups and timeouts may stand around a yield.
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
    """The lifetime of an instance. `loop` is that of its executions, there if anything of the policy is async."""

    def run(awaitable: Awaitable[Any]) -> Any:
        assert loop is not None
        return asyncio.run_coroutine_threadsafe(_awaited(awaitable), loop).result()

    prepare, close = _function(policy.prepare), _function(policy.close)
    made = lifetime(prepare, close, instance.params, instance.about, run, instance.shared)
    return _driven(instance, made, loop, "prepare")


def setup_lifetime(owner: Instance, setup: Hook, loop: asyncio.AbstractEventLoop | None) -> Lifetime:
    """The lifetime of what instances share, which is `owner`'s. `loop`: that of their executions, where it is async."""
    return _driven(owner, shared_lifetime(setup.function, owner.about.system_params), loop, "setup")


def _driven(
    instance: Instance,
    made: AbstractContextManager[Any] | AbstractAsyncContextManager[Any],
    loop: asyncio.AbstractEventLoop | None,
    function: str,
) -> Lifetime:
    context = Context()
    context.run(logs.current.set, PreparationOrigin(instance))
    if isinstance(made, AbstractContextManager):
        return InThread(made, context)
    assert loop is not None
    return OnLoop(made, context, loop, function, instance.without_secrets)


def _function(hook: Hook | None) -> Any:
    return hook.function if hook is not None else None


class InThread:
    """What is not async runs in the thread that waits for it."""

    def __init__(self, policys: AbstractContextManager[Any], context: Context) -> None:
        self._policys = policys
        self._context = context

    def open(self) -> Any:
        return self._context.run(self._policys.__enter__)

    def close(self) -> None:
        self._context.run(self._policys.__exit__, None, None, None)

    def abandon(self) -> None:
        """Python cannot stop a thread."""


class OnLoop:
    """What is async runs in a task of its own."""

    def __init__(
        self,
        policys: AbstractAsyncContextManager[Any],
        context: Context,
        loop: asyncio.AbstractEventLoop,
        function: str = "prepare",
        shown: Callable[[str], str] = str,
    ) -> None:
        self._policys = policys
        self._context = context
        self._loop = loop
        self._function = function
        self._shown = shown  # an error's text, for the log
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
            prepared = await self._policys.__aenter__()
        except BaseException as error:  # what a policy raises must not reach the loop
            self._opened.set_exception(error)
            return
        self._opened.set_result(prepared)
        failed = await self._until_its_end()
        if failed is None or self._ending.is_set():
            _settle(self._closed, failed)
            return
        message, trace = map(self._shown, (describe(failed), policy_traceback(failed)))
        log.error("%s failed after its yield: %s", self._function, message, extra={"trace": trace})
        self._closed.set_result(None)

    async def _until_its_end(self) -> BaseException | None:
        """A task group around the yield cancels this task when one of its tasks fails. It is told of that, by what is
        thrown into it, and makes of it an error that says which."""
        try:
            async with AsyncExitStack() as entered:
                entered.push_async_exit(self._policys)
                await self._ending.wait()
        except BaseException as error:
            return error
        return None


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _settle(future: Future[None], error: BaseException | None) -> None:
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
