"""Threads and tasks that policies start. Their log lines name the policy and the request that started them, and an
uncaught exception is logged as one record.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any

from gatewright_executor import logs
from gatewright_executor.critical_thread import CriticalThread

log = logging.getLogger(__name__)
_start = threading.Thread.start


class StartedBy(logs.PolicyOrigin):
    """The origin of a thread: that of the code which started it, without the execution, which may end before."""

    def __init__(self, origin: logs.Origin) -> None:
        super().__init__(origin.policy)
        self.request_id, self.traceparent = origin.request_id, origin.traceparent


def set_up() -> None:
    """Installs the handlers in this process."""
    threading.Thread.start = _start_tied  # type: ignore[method-assign, assignment]
    threading.excepthook = _log_exception


def _start_tied(thread: threading.Thread) -> None:
    """Starts a thread with the origin of the code that starts it, since a new thread's context is empty. The executor's
    own threads have no origin."""
    origin = logs.current.get()
    if origin is not None and not isinstance(thread, CriticalThread):
        thread.run = partial(_run_tied, thread, thread.run, StartedBy(origin))  # type: ignore[method-assign]
    _start(thread)


def _run_tied(thread: threading.Thread, run: Callable[[], None], origin: StartedBy) -> None:
    vars(thread).pop("run", None)  # it refers to the thread: a reference cycle
    logs.current.set(origin)
    try:
        run()
    finally:
        logs.flush_partial(origin)


def _log_exception(raised: threading.ExceptHookArgs) -> None:
    """Logs the exception that ended a thread; called in that thread."""
    error, thread = raised.exc_value, raised.thread
    if error is None or isinstance(error, SystemExit):
        return
    name = thread.name if thread else "without a name"
    summary = f"{type(error).__name__}: {error}".splitlines()[0]
    log.error("the thread %s has ended with %s", name, summary, exc_info=error)


class PolicyTask(asyncio.Task[Any]):
    """A task that a policy's code has created, in an execution or elsewhere."""

    origin: StartedBy | None = None


PolicyTask.__name__ = asyncio.Task.__name__  # which Python's messages use


def log_task_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An event loop's exception handler. Python reports a task's exception when it collects the task, in any thread."""
    task = context.get("task") or context.get("future")
    apart = Context()
    apart.run(logs.current.set, task.origin if isinstance(task, PolicyTask) else None)
    apart.run(loop.default_exception_handler, context)
