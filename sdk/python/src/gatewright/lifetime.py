"""The lifetime of what a policy makes once: by `prepare` for an instance, by `setup` for all instances in a process.

    def prepare(params): …                   returns ctx.prepared; `close(prepared)` beside it closes it
    def prepare(params): …; yield x; …       x is ctx.prepared; the code after the yield closes it
    def prepare(params, metadata, shared): … the same with either argument, by its name: the instance that it is for
                                             (gatewright.policy.PolicyMetadata), and what setup has made
    def setup(): …                           returns ctx.shared
    def setup(system_params): …; yield x; …  the same with the operator's parameters; the code after the yield closes x

Each of them may be `async def`. The executor and `gatewright.testing` run policies by this module.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from functools import partial
from typing import Any, TypeAlias

from gatewright.policy import PolicyMetadata

Function: TypeAlias = Callable[..., Any]
Lifetime: TypeAlias = AbstractContextManager[Any] | AbstractAsyncContextManager[Any]
"""A context manager that yields ctx.prepared or ctx.shared and closes it. Asynchronous if its function is."""

PREPARE = (("params",), ("metadata", "shared"))
"""The arguments of prepare: by position, and those that it may ask for by name."""
SETUP: tuple[tuple[str, ...], tuple[str, ...]] = ((), ("system_params",))
"""The same for setup."""
NO_YIELD = "expected {name} to yield once, it ended without a yield; yield the value of ctx.{made}, or None"
TWO_YIELDS = "expected {name} to yield once, it yielded again; write the code that closes after the only yield"


class LifetimeError(Exception):
    """A `prepare` or `setup` that is a generator has not yielded exactly once. The text says what was expected."""


def lifetime(
    prepare: Function | None,
    close: Function | None,
    params: dict[str, Any],
    metadata: PolicyMetadata,
    run: Callable[[Awaitable[Any]], Any],
    shared: Any = None,
) -> Lifetime:
    """The lifetime of one policy instance. `run` awaits what an async `close` beside a plain `prepare` returns."""
    if prepare is None:
        return _plain(lambda: None, close, run)
    call = with_arguments(prepare, (params,), {"metadata": metadata, "shared": shared})
    yields = _yielding_one(prepare, call, "prepare", "prepared")
    return yields or (_async(call, close) if inspect.iscoroutinefunction(prepare) else _plain(call, close, run))


def shared_lifetime(setup: Function | None, system_params: dict[str, Any]) -> Lifetime:
    """The lifetime of what the instances of a policy share: None if the policy has no setup."""
    if setup is None:
        return nullcontext()
    call = with_arguments(setup, (), {"system_params": system_params})
    yields = _yielding_one(setup, call, "setup", "shared")
    return yields or (_async(call) if inspect.iscoroutinefunction(setup) else _plain(call))


def _yielding_one(function: Function, call: Callable[[], Any], name: str, made: str) -> Lifetime | None:
    """The lifetime of a function that yields; None if it does not. name, made: for messages, the function and its
    value."""
    if inspect.isasyncgenfunction(function):
        return _async_yielding(call, name, made)
    return _yielding(call, name, made) if inspect.isgeneratorfunction(function) else None


def with_arguments(function: Function, first: tuple[Any, ...], named: Mapping[str, Any]) -> Callable[[], Any]:
    """A call of `function` with `first` by position, and those of `named` that it has an argument for. TypeError if it
    cannot be called so. A function written in C, whose arguments are not known, is called with `first` alone."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        return partial(function, *first)
    by_position, by_name = list(first), {}
    for parameter in [*signature.parameters.values()][len(first) :]:
        if parameter.name in named and parameter.kind is parameter.POSITIONAL_ONLY:
            by_position.append(named[parameter.name])
        elif parameter.name in named and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            by_name[parameter.name] = named[parameter.name]
    signature.bind(*by_position, **by_name)
    return partial(function, *by_position, **by_name)


def takes(function: Function, name: str) -> bool:
    """Whether the function has an argument of this name."""
    try:
        return name in inspect.signature(function).parameters
    except ValueError:  # written in C
        return False


@contextmanager
def _plain(
    make: Function, close: Function | None = None, run: Callable[[Awaitable[Any]], Any] | None = None
) -> Iterator[Any]:
    made = make()
    yield made
    if close is not None and inspect.isawaitable(closing := close(made)) and run is not None:
        run(closing)


@asynccontextmanager
async def _async(make: Function, close: Function | None = None) -> AsyncIterator[Any]:
    made = await make()
    yield made
    if close is not None and inspect.isawaitable(closing := close(made)):
        await closing


@contextmanager
def _yielding(make: Function, name: str, made: str) -> Iterator[Any]:
    steps = make()
    try:
        value = next(steps)
    except StopIteration:
        raise LifetimeError(NO_YIELD.format(name=name, made=made)) from None
    try:
        yield value
    except BaseException as error:
        with suppress(StopIteration):
            steps.throw(error)
        raise
    for _ in steps:
        steps.close()
        raise LifetimeError(TWO_YIELDS.format(name=name))


@asynccontextmanager
async def _async_yielding(make: Function, name: str, made: str) -> AsyncIterator[Any]:
    steps = make()
    try:
        value = await anext(steps)
    except StopAsyncIteration:
        raise LifetimeError(NO_YIELD.format(name=name, made=made)) from None
    try:
        yield value
    except BaseException as error:
        with suppress(StopAsyncIteration):
            await steps.athrow(error)
        raise
    async for _ in steps:
        await steps.aclose()
        raise LifetimeError(TWO_YIELDS.format(name=name))
