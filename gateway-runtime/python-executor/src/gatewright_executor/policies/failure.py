"""Describes why an import, a preparation or an execution of a policy failed."""

from __future__ import annotations

import contextlib
import inspect
import re
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any

from gatewright import lifetime
from gatewright.action import ActionError
from gatewright.made_at import made_at
from gatewright.policy import FailureClass
from gatewright.store import StoreUnavailableError

from gatewright_executor.policies import source_paths
from gatewright_executor.policies.cures import cure

_FILE = re.compile(r'^([ |]*File )"([^"]+)"', re.MULTILINE)
DEEPEST = 30  # frames of a stack
_HOST = str(Path(__file__).parents[1]), contextlib.__file__, lifetime.__file__


@dataclass(frozen=True, slots=True)
class Failure:
    """The content of a Failure of python_executor.proto."""

    failure_class: FailureClass
    message: str  # expected, got, where, cure
    policy: str = ""  # name:version
    hook: str = ""  # on_request, on_response, prepare, get_policy, import
    logged: bool = False  # by this process, with a traceback
    file: str = ""  # the policy's file that raised; "" if it is not known
    line: int = 0


class PolicyError(Exception):
    """A policy has violated its contract; the text says what was expected and what it did. action: the value that it
    returned, if that is the violation.
    """

    def __init__(
        self, message: str, failure_class: FailureClass = FailureClass.BAD_ACTION, action: object = None
    ) -> None:
        super().__init__(message)
        self.failure_class, self.action = failure_class, action


def classify(error: BaseException) -> FailureClass:
    """The failure class of an error: that of a PolicyError, else `exception`, also for SystemExit.

    An ActionError that ctx.trailers raises within the policy is `badAction`. An error of the store is `unavailable`,
    since it is not the policy's fault.
    """
    if isinstance(error, ActionError):
        return FailureClass.BAD_ACTION
    if isinstance(error, StoreUnavailableError):
        return FailureClass.UNAVAILABLE
    return error.failure_class if isinstance(error, PolicyError) else FailureClass.EXCEPTION


def describe(error: BaseException) -> str:
    """One line: the exception, the file and line it came from, and the cure, if one is known; for a group, its first
    exception too.
    """
    if isinstance(error, PolicyError):
        return str(error)
    text = "".join(traceback.format_exception_only(error)).strip().splitlines()
    what = text[-1] if text else type(error).__name__
    if isinstance(error, BaseExceptionGroup):
        return f"{what}: {describe(error.exceptions[0])}"
    file, line = place(error)
    shown = f"{what} ({file}:{line})" if file else what
    return f"{shown}; {hint}" if (hint := cure(error)) else shown


def place(error: BaseException) -> tuple[str, int]:
    """The file and line that an exception came from, the file by its author's name; for a group, those of its first
    exception. "" and 0 if they are not known.
    """
    if isinstance(error, BaseExceptionGroup):
        return place(error.exceptions[0])
    if isinstance(error, SyntaxError) and error.filename:
        return source_paths.shown(error.filename), error.lineno or 0
    return _place(error)


def definition(function: Callable[..., object]) -> tuple[str, int]:
    """The file and line of a function's definition, the file by its author's name; "" and 0 for code of no policy."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if not isinstance(code, CodeType) or not source_paths.is_authors(code.co_filename):
        return "", 0
    return source_paths.shown(code.co_filename), code.co_firstlineno


def construction(error: BaseException) -> tuple[str, int]:
    """The file and line that made a refused action, the file by its author's name; "" and 0 if they are not known, or
    not in a policy's code."""
    file, line = made_at(error.action) if isinstance(error, PolicyError) else ("", 0)
    return (source_paths.shown(file), line) if file and source_paths.is_authors(file) else ("", 0)


def policy_traceback(error: BaseException) -> str:
    """The traceback without the executor's own frames, with the file names of the policy's author."""
    trace = traceback.TracebackException(type(error), error, _skip_host(error.__traceback__), max_group_width=3)
    text = "".join(trace.format()).rstrip()
    return _FILE.sub(lambda match: f'{match[1]}"{source_paths.shown(match[2])}"', text)


@dataclass(frozen=True, slots=True)
class Where:
    """The place that a policy's code has reached. Both are "" if it is not known."""

    place: str = ""  # FILE:LINE, the innermost in the policy's code
    stack: str = ""  # a traceback from the policy's outermost frame on

    @property
    def file_and_line(self) -> tuple[str, int]:
        """The file and line for a Failure; "" and 0 if they are not known."""
        file, _, line = self.place.rpartition(":")
        return file, int(line or 0)


def policy_stack(frame: FrameType | None) -> Where:
    """The place of a thread that runs a policy's code."""
    return _stack(reversed([*traceback.walk_stack(frame)]) if frame is not None else [])


def coroutine_stack(coroutine: object) -> Where:
    """The place where a coroutine waits, from itself to the innermost awaitable."""
    frames = []
    while coroutine is not None:
        frame = _first(coroutine, "cr_frame", "ag_frame", "gi_frame")
        if frame is not None:
            frames.append((frame, frame.f_lineno))
        coroutine = _first(coroutine, "cr_await", "ag_await", "gi_yieldfrom")
    return _stack(frames)


def _first(owner: object, *names: str) -> Any:
    """The first of these attributes that the owner has; None if it has none."""
    return next((value for name in names if (value := getattr(owner, name, None)) is not None), None)


def _stack(frames: Iterable[tuple[FrameType, int]]) -> Where:
    """The stack from the policy's outermost frame on; without one, from the function that the executor has called."""
    shown: list[tuple[FrameType, int]] = []
    for frame, line in frames:
        shown = [*shown, (frame, line)] if _is_policys(frame) else []
    if not shown:
        return Where()
    own = [at for at, (frame, _) in enumerate(shown) if source_paths.is_authors(frame.f_code.co_filename)]
    inner, line = shown[own[-1] if own else -1]
    summary = traceback.StackSummary.extract(iter(shown[own[0] if own else 0 :][-DEEPEST:]))
    text = "Stack (most recent call last):\n" + "".join(summary.format()).rstrip()
    text = _FILE.sub(lambda match: f'{match[1]}"{source_paths.shown(match[2])}"', text)
    return Where(f"{source_paths.shown(inner.f_code.co_filename)}:{line}", text)


def _skip_host(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and not _is_policys(trace.tb_frame):
        trace = trace.tb_next
    return trace


def _place(error: BaseException) -> tuple[str, int]:
    """The innermost line in a policy's own file; without one, the innermost outside of the executor."""
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)
              if _is_policys(frame)]  # fmt: skip
    own = [(file, line) for file, line in frames if source_paths.is_authors(file)] or frames
    return (source_paths.shown(own[-1][0]), own[-1][1]) if own else ("", 0)


def _is_policys(frame: FrameType) -> bool:
    name = frame.f_code.co_filename
    return not (name.startswith((*_HOST, "<frozen importlib")) or name.endswith("importlib/__init__.py"))
