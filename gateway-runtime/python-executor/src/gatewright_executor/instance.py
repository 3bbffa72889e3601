"""A policy instance: a policy, its parameters, and how many of its executions (calls) may be under way at once.

An execution over the limit waits in the instance's own queue, so it blocks no worker; a slow policy fills its own
queue and nobody else's. So do executions of an instance that is still being prepared.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Protocol
from weakref import WeakSet

from sdk.params import freeze
from sdk.policy import PolicyMetadata

from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.failure import Failure
from gatewright_executor.pace import Pace
from gatewright_executor.policy_loader import Hook
from gatewright_executor.waiting import Waiting

COROUTINE_CONCURRENCY = 1000


class Admission(Enum):
    """What becomes of an execution that has just arrived."""

    RUN = auto()  # it has a slot
    WAIT = auto()  # it waits for one
    FULL = auto()  # waiting is of no use: `refusal` says why
    FAILED = auto()  # the instance could not be prepared


def concurrency(requested: int, workers: int, coroutines: bool) -> int:
    """How many executions may be under way: as asked for (0: the default), at most one for each worker."""
    if coroutines:
        return requested or COROUTINE_CONCURRENCY
    return max(1, min(requested or workers // 2, workers))


class Lifetime(Protocol):
    """What a policy's prepare makes. Opened once, and once that has returned, closed once (lifetimes.py)."""

    def open(self) -> Any:
        """Returns what is to be ctx.prepared; raises what the policy raises."""

    def close(self) -> None:
        """Raises what the policy raises."""

    def abandon(self) -> None:
        """Nobody waits for it any more: ends what can be ended."""


class Instance:
    """Built when it is configured, used by many executions at once, closed after the last of them."""

    __slots__ = (
        "_close", "_limit", "_lock", "_retired", "_running", "_waiting", "about", "failure", "hooks", "id", "key",
        "lifetime", "move", "pace", "params", "prepared", "tasks",
    )  # fmt: skip

    def __init__(self, about: PolicyMetadata, params: dict[str, Any], instance_id: str = "") -> None:
        self.about = about
        self.move: Callable[[], None] = _nothing  # lets another take its place, on an event loop of its own
        self.id = instance_id  # the attachment's, for people
        self.key = f"{about.policy_name}:{about.policy_version}"
        self.params: dict[str, Any] = freeze(params)
        self.hooks: dict[int, Hook] = {}
        self.prepared: Any = None
        self.pace = Pace()
        self.failure: Failure | None = None
        self.lifetime: Lifetime | None = None  # None: the policy has no prepare
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()  # that the policy made; used on its event loop only
        self._close: Callable[[], None] | None = None  # to be called once, when it is idle
        self._retired = False
        self._lock = threading.Lock()
        self._waiting: Waiting[Call] = Waiting()
        self._running = 0
        self._limit = 0  # nothing runs before it is ready

    @property
    def title(self) -> str:
        """Policy and API, for people."""
        about = self.about
        operation = f", {about.operation}" if about.operation else ""
        return f"policy {self.key} of API {about.api_name}{operation}" if about.api_name else f"policy {self.key}"

    @property
    def limit(self) -> int:
        """How many executions may be under way at once; 0 before it is ready."""
        return self._limit

    def runs_where_read(self, phase: int) -> bool:
        """Whether the thread that takes an execution in is to run it: most take no time to speak of."""
        return not self.pace.is_slow and (hook := self.hooks.get(phase)) is not None and not hook.is_coroutine

    def ready(self, hooks: dict[int, Hook], prepared: Any, limit: int) -> list[Call]:
        """Lets executions run; returns those that waited and have a slot now. `hooks` are by phase."""
        with self._lock:
            self.hooks, self.prepared, self._limit = hooks, prepared, limit
            now, free = time.monotonic(), min(limit, len(self._waiting))
            calls = [call for _ in range(free) if (call := self._waiting.take(now))]
            self._running += len(calls)
            close = self._due()
        close()
        return calls

    def fail(self, failure: Failure) -> list[Call]:
        """Lets no execution run, ever; returns those that waited."""
        with self._lock:
            self.failure = failure
            calls = self._waiting.take_all()
            close = self._due()
        close()
        return calls

    def retire(self, close: Callable[[], None]) -> bool:
        """No execution comes any more: calls `close`, once, after the last one has ended, from whatever thread that is.

        False: it has not ended yet, or the instance is not ready yet. Where it was retired before, nothing happens.
        """
        with self._lock:
            if not self._retired:
                self._retired, self._close = True, close
            close = self._due()
            is_waiting = self._close is not None
        close()
        return not is_waiting

    def close_now(self) -> None:
        """After `retire`: does not wait for the last execution any longer."""
        with self._lock:
            close, self._close = self._close, None
        if close is not None:
            close()

    def _due(self) -> Callable[[], None]:
        """What is to be called now that something has ended."""
        settled = self._limit > 0 or self.failure is not None
        if self._close is None or self._running or self._waiting or not settled:
            return _nothing
        close, self._close = self._close, None
        return close

    def admit(self, call: Call) -> Admission:
        """Gives `call` a slot, or a place in the queue."""
        with self._lock:
            if self._running < self._limit:
                self._running += 1
                return Admission.RUN
            if self.failure is not None:
                return Admission.FAILED
            call.refusal = self._waiting.offer(call, self._limit, time.monotonic())
            return Admission.FULL if call.refusal else Admission.WAIT

    def release(self) -> Call | None:
        """Gives a slot back: to the execution that has waited longest, which is returned."""
        with self._lock:
            call = self._waiting.take(time.monotonic()) if self._waiting else None
            if call is not None:
                return call
            self._running -= 1
            if self._close is None:
                return None
            close = self._due()
        close()
        return None

    def forget(self, call: Call) -> None:
        """Takes a cancelled execution out of the queue, if it waits there."""
        with self._lock:
            self._waiting.forget(call)


def _nothing() -> None:
    pass


class Preparing:
    """The origin of lines that a policy writes while an instance is prepared or closed, and of tasks made in it."""

    __slots__ = ("instance", "partial", "policy", "request_id")

    def __init__(self, instance: Instance) -> None:
        self.instance, self.policy, self.request_id, self.partial = instance, instance.key, "", ""


class Caller(Protocol):
    """Who sent an execution, and gets its answer."""

    def begin(self, call: Call) -> bool:
        """Called once, when the execution is about to start. False: it was cancelled, and gets no answer."""

    def end(self, call: Call, action: bytes | None) -> None:
        """Called once for each execution that began, or was refused. None: it was cancelled while it ran."""

    def flush(self) -> None:
        """Sends what has ended so far, and what else ends meanwhile. Whoever ends executions calls it in time."""


class Call:
    """An execution on its way through the executor."""

    __slots__ = ("caller", "deadline", "execution", "id", "instance", "partial", "phase", "refusal", "started")

    def __init__(self, execution: pb.Execution, instance: Instance, deadline: float, caller: Caller) -> None:
        self.id = execution.id
        self.phase = execution.phase
        self.execution = execution
        self.instance = instance
        self.deadline = deadline  # time.monotonic()
        self.caller = caller
        self.started = 0.0  # time.monotonic(); 0: not yet
        self.partial = ""  # of what it prints
        self.refusal: str | None = None  # why it may not wait for a slot

    @property
    def policy(self) -> str:
        return self.instance.key

    @property
    def operation(self) -> str:
        return self.execution.operation.decode("utf-8", "backslashreplace")

    @property
    def request_id(self) -> str:
        return self.execution.request_id.decode("utf-8", "backslashreplace")
