"""Finds each policy of the generated registry, imports it and checks its functions.

A policy that cannot be loaded is a `LoadedPolicy` with a failure; the others are served.
"""

from __future__ import annotations

import contextvars
import dataclasses
import functools
import importlib
import importlib.util
import inspect
import logging
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from gatewright import lifetime

from gatewright_executor import logs
from gatewright_executor.policies import source_paths
from gatewright_executor.policies.failure import Failure, PolicyError, classify, describe, policy_traceback

REGISTRY = "python_policy_registry"
CALL = ("ctx", "params")  # the arguments of a hook
STREAM_CALL = ("ctx", "chunks", "params")  # the arguments of a hook that streams
Function: TypeAlias = Callable[..., Any]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Hook:
    """A function of a policy that the executor calls."""

    name: str
    function: Function
    is_coroutine: bool = False  # it runs on an event loop


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy of the registry, as its module defines it."""

    name: str
    version: str
    on_request: Hook | None = None
    on_response: Hook | None = None
    on_request_stream: Hook | None = None
    on_response_stream: Hook | None = None
    setup: Hook | None = None  # makes the value that its instances share
    prepare: Hook | None = None
    close: Hook | None = None  # closes the value that `prepare` returned
    get_policy: Hook | None = None  # deprecated: makes an object that has the hooks
    failure: Failure | None = None  # why it cannot be used

    @property
    def key(self) -> str:
        """name:version."""
        return f"{self.name}:{self.version}"

    @property
    def hooks(self) -> list[Hook]:
        """The hooks that executions call."""
        hooks = self.on_request, self.on_response, self.on_request_stream, self.on_response_stream
        return [hook for hook in hooks if hook is not None]


class RegistryError(Exception):
    """The registry file is missing or invalid."""


def read_registry(file: Path) -> dict[str, str]:
    """PYTHON_POLICIES of the generated file. Its folder is added to sys.path, since the policies are beside it.

    From now on messages name the policies' files by its POLICY_SOURCES.
    """
    if not file.is_file():
        raise RegistryError(f"expected the generated {REGISTRY}.py at {file}, found no file. Name it with --registry")
    sys.path.insert(0, str(file.parent))
    module = _module_of(file)
    policies = getattr(module, "PYTHON_POLICIES", None)
    if not isinstance(policies, dict) or not all(isinstance(text, str) for pair in policies.items() for text in pair):
        raise RegistryError(f"expected PYTHON_POLICIES: dict[str, str] in {file}, got {policies!r:.80}")
    source_paths.learn(getattr(module, "POLICY_SOURCES", {}))
    return policies


def _module_of(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(REGISTRY, file)
    if spec is None or spec.loader is None:
        raise RegistryError(f"expected a Python file, got {file}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_all(registry: Mapping[str, str], begin: Callable[[str], None] = lambda _: None) -> dict[str, LoadedPolicy]:
    """Loads each policy of a registry "name:version" → module. Returns them, or their failures, by "name:version".

    `begin` is called with the name:version before each import.
    """
    loaded = {}
    for key, module in sorted(registry.items()):
        begin(key)
        loaded[key] = contextvars.Context().run(load, key, module)
    return loaded


def load(key: str, module: str) -> LoadedPolicy:
    """Loads one policy. Any exception of its module, even SystemExit, becomes the policy's failure."""
    name, _, version = key.partition(":")
    origin = logs.PolicyOrigin(key)
    logs.current.set(origin)
    try:
        loaded = _inspect(name, version, importlib.import_module(module))
    except BaseException as error:  # an import may raise anything, and the other policies must be served
        failure = Failure(classify(error), describe(error), key, "import")
        log.error("policy not loaded: %s", failure.message, extra={"trace": policy_traceback(error)})
        loaded = LoadedPolicy(name, version, failure=failure)
    logs.flush_partial(origin)
    return loaded


def _inspect(name: str, version: str, module: ModuleType) -> LoadedPolicy:
    file = source_paths.shown(str(module.__file__))
    prepare = find_hook(module, "prepare", lifetime.PREPARE[0], file, lifetime.PREPARE[1])
    loaded = LoadedPolicy(
        name,
        version,
        on_request=find_hook(module, "on_request", CALL, file),
        on_response=find_hook(module, "on_response", CALL, file),
        on_request_stream=find_stream(module, "on_request_stream", file),
        on_response_stream=find_stream(module, "on_response_stream", file),
        setup=find_hook(module, "setup", lifetime.SETUP[0], file, lifetime.SETUP[1]),
        prepare=prepare,
        close=_find_close(module, prepare, file),
        get_policy=find_hook(module, "get_policy", ("metadata", "params"), file),
    )
    if loaded.hooks:
        return dataclasses.replace(loaded, get_policy=None)
    if loaded.get_policy is None:
        raise PolicyError(
            "expected a function on_request(ctx, params), on_response(ctx, params), on_request_stream(ctx, chunks, "
            f"params) or on_response_stream(ctx, chunks, params), found none in {file}"
        )
    _deprecate(loaded.key, loaded.get_policy, file)
    return loaded


def _find_close(module: ModuleType, prepare: Hook | None, file: str) -> Hook | None:
    close = find_hook(module, "close", ("prepared",), file)
    if close is not None and prepare is None:
        expected = "expected prepare(params) beside close(prepared), which closes its return value, got none"
        raise PolicyError(f"{expected}; write it, or give close another name ({_place(close.function, file)})")
    if close is not None and prepare is not None and _yields(prepare.function):
        expected = "expected close(prepared), or a prepare that yields, got both"
        raise PolicyError(f"{expected}; write the code that closes after the yield ({_place(close.function, file)})")
    return close


def find_hook(
    owner: object, name: str, arguments: tuple[str, ...], file: str, named: tuple[str, ...] = ()
) -> Hook | None:
    """The checked function `name` of a module or an object; None if there is none.

    named: arguments that it may have by name beside `arguments`. A hook with such arguments may yield.
    """
    function = getattr(owner, name, None)
    if function is None:
        return None
    choices = (arguments, arguments + named) if named else (arguments,)
    wanted = " or ".join(f"{name}({', '.join(choice)})" for choice in choices)
    if not callable(function):
        raise PolicyError(f"expected a function {wanted}, got {type(function).__name__} ({file})")
    target = _called(function)
    if _yields(target) and not named:
        raise PolicyError(f"expected {wanted} to return an action, got a generator ({_place(target, file)})")
    _check_signature(function, wanted, arguments, _place(target, file), named)
    return Hook(name, function, inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target))


def find_stream(owner: object, name: str, file: str) -> Hook | None:
    """The checked async generator function `name` of a module; None if there is none."""
    function = getattr(owner, name, None)
    if function is None:
        return None
    wanted = f"{name}({', '.join(STREAM_CALL)})"
    expected, cure = f"expected {wanted} to be an async generator function", "write `async def` with a `yield` in it"
    if not callable(function):
        raise PolicyError(f"{expected}, got {type(function).__name__} ({file}); {cure}")
    target = _called(function)
    if not inspect.isasyncgenfunction(target):
        if hasattr(function, "__wrapped__"):
            cure = "have its decorator return an async generator function"
        raise PolicyError(f"{expected}, got {_kind(target)} ({_place(target, file)}); {cure}")
    _check_signature(function, wanted, STREAM_CALL, _place(target, file))
    return Hook(name, function, is_coroutine=True)


def _called(function: Function) -> Function:
    """The function that runs when `function` is called: for an object, its method."""
    is_plain = inspect.isroutine(function) or isinstance(function, functools.partial)
    return function if is_plain else type(function).__call__


def _kind(function: Function) -> str:
    if inspect.iscoroutinefunction(function):
        return "an async function without a yield"
    if inspect.isgeneratorfunction(function):
        return "a generator function that is not async"
    if hasattr(function, "__wrapped__"):
        return "a plain function, which a decorator has made of one"
    return "a plain function"


def _yields(function: Function) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _check_signature(
    function: Function, wanted: str, arguments: tuple[str, ...], place: str, named: tuple[str, ...] = ()
) -> None:
    try:
        lifetime.with_arguments(function, arguments, dict.fromkeys(named))
    except TypeError as error:
        got = f"{wanted.partition('(')[0]}{inspect.signature(function)}"
        raise PolicyError(f"expected a function {wanted}, got {got}: {error} ({place})") from None


def placed(error: BaseException, hook: Hook | None) -> BaseException:
    """Adds the place of prepare or setup to an error about the whole function, which has no line of its own."""
    if isinstance(error, lifetime.LifetimeError) and hook is not None:
        return PolicyError(f"{error} ({_place(hook.function, '')})")
    return error


def _place(function: Function, file: str) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{source_paths.shown(code.co_filename)}:{code.co_firstlineno}" if code else f"{file}:1"


def _deprecate(key: str, hook: Hook, file: str) -> None:
    place, _, line = _place(hook.function, file).rpartition(":")
    warnings.warn_explicit(
        f"policy {key} uses get_policy, which is deprecated: write on_request and on_response as functions of the "
        f"module, and prepare(params) to make values once ({place}:{line})",
        DeprecationWarning,
        place,
        int(line),
    )
