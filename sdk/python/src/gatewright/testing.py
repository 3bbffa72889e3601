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

An exchange that a gateway has recorded is replayed, and compared with what was recorded:

    assert not testing.replay("login.exchange.json", policy).differences

What a policy has counted by `sdk.metrics` can be read:

    assert policy.REFUSED.value(reason="expired") == 1

Time is moved by hand where the policy asks `sdk.clock` for it, and what `sdk.background` repeats runs as it moves:

    with testing.clock() as clock, testing.prepared(policy, params) as made:
        clock.advance(300)

What it keeps in `sdk.store` is in memory, and ends as the clock is moved; `away` makes it unavailable:

    with testing.store() as store, testing.prepared(policy, params) as made:
        store.away = True
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import itertools
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from gatewright import action
from gatewright.definition import PolicyDefinition
from gatewright.kit.contexts import HeaderLines, Stream, header_blob, request, response, stream, streaming
from gatewright.kit.definition_params import params_of_definition
from gatewright.kit.moved_clock import MovedClock, clock
from gatewright.kit.recording import IncompleteRecordingError, Recording, Supplied
from gatewright.kit.replay import Candidate, Replay, ReplayedExecution, read_definition, run
from gatewright.kit.store_in_memory import StoreInMemory
from gatewright.kit.store_in_memory import in_memory as store
from gatewright.lifetime import Lifetime, lifetime, shared_lifetime
from gatewright.metadata import checked_params
from gatewright.metrics import registry
from gatewright.policy import (
    ImmediateResponse,
    OnRequestStream,
    OnResponseStream,
    PolicyMetadata,
    Reject,
    RequestContext,
    ResponseContext,
    ResponseStreamContext,
    Trailers,
)
from gatewright.secrets import Secret

__all__ = [
    "HOOKS",
    "STREAM_HOOKS",
    "HeaderLines",
    "IncompleteRecordingError",
    "MovedClock",
    "Prepared",
    "Replay",
    "ReplayedExecution",
    "StoreInMemory",
    "Stream",
    "StreamResult",
    "clock",
    "collect_stream",
    "header_blob",
    "load_policy",
    "metric",
    "params",
    "prepared",
    "replay",
    "request",
    "reset_metrics",
    "response",
    "run_stream",
    "secret",
    "setup",
    "store",
    "stream",
    "streaming",
]

HOOKS = ("on_request", "on_response")
WITHOUT_PREPARED = (
    "ctx.prepared is None, and the policy has a prepare: write `with testing.prepared(policy, params) as made:`, and "
    "in it testing.request(prepared=made)"
)
STREAM_HOOKS = ("on_request_stream", "on_response_stream")


def load_policy(file: str) -> ModuleType:
    """The module policy.py in the folder of `file` (a test gives its `__file__`) or in the one above it.

    It is loaded anew, as a module of its own, wherever pytest runs; the modules beside it import as `from . import x`.
    Two test files that load one policy have a module each, with metrics of its own.
    What its functions return and yield is checked as the gateway does: ActionError (gatewright.action) where the
    gateway would answer `badAction`.
    """
    folders = [folder for folder in Path(file).resolve().parents[:2] if (folder / "policy.py").is_file()]
    if not folders:
        raise FileNotFoundError(f"expected policy.py beside {file}, or in the folder above, found none")
    named = "policy_of_" + "".join(char if char.isalnum() else "_" for char in folders[0].name)
    numbered = (f"{named}_{number}" for number in itertools.count(2))
    name = next(name for name in itertools.chain([named], numbered) if name not in sys.modules)
    package = sys.modules[name] = ModuleType(name)
    package.__path__ = [str(folders[0])]
    module = importlib.import_module(f"{name}.policy")
    for hook in HOOKS:
        if callable(function := getattr(module, hook, None)):
            setattr(module, hook, _checked(hook, function, callable(getattr(module, "prepare", None))))
    for hook in STREAM_HOOKS:
        if callable(function := getattr(module, hook, None)):
            setattr(module, hook, functools.wraps(function)(functools.partial(_checked_stream, hook, function)))
    return module


def _checked(hook: str, function: Callable[..., Any], prepares: bool) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        with _prepared_named(prepares, *arguments):
            returned = function(*arguments)
        action.check(hook, returned)
        return returned

    @functools.wraps(function)
    async def call_async(*arguments: Any) -> Any:
        with _prepared_named(prepares, *arguments):
            returned = await function(*arguments)
        action.check(hook, returned)
        return returned

    return call_async if inspect.iscoroutinefunction(function) else call


@contextmanager
def _prepared_named(prepares: bool, *arguments: Any) -> Iterator[None]:
    """Says what is missing, where a policy that has a prepare is called without what that makes."""
    try:
        yield
    except (AttributeError, TypeError) as error:
        if prepares and "'NoneType'" in str(error) and getattr(arguments[0], "prepared", ...) is None:
            error.add_note(WITHOUT_PREPARED)
        raise


async def _checked_stream(hook: str, function: Callable[..., Any], *arguments: Any) -> AsyncGenerator[bytes, None]:
    async with aclosing(action.stream(hook, function(*arguments))) as yielded:
        try:
            async for chunk in yielded:
                yield action.chunk(chunk)
        except Reject as error:
            action.rejection(error)
            raise


def params(values: ModuleType | Mapping[str, Any] | None = None, /, **more: Any) -> dict[str, Any]:
    """Parameters as a gateway passes them: JSON values, read-only at any depth, and Secrets, as `secret` makes them.

    With a policy that `load_policy` has loaded, `testing.params(policy, url="…")`, they are those of an API: the
    definition's defaults are filled in, and ValueError says what its schema does not take. That needs the gateway's
    packages beside the tests. Without one, defaults are not applied, and any values are taken.
    """
    if isinstance(values, ModuleType):
        more = params_of_definition(Path(str(values.__file__)).parent, more)
        values = None
    checked: dict[str, Any] = checked_params({**(values or {}), **more}, "params")
    return checked


def secret(text: str, *, name: str = "") -> Secret:
    """What a policy is given where its definition says `format: secret`: `testing.params(key=testing.secret("abc"))`.

    name: by which an API names it; "" where the API has the text itself.
    """
    return Secret(text, name)


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
    policy: ModuleType,
    params: dict[str, Any] | None = None,
    metadata: PolicyMetadata | None = None,
    *,
    shared: Any = None,
) -> Prepared:
    """What the policy's `prepare` makes of the parameters, and its end, in a `with` statement: `prepare` is called when
    that is entered, and `close`, or what follows the yield, when it is left. Without a `prepare` it is None.

    A policy that prepares by `async def` needs `async with`, in the event loop of its requests; the others take both.
    `shared` is what a `prepare` that asks for it is given: see `setup`.
    """
    prepare, close = getattr(policy, "prepare", None), getattr(policy, "close", None)
    about = metadata or PolicyMetadata("test", "v0.0.0")
    return Prepared(lifetime(prepare, close, checked_params(params or {}, "params"), about, _run, shared), "prepare")


def setup(policy: ModuleType, system_params: dict[str, Any] | None = None) -> Prepared:
    """What the policy's `setup` makes, and its end, in a `with` statement as `prepared` is. Without a `setup` it is
    None.

    with testing.setup(policy) as shared, testing.prepared(policy, params, shared=shared) as made:
        policy.on_request(testing.request(prepared=made, shared=shared), params)
    """
    function = getattr(policy, "setup", None)
    return Prepared(shared_lifetime(function, checked_params(system_params or {}, "system_params")), "setup")


class Prepared:
    """What `prepared` and `setup` return."""

    def __init__(self, made: Lifetime, function: str) -> None:
        self._lifetime, self._function = made, function

    def __enter__(self) -> Any:
        if not isinstance(self._lifetime, AbstractContextManager):
            of = "prepared" if self._function == "prepare" else self._function
            raise TypeError(f"expected `async with testing.{of}(…)`, since {self._function} is async; got `with`")
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


# ------------------------------------------------------------------ streams


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
    running = _checked_stream(hook, function, context, chunks, checked_params(params or {}, "params"))
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


# ------------------------------------------------------------------ replay

DEFINITION = "policy-definition.yaml"


def replay(
    exchange: str | Path | Mapping[str, Any],
    policy: ModuleType | None = None,
    *,
    params: Mapping[str, Any] | None = None,
    index: int | None = None,
    headers: Mapping[str, str] | None = None,
    query: str | None = None,
    body: bytes | str | None = None,
    metadata: Mapping[str, Any] | None = None,
    response_headers: Mapping[str, str] | None = None,
    response_body: bytes | str | None = None,
    definition: Mapping[str, Any] | None = None,
    system_params: Mapping[str, Any] | None = None,
    timeout: float = 1.0,
) -> Replay:
    """Runs a policy on a recorded exchange as the engine would, in each of its turns, and compares with the recording.

    `exchange` is a file of `gatewright record`, relative to here or to the test, or its JSON object; `policy` what
    `load_policy` has loaded, by default that of the test's folder. Where the recording has no execution of the policy
    it is run on the client's request and the upstream's response. With `index`, a position in the recording's
    `policies`, only the attachment that is there.

    `params` are the attachment's, which no recording has; defaults are not applied. Values that were taken out of the
    recording, and bodies that were cut, are supplied: `headers={"authorization": "Bearer abc"}`, `query`, `body`,
    `metadata`, `response_headers`, `response_body`. What is not stands there as `[redacted]`, and `warnings` name it.
    `definition` is the policy's, as parsed, where its policy-definition.yaml is elsewhere.

    IncompleteRecordingError names a member that the policy would need and the recording has not; or says that the chain
    has the policy, and it had no turn.
    """
    caller = sys._getframe(1).f_globals.get("__file__", "")
    module = policy or load_policy(caller)
    folder = Path(module.__file__ or "").parent
    found = read_definition(folder / DEFINITION) if definition is None else PolicyDefinition.from_document(definition)
    candidate = Candidate(module, found, dict(params or {}), folder, dict(system_params or {}), timeout)
    supplied = Supplied(headers or {}, query, body, metadata or {}, response_headers or {}, response_body)
    recording = Recording.read(_beside(exchange, caller))
    result = run(recording, candidate, supplied, index)
    if all(one.skipped for one in result.executions):
        why = result.executions[0].skipped if result.executions else "the exchange ended before its turn"
        raise recording.incomplete("executions", f"a turn of {candidate.key}", f"there is none to compare: {why}")
    return result


def _beside(exchange: str | Path | Mapping[str, Any], caller: str) -> str | Path | Mapping[str, Any]:
    """The file beside the test, where there is none of that name here."""
    if isinstance(exchange, Mapping) or Path(exchange).exists():
        return exchange
    beside = Path(caller).parent / exchange
    return beside if beside.exists() else exchange
