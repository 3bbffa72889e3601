"""For the tests of a policy: contexts without a gateway.

    from gatewright import testing

    policy = testing.load_policy(__file__)

    def test_it_adds_the_header() -> None:
        action = policy.on_request(testing.request(headers={"X-A": "b"}), testing.params(headerName="X-Policy"))

An `async def` policy is called with `asyncio.run(policy.on_request(…))`. What `prepare` makes is there within

    with testing.prepared(policy, testing.params()) as made:
        policy.on_request(testing.request(prepared=made), testing.params())
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from gatewright.action import check
from gatewright.lifetime import Lifetime, lifetime
from gatewright.metadata import checked_json
from gatewright.policy import HeaderValue, PolicyMetadata, RequestContext, ResponseContext

HOOKS = ("on_request", "on_response")
HeaderLines = Mapping[str, HeaderValue] | Iterable[tuple[str | bytes, str | bytes]]
"""Headers by name, or line by line."""


def load_policy(file: str) -> ModuleType:
    """The module policy.py in the folder of `file` (a test gives its `__file__`) or in the one above it.

    It is loaded anew, as a module of its own, wherever pytest runs; the modules beside it import as `from . import x`.
    What its on_request and on_response return is checked as the gateway does: ActionError (gatewright.action) where the
    gateway would answer `badAction`.
    """
    folders = [folder for folder in Path(file).resolve().parents[:2] if (folder / "policy.py").is_file()]
    if not folders:
        raise FileNotFoundError(f"expected policy.py beside {file}, or in the folder above, found none")
    name = "policy_of_" + "".join(char if char.isalnum() else "_" for char in folders[0].name)
    for stale in [module for module in sys.modules if module == name or module.startswith(f"{name}.")]:
        del sys.modules[stale]
    package = sys.modules[name] = ModuleType(name)
    package.__path__ = [str(folders[0])]
    module = importlib.import_module(f"{name}.policy")
    for hook in HOOKS:
        if callable(function := getattr(module, hook, None)):
            setattr(module, hook, _checked(hook, function))
    return module


def _checked(hook: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        action = function(*arguments)
        check(hook, action)
        return action

    @functools.wraps(function)
    async def call_async(*arguments: Any) -> Any:
        action = await function(*arguments)
        check(hook, action)
        return action

    return call_async if inspect.iscoroutinefunction(function) else call


def params(values: Mapping[str, Any] | None = None, /, **more: Any) -> dict[str, Any]:
    """Parameters as a gateway passes them: JSON values, read-only at any depth. Defaults are not applied."""
    checked: dict[str, Any] = checked_json({**(values or {}), **more}, "params")
    return checked


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


def _run(awaitable: Any) -> None:
    """Also inside a running loop, of which no second one may run in the same thread."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, _awaited(awaitable)).result()


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
    request_id: str = "test-request",
    operation: str = "",
    policy: PolicyMetadata | None = None,
    timeout: float = 1.0,
) -> RequestContext:
    """The context of an on_request.

    By default a GET of `/` on `http://localhost` from 127.0.0.1:40000 without headers and body, with the request id
    `test-request` and the metadata {}. `operation` defaults to the method and the path, `policy` to test:v0.0.0.
    `headers` are a mapping or (name, value) pairs; names are lower-cased. `timeout` is in seconds from now.
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
    status: int = 0
    response_headers: bytes = b""


def _raw(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


_plain_request = request
