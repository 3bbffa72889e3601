"""Why an import, a preparation or an execution failed, in words for the log."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType

from sdk.policy import FailureClass

_HOST = str(Path(__file__).parent)


@dataclass(frozen=True, slots=True)
class Failure:
    """What Failure of python_executor.proto carries."""

    failure_class: FailureClass
    message: str  # expected, got, where, cure
    policy: str = ""  # name:version
    hook: str = ""  # on_request, on_response, prepare, get_policy, import


class PolicyError(Exception):
    """A policy did something that its contract forbids; the text says what was expected and what came."""

    def __init__(self, message: str, failure_class: FailureClass = FailureClass.BAD_ACTION) -> None:
        super().__init__(message)
        self.failure_class = failure_class


def classify(error: BaseException) -> FailureClass:
    """A policy's fault keeps its class; anything else that is raised, SystemExit included, is an exception."""
    return error.failure_class if isinstance(error, PolicyError) else FailureClass.EXCEPTION


def describe(error: BaseException) -> str:
    """One line: the exception, and the file and line it came from."""
    if isinstance(error, PolicyError):
        return str(error)
    text = "".join(traceback.format_exception_only(error)).strip().splitlines()
    what = text[-1] if text else type(error).__name__
    place = _syntax_place(error) if isinstance(error, SyntaxError) else _place(error)
    return f"{what} ({place})" if place else what


def policy_traceback(error: BaseException) -> str:
    """The traceback without the executor's own frames."""
    trace = traceback.TracebackException(type(error), error, _skip_host(error.__traceback__), max_group_width=3)
    return "".join(trace.format()).rstrip()


def _skip_host(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and not _is_policys(trace.tb_frame):
        trace = trace.tb_next
    return trace


def _place(error: BaseException) -> str:
    """The innermost frame that is the policy's, or of what the policy called."""
    place, trace = "", _skip_host(error.__traceback__)
    while trace is not None:
        if _is_policys(trace.tb_frame):
            place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _syntax_place(error: SyntaxError) -> str:
    return f"{error.filename}:{error.lineno}" if error.filename else _place(error)


def _is_policys(frame: FrameType) -> bool:
    name = frame.f_code.co_filename
    return not (name.startswith((_HOST, "<frozen importlib")) or name.endswith("importlib/__init__.py"))
