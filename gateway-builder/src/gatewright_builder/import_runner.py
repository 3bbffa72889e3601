"""Run by the interpreter of a build's environment, never by the builder's: imports modules, says how each went.

    python -I -S -B import_runner.py PARENT_PID SECONDS FOLDER MODULE…

Writes JSON lines to stdout: {"module": "", "lacks"} at the beginning, its sandbox (import_sandbox.py) but for what
this kernel lacks; {"module"} before an import; {"module", "error", "kind", "missing", "refused", "file", "line"} after
one that failed, file and line being the last place below FOLDER that was reached, refused being "network" or "write"
where that is what it wanted; {"module", "error", "kind", "expected", "file", "line"} for a hook that the executor would
refuse; {"module": ""} at the end, which a module that ends the process does not let it reach. An import that takes
longer than SECONDS ends the process, with the stacks of its threads on stdout in faulthandler's words. So does the end
of the thread that started it. Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import faulthandler
import functools
import importlib
import inspect
import json
import os
import signal
import site
import sys
import traceback
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TextIO

END = ""
PR_SET_PDEATHSIG = 1
MOST_CAUSES = 20
HOOKS = {
    "on_request": ("ctx", "params"),
    "on_response": ("ctx", "params"),
    "on_request_stream": ("ctx", "chunks", "params"),
    "on_response_stream": ("ctx", "chunks", "params"),
    "setup": (),
    "prepare": ("params",),
    "close": ("prepared",),
}
NAMED = {"prepare": ("metadata", "shared"), "setup": ("system_params",)}  # passed as well to a function that names them


def main(parent: str, seconds: str, folder: str, *modules: str) -> None:
    """Imports each module with folder first on sys.path. What they print goes to stderr."""
    _end_with(int(parent))
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _say(report, {"module": END, "lacks": _confined()})
    site.main()  # not before: a package's .pth files run here
    sys.path.insert(0, folder)
    for module in modules:
        _say(report, {"module": module})
        faulthandler.dump_traceback_later(float(seconds), exit=True, file=report)
        try:
            imported = importlib.import_module(module)
        except BaseException as error:  # a policy may even exit
            _say(report, {"module": module} | _failure(error, folder))
            continue
        finally:
            faulthandler.cancel_dump_traceback_later()
        for hook in HOOKS:
            if wrong := _wrong(imported, hook, folder):
                _say(report, {"module": module, "kind": "hook"} | wrong)
    _say(report, {"module": END})
    os._exit(0)  # whatever else they have begun


def _confined() -> list[str]:
    """What does not sandbox this process, though it should. It may write where its temporary files belong."""
    loader = SourceFileLoader("import_sandbox", str(Path(__file__).with_name("import_sandbox.py")))
    sandbox = ModuleType(loader.name)
    loader.exec_module(sandbox)
    return list(sandbox.enter_sandbox(os.environ["TMPDIR"]))


def _end_with(parent: int) -> None:
    """Has the kernel kill this process when the one that wants to know ends (prctl(2), PR_SET_PDEATHSIG)."""
    with contextlib.suppress(OSError, AttributeError):  # another system than Linux
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        os._exit(1)


def _wrong(module: ModuleType, hook: str, folder: str) -> dict[str, object] | None:
    """What keeps the executor from calling a hook, however the module came by it."""
    function = getattr(module, hook, None)
    expected = f"{hook}({', '.join(HOOKS[hook])})"
    if function is None:
        return None
    if hook in NAMED:
        expected += f" or {hook}({', '.join(HOOKS[hook] + NAMED[hook])})"
    if not callable(function):
        return {"expected": f"a function {expected}", "error": f"{hook}: {type(function).__name__}"}
    if wrong := _wrong_kind(module, hook, function, expected):
        return wrong | _definition(function, folder)
    try:
        signature = inspect.signature(function)
        by_position, by_name = _call(signature, hook)
        signature.bind(*by_position, **by_name)
    except TypeError as error:
        got = f"{hook}{inspect.signature(function)}: {error}"
        return {"expected": expected, "error": got} | _definition(function, folder)
    except ValueError:  # written in C: it says itself what it does not like
        pass
    return None


def _call(signature: inspect.Signature, hook: str) -> tuple[list[str], dict[str, str]]:
    """What a hook is called with: its arguments, and of NAMED what it has an argument for."""
    by_position, by_name, named = [*HOOKS[hook]], {}, NAMED.get(hook, ())
    for parameter in [*signature.parameters.values()][len(by_position) :]:
        if parameter.name in named and parameter.kind is parameter.POSITIONAL_ONLY:
            by_position.append(parameter.name)
        elif parameter.name in named and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            by_name[parameter.name] = parameter.name
    return by_position, by_name


def _wrong_kind(module: ModuleType, hook: str, function: object, expected: str) -> dict[str, object] | None:
    if hook in NAMED:  # it may yield
        return None
    if hook == "close" and (wrong := _wrong_close(getattr(module, "prepare", None))):
        return wrong
    if hook.endswith("_stream"):
        got = _no_stream(function)
        return {"expected": f"{expected} to be an async generator", "error": got} if got else None
    if _yields(function):
        return {"expected": f"{expected} to return an action", "error": "a generator (it has a yield)"}
    return None


def _wrong_close(prepare: object) -> dict[str, object] | None:
    if prepare is None:
        return {"expected": "prepare(params) beside close(prepared)", "error": "no prepare"}
    if _yields(prepare):
        return {"expected": "close(prepared), or a prepare that yields", "error": "both"}
    return None


def _no_stream(function: object) -> str:
    """What a function is that is no asynchronous generator; "" for one that is."""
    is_plain = inspect.isroutine(function) or isinstance(function, functools.partial)
    target = function if is_plain else type(function).__call__
    if inspect.isasyncgenfunction(target):
        return ""
    if inspect.iscoroutinefunction(target):
        return "an `async def` without a `yield`"
    if inspect.isgeneratorfunction(target):
        return "a generator that is not async"
    return (
        "a plain function, which a decorator has made of one"
        if hasattr(function, "__wrapped__")
        else "a plain function"
    )


def _yields(function: object) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _definition(function: Callable[..., object], folder: str) -> dict[str, object]:
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None or not code.co_filename.startswith(folder + os.sep):
        return {}
    return {"file": os.path.relpath(code.co_filename, folder), "line": code.co_firstlineno}


def _failure(error: BaseException, folder: str) -> dict[str, object]:
    file, line = _place(error.__traceback__, folder)
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    kind, refused = type(error).__name__, _refused(error)
    return {"error": str(error), "kind": kind, "missing": missing, "refused": refused, "file": file, "line": line}


def _refused(error: BaseException | None) -> str:
    """Which of what this process is kept from is at the bottom of an error."""
    for _ in range(MOST_CAUSES):
        if isinstance(error, OSError):
            if error.errno == errno.ENETUNREACH or type(error).__name__ == "gaierror":
                return "network"
            if error.errno == errno.EACCES and _would_be_written(error.filename):
                return "write"
        error = error and (error.__cause__ or error.__context__)
    return ""


def _would_be_written(path: object) -> bool:
    """Whether it could be, by its permissions: these are not what refuses it."""
    if not isinstance(path, str):
        return False
    return os.access(path if os.path.lexists(path) else Path(path).parent, os.W_OK)


def _place(trace: TracebackType | None, folder: str) -> tuple[str | None, int | None]:
    frames = [frame for frame in traceback.extract_tb(trace) if frame.filename.startswith(folder + os.sep)]
    policies = f"{folder}{os.sep}policies{os.sep}"
    frames = [frame for frame in frames if frame.filename.startswith(policies)] or frames  # not the SDK, which raises
    if not frames:
        return None, None
    return os.path.relpath(frames[-1].filename, folder), frames[-1].lineno


def _say(report: TextIO, message: dict[str, object]) -> None:
    print(json.dumps(message), file=report, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
