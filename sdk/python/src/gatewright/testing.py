"""For the tests of a policy: contexts without a gateway.

    from gatewright import testing

    policy = testing.load_policy(__file__)

    def test_it_adds_the_header() -> None:
        action = policy.on_request(testing.request(headers={"X-A": "b"}), testing.params(headerName="X-Policy"))

An `async def` policy is called with `asyncio.run(policy.on_request(…))`. `testing.prepared` calls `prepare`, and closes
what it made:

    with testing.prepared(policy, testing.params()) as made:
        policy.on_request(testing.request(prepared=made), testing.params())

A policy that streams is run to its end, with the body cut in any way:

    result = testing.run_stream(policy.on_response_stream, testing.stream(b"a secret", sizes=[1, 3]))
    assert result.body == b"a ******"

An exchange that a gateway has recorded is replayed, and compared with what was recorded:

    assert not testing.replay("login.exchange.json", policy).differences

A metric of `sdk.metrics` can be read:

    assert policy.REFUSED.value(reason="expired") == 1

A test moves the time of `sdk.clock`, and the work of `sdk.background` runs as it moves:

    with testing.clock() as clock, testing.prepared(policy, params) as made:
        clock.advance(300)

Entries of `sdk.store` are in memory, and expire as the clock is moved; `away` makes the store unavailable:

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
    JsonValue,
    OnRequestStream,
    OnResponseStream,
    PolicyMetadata,
    Reject,
    RequestContext,
    ResponseContext,
    ResponseStreamContext,
    Trailers,
    touched_analytics,
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

    Each call loads it anew, as a module of its own; the modules beside it are imported as `from . import x`. Two test
    files that load one policy have a module each, with its own metrics.
    Values that its functions return and yield are checked like in the gateway: ActionError (gatewright.action) is
    raised for what the gateway would answer with `badAction`.
    """
    folders = [folder for folder in Path(file).resolve().parents[:2] if (folder / "policy.py").is_file()]
    if not folders:
        raise FileNotFoundError(f"expected policy.py beside {file}, or in the folder above, found none")
    first = "policy_of_" + "".join(char if char.isalnum() else "_" for char in folders[0].name)
    numbered = (f"{first}_{number}" for number in itertools.count(2))
    name = next(name for name in itertools.chain([first], numbered) if name not in sys.modules)
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
        with _explain_missing_prepared(prepares, *arguments):
            returned = function(*arguments)
        action.check(hook, returned)
        return returned

    @functools.wraps(function)
    async def call_async(*arguments: Any) -> Any:
        with _explain_missing_prepared(prepares, *arguments):
            returned = await function(*arguments)
        action.check(hook, returned)
        return returned

    return call_async if inspect.iscoroutinefunction(function) else call


@contextmanager
def _explain_missing_prepared(prepares: bool, *arguments: Any) -> Iterator[None]:
    """Explains an AttributeError or TypeError of a policy that has a `prepare` and is called without its value."""
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
    """Parameters as a gateway passes them: JSON values, read-only at any depth, and Secrets, made by `secret`.

    With a policy that `load_policy` has loaded, `testing.params(policy, url="…")`, they are checked like those of an
    API: the definition's defaults are filled in, and ValueError says what its schema refuses. That needs the gateway's
    packages beside the tests. Without a policy, defaults are not applied and nothing is checked.
    """
    if isinstance(values, ModuleType):
        more = params_of_definition(Path(str(values.__file__)).parent, more)
        values = None
    checked: dict[str, Any] = checked_params({**(values or {}), **more}, "params")
    return checked


def secret(text: str, *, name: str = "") -> Secret:
    """The value of a parameter with `format: secret`: `testing.params(key=testing.secret("abc"))`.

    name: the name of the secret reference in an API; "" if the API has the text itself.
    """
    return Secret(text, name)


def metric(policy: ModuleType, name: str) -> Any:
    """The Counter, Gauge or Histogram of a policy that `load_policy` has loaded, in whichever module it was made.
    KeyError: there is none of that name.

    `value(reason="expired")` returns its value, `count(…)` and `sum(…)` those of a histogram.
    """
    metrics = {metric.name: metric for metric in registry.of(_package(policy))}
    if name not in metrics:
        raise KeyError(f"expected a metric of the policy, {', '.join(sorted(metrics)) or 'which has none'}, got {name}")
    return metrics[name]


def reset_metrics(policy: ModuleType) -> None:
    """Sets all metrics of a policy that `load_policy` has loaded to 0."""
    for metric in registry.of(_package(policy)):
        metric.reset()


def _package(policy: ModuleType) -> str:
    return policy.__name__.partition(".")[0]


def prepared(
    policy: ModuleType,
    params: dict[str, Any] | None = None,
    metadata: PolicyMetadata | None = None,
    *,
    shared: Any = None,
) -> Prepared:
    """A context manager for the value that the policy's `prepare` makes: it calls `prepare` when it is entered, and
    `close`, or the code after the yield, when it is left. Without a `prepare` the value is None.

    If `prepare` is `async def`, write `async with`, in the event loop of the requests; else either will do.
    `shared` is the argument `shared` of `prepare`, if it has one: see `setup`.
    """
    prepare, close = getattr(policy, "prepare", None), getattr(policy, "close", None)
    metadata = metadata or PolicyMetadata("test", "v0.0.0")
    return Prepared(lifetime(prepare, close, checked_params(params or {}, "params"), metadata, _run, shared), "prepare")


def setup(policy: ModuleType, system_params: dict[str, Any] | None = None) -> Prepared:
    """A context manager for the value that the policy's `setup` makes, like `prepared`. Without a `setup` the value is
    None.

    with testing.setup(policy) as shared, testing.prepared(policy, params, shared=shared) as made:
        policy.on_request(testing.request(prepared=made, shared=shared), params)
    """
    function = getattr(policy, "setup", None)
    return Prepared(shared_lifetime(function, checked_params(system_params or {}, "system_params")), "setup")


class Prepared:
    """The context manager that `prepared` and `setup` return."""

    def __init__(self, lifetime: Lifetime, function: str) -> None:
        self._lifetime, self._function = lifetime, function

    def __enter__(self) -> Any:
        if not isinstance(self._lifetime, AbstractContextManager):
            name = "prepared" if self._function == "prepare" else self._function
            raise TypeError(f"expected `async with testing.{name}(…)`, since {self._function} is async; got `with`")
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
    """Runs the awaitable in a thread of its own, since the caller's may have a running event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, _await(awaitable)).result()


async def _await(awaitable: Any) -> Any:
    return await awaitable


# ------------------------------------------------------------------ streams


@dataclass(frozen=True, slots=True)
class StreamResult:
    """The result of a stream."""

    chunks: list[bytes] = field(default_factory=list)
    """The chunks as they were yielded, empty ones included. A gateway joins and cuts them."""
    trailers: Trailers = field(default_factory=Trailers)
    """The trailers that the receiver gets: none if `stream` was made without."""
    rejected: ImmediateResponse | None = None
    """The response of a Reject. The client gets it if no chunk was yielded before; else the gateway resets the stream.
    """
    analytics: Mapping[str, JsonValue] = field(default_factory=dict)
    """What the stream leaves for the access log: empty if it was rejected or stopped."""

    @property
    def body(self) -> bytes:
        """All chunks joined."""
        return b"".join(self.chunks)


def run_stream(
    function: OnRequestStream | OnResponseStream,
    chunks: Stream | None = None,
    *,
    ctx: RequestContext | ResponseContext | None = None,
    params: Mapping[str, Any] | None = None,
    stop_after: int | None = None,
) -> StreamResult:
    """Runs an on_request_stream or on_response_stream, in an event loop of its own, and collects its chunks.

    By default the body is empty, and the context is that of `request()` or `response()`, by the function's name.
    `stop_after` closes the generator when it has yielded so many chunks, as if the client disconnected: its `yield`
    raises GeneratorExit. Exceptions of the function other than Reject are raised; ActionError is raised for what the
    gateway would answer with `badAction`.
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
    """`run_stream` in the running event loop, for a test that is `async def`."""
    chunks = stream() if chunks is None else chunks
    context = streaming(ctx or _default_context(function), chunks)
    hook = STREAM_HOOKS[isinstance(context, ResponseStreamContext)]
    yielded: list[bytes] = []
    trailers, rejected = chunks.trailers, None
    left: dict[str, JsonValue] = {}
    running = _checked_stream(hook, function, context, chunks, checked_params(params or {}, "params"))
    async with aclosing(running):
        try:
            while stop_after is None or len(yielded) < stop_after:
                yielded.append(await anext(running))
        except StopAsyncIteration:
            trailers = chunks.end()
            left = action.stream_analytics(touched_analytics(context))
        except Reject as error:
            rejected = error.response
    return StreamResult(yielded, trailers, rejected, left)


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

    `exchange` is a file of `gatewright record`, relative to the working directory or to the test, or its JSON object;
    `policy` is a module of `load_policy`, by default that of the test's folder. If the recording has no execution of
    the policy, the policy is run on the client's request and the upstream's response. `index` selects one attachment,
    by its position in the recording's `policies`.

    `params` are the attachment's, which no recording has; defaults are not applied. Supply values that were taken out
    of the recording, and bodies that were cut: `headers={"authorization": "Bearer abc"}`, `query`, `body`, `metadata`,
    `response_headers`, `response_body`. Other values remain `[redacted]`, and `warnings` name them. `definition` is the
    policy's definition, parsed, if its policy-definition.yaml is elsewhere.

    IncompleteRecordingError names a member that the policy needs and the recording lacks; or says that the recorded
    exchange ended before the policy's turn.
    """
    caller = sys._getframe(1).f_globals.get("__file__", "")
    module = policy or load_policy(caller)
    folder = Path(module.__file__ or "").parent
    parsed = read_definition(folder / DEFINITION) if definition is None else PolicyDefinition.from_document(definition)
    candidate = Candidate(module, parsed, dict(params or {}), folder, dict(system_params or {}), timeout)
    supplied = Supplied(headers or {}, query, body, metadata or {}, response_headers or {}, response_body)
    recording = Recording.read(_beside(exchange, caller))
    result = run(recording, candidate, supplied, index)
    if all(execution.skipped for execution in result.executions):
        why = result.executions[0].skipped if result.executions else "the exchange ended before its turn"
        raise recording.incomplete("executions", f"a turn of {candidate.key}", f"there is none to compare: {why}")
    return result


def _beside(exchange: str | Path | Mapping[str, Any], caller: str) -> str | Path | Mapping[str, Any]:
    """The file beside the test, if there is none of that name in the working directory."""
    if isinstance(exchange, Mapping) or Path(exchange).exists():
        return exchange
    beside = Path(caller).parent / exchange
    return beside if beside.exists() else exchange
