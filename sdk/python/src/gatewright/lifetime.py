"""What a policy makes once and gives back at its end: `prepare`, and `close`, in each of the forms that they may have.

    def prepare(params): …                 returns what is ctx.prepared; `close(prepared)` beside it ends it
    def prepare(params, metadata): …       the same, told which instance it is for (gatewright.policy.PolicyMetadata)
    def prepare(params): …; yield x; …     x is ctx.prepared; what follows the yield ends it

and each of them as `async def`. For whoever runs policies: the executor, and `gatewright.testing`.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from typing import Any, TypeAlias

from gatewright.policy import PolicyMetadata

Function: TypeAlias = Callable[..., Any]
Lifetime: TypeAlias = AbstractContextManager[Any] | AbstractAsyncContextManager[Any]
"""Entered, it is ctx.prepared; left, it is closed. Asynchronous where prepare is."""

METADATA = "metadata"
NO_YIELD = (
    "expected prepare to yield once, it ended without a yield; yield what is to be ctx.prepared, None if nothing is"
)
TWO_YIELDS = "expected prepare to yield once, it yielded again; write what closes after the one yield"


class LifetimeError(Exception):
    """A `prepare` that yields, but not once. The text says what was expected."""


def lifetime(
    prepare: Function | None,
    close: Function | None,
    params: dict[str, Any],
    metadata: PolicyMetadata,
    run: Callable[[Awaitable[Any]], Any],
) -> Lifetime:
    """The lifetime of one policy instance. `run` awaits what an async `close` beside a plain `prepare` returns."""
    if prepare is None:
        return _plain(lambda: None, close, run)
    arguments = (params, metadata) if takes_metadata(prepare) else (params,)
    if inspect.isasyncgenfunction(prepare):
        return _async_yielding(lambda: prepare(*arguments))
    if inspect.isgeneratorfunction(prepare):
        return _yielding(lambda: prepare(*arguments))
    if inspect.iscoroutinefunction(prepare):
        return _async(lambda: prepare(*arguments), close)
    return _plain(lambda: prepare(*arguments), close, run)


def takes_metadata(prepare: Function) -> bool:
    """Whether its second argument, by position, is named `metadata`."""
    try:
        second = [*inspect.signature(prepare).parameters.values()][1:2]
    except ValueError:  # written in C
        return False
    by_position = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    return any(each.name == METADATA and each.kind in by_position for each in second)


@contextmanager
def _plain(prepare: Function, close: Function | None, run: Callable[[Awaitable[Any]], Any]) -> Iterator[Any]:
    prepared = prepare()
    yield prepared
    if close is not None and inspect.isawaitable(closing := close(prepared)):
        run(closing)


@asynccontextmanager
async def _async(prepare: Function, close: Function | None) -> AsyncIterator[Any]:
    prepared = await prepare()
    yield prepared
    if close is not None and inspect.isawaitable(closing := close(prepared)):
        await closing


@contextmanager
def _yielding(prepare: Function) -> Iterator[Any]:
    steps = prepare()
    try:
        prepared = next(steps)
    except StopIteration:
        raise LifetimeError(NO_YIELD) from None
    try:
        yield prepared
    except BaseException as error:
        with suppress(StopIteration):
            steps.throw(error)
        raise
    for _ in steps:
        steps.close()
        raise LifetimeError(TWO_YIELDS)


@asynccontextmanager
async def _async_yielding(prepare: Function) -> AsyncIterator[Any]:
    steps = prepare()
    try:
        prepared = await anext(steps)
    except StopAsyncIteration:
        raise LifetimeError(NO_YIELD) from None
    try:
        yield prepared
    except BaseException as error:
        with suppress(StopAsyncIteration):
            await steps.athrow(error)
        raise
    async for _ in steps:
        await steps.aclose()
        raise LifetimeError(TWO_YIELDS)
