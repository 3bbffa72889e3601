"""For the tests of a policy: contexts without a gateway.

    from gatewright import testing

    policy = testing.load_policy(__file__)

    def test_it_adds_the_header() -> None:
        action = policy.on_request(testing.request(headers={"X-A": "b"}), testing.params(headerName="X-Policy"))

An `async def` policy is called with `asyncio.run(policy.on_request(…))`. What `prepare` makes is there within

    with testing.prepared(policy, testing.params()) as made:
        policy.on_request(testing.request(prepared=made), testing.params())

A policy that streams is run to its end, with the body cut in any way:

    result = testing.run_stream(policy.on_response_stream, testing.stream(b"a secret", sizes=[1, 3]))
    assert result.body == b"a ******"

What a policy has counted by `sdk.metrics` can be read:

    assert policy.REFUSED.value(reason="expired") == 1

Time is moved by hand where the policy asks `sdk.clock` for it, and what `sdk.background` repeats runs as it moves:

    with testing.clock() as clock, testing.prepared(policy, params) as made:
        clock.advance(300)
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import itertools
import json
import random
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, overload

from gatewright import action
from gatewright.lifetime import Lifetime, lifetime
from gatewright.metadata import checked_json
from gatewright.metrics import registry
from gatewright.moved_clock import MovedClock as MovedClock
from gatewright.moved_clock import clock as clock
from gatewright.peer import Peer, encode_peer
from gatewright.policy import (
    HeaderValue,
    ImmediateResponse,
    OnRequestStream,
    OnResponseStream,
    PolicyMetadata,
    Reject,
    RequestContext,
    RequestStreamContext,
    ResponseContext,
    ResponseStreamContext,
    Trailers,
)

HOOKS = ("on_request", "on_response")
STREAM_HOOKS = ("on_request_stream", "on_response_stream")
HeaderLines = Mapping[str, HeaderValue] | Iterable[tuple[str | bytes, str | bytes]]
"""Headers by name, or line by line."""


def load_policy(file: str) -> ModuleType:
    """The module policy.py in the folder of `file` (a test gives its `__file__`) or in the one above it.

    It is loaded anew, as a module of its own, wherever pytest runs; the modules beside it import as `from . import x`.
    What its functions return and yield is checked as the gateway does: ActionError (gatewright.action) where the
    gateway would answer `badAction`.
    """
    folders = [folder for folder in Path(file).resolve().parents[:2] if (folder / "policy.py").is_file()]
    if not folders:
        raise FileNotFoundError(f"expected policy.py beside {file}, or in the folder above, found none")
    name = "policy_of_" + "".join(char if char.isalnum() else "_" for char in folders[0].name)
    for stale in [module for module in sys.modules if module == name or module.startswith(f"{name}.")]:
        del sys.modules[stale]
    registry.forget(name)
    package = sys.modules[name] = ModuleType(name)
    package.__path__ = [str(folders[0])]
    module = importlib.import_module(f"{name}.policy")
    for hook in HOOKS:
        if callable(function := getattr(module, hook, None)):
            setattr(module, hook, _checked(hook, function))
    for hook in STREAM_HOOKS:
        if callable(function := getattr(module, hook, None)):
            setattr(module, hook, functools.wraps(function)(functools.partial(_checked_stream, hook, function)))
    return module


def _checked(hook: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        returned = function(*arguments)
        action.check(hook, returned)
        return returned

    @functools.wraps(function)
    async def call_async(*arguments: Any) -> Any:
        returned = await function(*arguments)
        action.check(hook, returned)
        return returned

    return call_async if inspect.iscoroutinefunction(function) else call


async def _checked_stream(hook: str, function: Callable[..., Any], *arguments: Any) -> AsyncGenerator[bytes, None]:
    async with aclosing(action.stream(hook, function(*arguments))) as yielded:
        try:
            async for chunk in yielded:
                yield action.chunk(chunk)
        except Reject as error:
            action.rejection(error)
            raise


def params(values: Mapping[str, Any] | None = None, /, **more: Any) -> dict[str, Any]:
    """Parameters as a gateway passes them: JSON values, read-only at any depth. Defaults are not applied."""
    checked: dict[str, Any] = checked_json({**(values or {}), **more}, "params")
    return checked


def metric(policy: ModuleType, name: str) -> Any:
    """The Counter, Gauge or Histogram of a policy that `load_policy` has loaded, wherever it was made. KeyError: there
    is none of that name.

    What it has counted is in `value(reason="expired")`, of a histogram in `count(…)` and `sum(…)`.
    """
    there = {each.name: each for each in registry.of(_package(policy))}
    if name not in there:
        raise KeyError(f"expected a metric of the policy, {', '.join(sorted(there)) or 'which has none'}, got {name}")
    return there[name]


def reset_metrics(policy: ModuleType) -> None:
    """All metrics of a policy that `load_policy` has loaded are 0 again."""
    for each in registry.of(_package(policy)):
        each.reset()


def _package(policy: ModuleType) -> str:
    return policy.__name__.partition(".")[0]


def prepared(
    policy: ModuleType, params: dict[str, Any] | None = None, metadata: PolicyMetadata | None = None
) -> Prepared:
    """What the policy's `prepare` makes of the parameters, and its end, in a `with` statement: `prepare` is called when
    that is entered, and `close`, or what follows the yield, when it is left. Without a `prepare` it is None.

    A policy that prepares by `async def` needs `async with`, in the event loop of its requests; the others take both.
    """
    prepare, close = getattr(policy, "prepare", None), getattr(policy, "close", None)
    about = metadata or PolicyMetadata("test", "v0.0.0")
    return Prepared(lifetime(prepare, close, checked_json(params or {}, "params"), about, _run))


class Prepared:
    """What `prepared` returns."""

    def __init__(self, made: Lifetime) -> None:
        self._lifetime = made

    def __enter__(self) -> Any:
        if not isinstance(self._lifetime, AbstractContextManager):
            raise TypeError("expected `async with testing.prepared(…)`, since prepare is async; got `with`")
        return self._lifetime.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert isinstance(self._lifetime, AbstractContextManager)
        self._lifetime.__exit__(None, None, None)

    async def __aenter__(self) -> Any:
        if isinstance(self._lifetime, AbstractContextManager):
            return self._lifetime.__enter__()
        return await self._lifetime.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(self._lifetime, AbstractContextManager):
            self._lifetime.__exit__(None, None, None)
        else:
            await self._lifetime.__aexit__(None, None, None)


def _run(awaitable: Any) -> Any:
    """Also inside a running loop, of which no second one may run in the same thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, _awaited(awaitable)).result()


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


def request(
    method: str = "GET",
    path: str = "/",
    *,
    query: str = "",
    headers: HeaderLines = (),
    body: bytes | None = None,
    metadata: Mapping[str, Any] | None = None,
    prepared: Any = None,
    scheme: str = "http",
    authority: str = "localhost",
    client_address: str = "127.0.0.1:40000",
    peer: Peer | None = None,
    upstream: str | None = None,
    request_id: str = "test-request",
    operation: str = "",
    policy: PolicyMetadata | None = None,
    timeout: float = 1.0,
    traceparent: str = "",
) -> RequestContext:
    """The context of an on_request.

    By default a GET of `/` on `http://localhost` from 127.0.0.1:40000 without headers and body, with the request id
    `test-request` and the metadata {}, from a client without a certificate. `operation` defaults to the method and the
    path, `policy` to test:v0.0.0.
    `headers` are a mapping or (name, value) pairs; names are lower-cased. `timeout` is in seconds from now.
    `traceparent` is of the execution's span, by default it is not traced; that of the client is a header.
    """
    fields = _Fields(
        request_id=_raw(request_id),
        method=_raw(method),
        path=_raw(path),
        query=_raw(query),
        scheme=_raw(scheme),
        authority=_raw(authority),
        client_address=_raw(client_address),
        operation=_raw(operation or f"{method} {path}"),
        request_headers=header_blob(headers),
        metadata=json.dumps(dict(metadata or {})).encode(),
        peer=encode_peer(peer),
        upstream=_raw(upstream or ""),
        traceparent=_raw(traceparent),
    )
    about = policy or PolicyMetadata("test", "v0.0.0")
    return RequestContext(fields, body, about, prepared, time.monotonic() + timeout)


def response(
    status_code: int = 200,
    *,
    headers: HeaderLines = (),
    body: bytes | None = None,
    request: RequestContext | None = None,
) -> ResponseContext:
    """The context of an on_response: by default 200 without headers and body, for a plain GET.

    `request` brings metadata, `prepared`, policy and timeout along.

    A gateway gives `request.body` only where the definition says `requestBodyInResponse: true`: so give the request one
    only then.
    """
    fields = _Fields(status=status_code, response_headers=header_blob(headers))
    return ResponseContext(fields, body, request or _plain_request())


# ------------------------------------------------------------------ streams


class Stream(AsyncIterator[bytes]):
    """The chunks of a body, once. `trailers` are the message's, which come when they have ended.

    RuntimeError as in a gateway: where two tasks ask at once, and where it is iterated again after its end.
    """

    def __init__(self, chunks: Iterable[bytes], trailers: bytes | None) -> None:
        self.trailers = Trailers()
        self._chunks = iter(chunks)
        self._blob = trailers
        self._ended = self._is_asked = False

    def __aiter__(self) -> Stream:
        if self._ended:
            raise RuntimeError(action.ITERATED_AGAIN)
        return self

    async def __anext__(self) -> bytes:
        if self._is_asked:
            raise RuntimeError(action.ASKED_TWICE)
        self._is_asked = True
        try:
            await asyncio.sleep(0)  # as for one that has to come
        finally:
            self._is_asked = False
        for chunk in self._chunks:
            if chunk:
                return chunk
        self._ended = True
        self.end()
        raise StopAsyncIteration

    def end(self) -> Trailers:
        """The body has ended, whether it was read or not. What the receiver gets: none, where none came."""
        self.trailers.arrived(self._blob)
        return Trailers(b"") if self._blob is None else self.trailers


def stream(
    body: bytes | str | Iterable[bytes | str] = b"",
    *,
    sizes: int | Sequence[int] = (),
    seed: int | None = None,
    trailers: HeaderLines | None = None,
) -> Stream:
    """A body in chunks, for on_request_stream and on_response_stream.

    `body` is whole, and then cut, or in chunks already. `sizes`, in bytes, are those of the chunks: one for all, or one
    after the other and over again. `seed` cuts at random, the same way for the same number. With neither it is one
    chunk. Since a policy must not depend on where the chunks are cut, let hypothesis choose:
    `sizes=st.lists(st.integers(1, 20), min_size=1)`.
    """
    if not isinstance(body, bytes | str):
        if sizes or seed is not None:
            raise TypeError("expected a whole body beside `sizes` or `seed`, got chunks; join them")
        chunks: Iterable[bytes] = map(_raw, body)
    elif seed is not None:
        chosen = random.Random(seed)  # noqa: S311 - nobody is to be kept from guessing them
        chunks = _cut(_raw(body), (chosen.randint(1, 20) for _ in itertools.count()))
    else:
        chunks = _cut(_raw(body), _sizes(sizes) if sizes else itertools.repeat(len(body) * 4 + 1))
    return Stream(chunks, None if trailers is None else header_blob(trailers))


def _sizes(sizes: int | Sequence[int]) -> Iterator[int]:
    each = [sizes] if isinstance(sizes, int) else list(sizes)
    if min(each) < 1:
        raise ValueError(f"expected sizes of a byte or more, got {min(each)}")
    return itertools.cycle(each)


def _cut(body: bytes, sizes: Iterator[int]) -> Iterator[bytes]:
    at = 0
    while at < len(body):
        until = at + next(sizes)
        yield body[at:until]
        at = until


@overload
def streaming(ctx: RequestContext, chunks: Stream) -> RequestStreamContext: ...
@overload
def streaming(ctx: ResponseContext, chunks: Stream) -> ResponseStreamContext: ...
def streaming(ctx: RequestContext | ResponseContext, chunks: Stream) -> RequestStreamContext | ResponseStreamContext:
    """The context of an on_request_stream or on_response_stream: what `request` or `response` made, without its body,
    with the trailers of `chunks`.
    """
    if isinstance(ctx, ResponseContext):
        return ResponseStreamContext(ctx._fields, ctx.request, chunks.trailers)
    return RequestStreamContext(ctx._fields, ctx.policy, ctx.prepared, ctx._deadline, chunks.trailers)


@dataclass(frozen=True, slots=True)
class StreamResult:
    """What has become of a stream."""

    chunks: list[bytes] = field(default_factory=list)
    """As they were yielded, those without bytes too. A gateway joins and cuts them."""
    trailers: Trailers = field(default_factory=Trailers)
    """As the receiver gets them: none, where `stream` was given none."""
    rejected: ImmediateResponse | None = None
    """What a Reject holds. The client gets it if no chunk was yielded before; else the gateway resets the stream."""

    @property
    def body(self) -> bytes:
        """All chunks together."""
        return b"".join(self.chunks)


def run_stream(
    function: OnRequestStream | OnResponseStream,
    chunks: Stream | None = None,
    *,
    ctx: RequestContext | ResponseContext | None = None,
    params: Mapping[str, Any] | None = None,
    stop_after: int | None = None,
) -> StreamResult:
    """Runs an on_request_stream or on_response_stream, in an event loop of its own, and gathers what it yields.

    By default with an empty body, and the context that `request()` or `response()` makes, by the function's name.
    `stop_after` closes the generator when it has yielded so many chunks, as when the client goes: GeneratorExit is
    raised at its `yield`. What the function raises is raised, but for Reject; ActionError where the gateway would
    answer `badAction`.
    """
    result: StreamResult = _run(collect_stream(function, chunks, ctx=ctx, params=params, stop_after=stop_after))
    return result


async def collect_stream(
    function: OnRequestStream | OnResponseStream,
    chunks: Stream | None = None,
    *,
    ctx: RequestContext | ResponseContext | None = None,
    params: Mapping[str, Any] | None = None,
    stop_after: int | None = None,
) -> StreamResult:
    """`run_stream` in the event loop that runs, for a test that is `async def`."""
    chunks = stream() if chunks is None else chunks
    context = streaming(ctx or _default_context(function), chunks)
    hook = STREAM_HOOKS[isinstance(context, ResponseStreamContext)]
    yielded: list[bytes] = []
    trailers, rejected = chunks.trailers, None
    running = _checked_stream(hook, function, context, chunks, checked_json(params or {}, "params"))
    async with aclosing(running):
        try:
            while stop_after is None or len(yielded) < stop_after:
                yielded.append(await anext(running))
        except StopAsyncIteration:
            trailers = chunks.end()
        except Reject as error:
            rejected = error.response
    return StreamResult(yielded, trailers, rejected)


def _default_context(function: object) -> RequestContext | ResponseContext:
    name = getattr(function, "__name__", "")
    if name not in STREAM_HOOKS:
        raise TypeError(f"expected `ctx`, or a function named {' or '.join(STREAM_HOOKS)}, got one named {name!r}")
    return response() if name == "on_response_stream" else request()


def header_blob(headers: HeaderLines) -> bytes:
    """Headers in the form that `gatewright.policy.Headers` parses."""
    lines = headers.items() if isinstance(headers, Mapping) else headers
    return b"".join(
        _raw(name).lower() + b"\0" + _raw(one) + b"\0"
        for name, value in lines
        for one in ([value] if isinstance(value, str | bytes) else value)
    )


@dataclass(frozen=True, slots=True)
class _Fields:
    request_id: bytes = b""
    method: bytes = b""
    path: bytes = b""
    query: bytes = b""
    scheme: bytes = b""
    authority: bytes = b""
    client_address: bytes = b""
    operation: bytes = b""
    request_headers: bytes = b""
    metadata: bytes = b""
    peer: bytes = b""
    upstream: bytes = b""
    traceparent: bytes = b""
    status: int = 0
    response_headers: bytes = b""


def _raw(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


_plain_request = request
