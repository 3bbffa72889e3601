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
from typing import Any, NamedTuple, Protocol
from weakref import WeakSet

from gatewright.params import freeze
from gatewright.policy import PolicyMetadata

from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.policies.failure import Failure
from gatewright_executor.policies.policy_loader import Hook
from gatewright_executor.running.admission import Waiting
from gatewright_executor.running.latency import Pace

COROUTINE_CONCURRENCY = 1000


class Admission(Enum):
    """What becomes of an execution that has just arrived."""

    RUN = auto()  # it has a slot
    WAIT = auto()  # it waits for one
    FULL = auto()  # waiting is of no use: `refusal` says why
    FAILED = auto()  # the instance could not be prepared


class Concurrency(NamedTuple):
    """How many executions of an instance may be under way: of any kind, and where those that are wait (growth.py)."""

    first: int
    most: int


def concurrency(requested: int, workers: int, max_workers: int, coroutines: bool) -> Concurrency:
    """As asked for (0: the default), at most one for each worker that there is at first, or may be."""
    if coroutines:
        return Concurrency(requested or COROUTINE_CONCURRENCY, requested or COROUTINE_CONCURRENCY)
    first, most = (max(1, min(requested or number // 2, number)) for number in (workers, max_workers))
    return Concurrency(first, most)


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
        "_close", "_ended", "_limit", "_lock", "_retired", "_running", "_waiting", "about", "concurrency", "failure",
        "hooks", "id", "key", "lifetime", "move", "pace", "params", "prepared", "tasks",
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
        self.concurrency = Concurrency(0, 0)  # nothing runs before it is ready
        self._limit = 0  # between the two
        self._ended = 0  # executions in time, while others waited, since it last grew

    @property
    def title(self) -> str:
        """Policy and API, for people."""
        about = self.about
        operation = f", {about.operation}" if about.operation else ""
        return f"policy {self.key} of API {about.api_name}{operation}" if about.api_name else f"policy {self.key}"

    @property
    def limit(self) -> int:
        """How many executions may be under way at once now; 0 before it is ready."""
        return self._limit

    @property
    def may_grow(self) -> bool:
        return self.concurrency.most > self.concurrency.first

    @property
    def has_waiting(self) -> bool:
        return bool(self._waiting)

    def runs_where_read(self, phase: int) -> bool:
        """Whether the thread that takes an execution in is to run it: most take no time to speak of."""
        return not self.pace.is_slow and (hook := self.hooks.get(phase)) is not None and not hook.is_coroutine

    def ready(self, hooks: dict[int, Hook], prepared: Any, concurrency: Concurrency) -> list[Call]:
        """Lets executions run; returns those that waited and have a slot now. `hooks` are by phase."""
        with self._lock:
            self.hooks, self.prepared = hooks, prepared
            self.concurrency, self._limit = concurrency, concurrency.first
            calls = self._fill()
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
                if self._waiting.is_watched:
                    self._waiting.began(time.monotonic())
                return Admission.RUN
            if self.failure is not None:
                return Admission.FAILED
            call.refusal = self._waiting.offer(call, self._limit, time.monotonic())
            return Admission.FULL if call.refusal else Admission.WAIT

    def release(self, last: Call | None = None, ended: float = 0.0) -> Call | None:
        """Gives a slot back: to the execution that has waited longest, which is returned. last: who had it till then,
        and not on the event loop."""
        with self._lock:
            call = self._next(last, ended) if self._waiting.is_watched else None
            if call is not None:
                return call
            self._running -= 1
            if self._close is None:
                return None
            close = self._due()
        close()
        return None

    def _next(self, last: Call | None, ended: float) -> Call | None:
        """The execution that gets the slot that `last` gives back. Where half of the slots are not used, one goes."""
        now = time.monotonic()
        self._waiting.ended(now)
        if self._running <= self._limit // 2:
            self._limit = max(self._limit - 1, self.concurrency.first)
        if not self._waiting or self._running > self._limit:
            return None
        self._ended += last is not None and 0.0 < last.started < ended <= last.deadline
        return self._waiting.take(now)

    def grow(self) -> list[Call]:
        """Has one slot more for each execution that has ended in time since it last had. Returns those that get one.

        So it grows as fast as it gets through what comes in, and not at all where what runs never ends.
        """
        with self._lock:
            more = min(self._ended, len(self._waiting), self.concurrency.most - self._limit)
            self._limit += more
            self._ended = 0
            self._waiting.slots_grow = self._limit < self.concurrency.most
            return self._fill()

    def shrink(self) -> None:
        """Has one slot less, down to what it had at first."""
        with self._lock:
            self._limit = max(self._limit - 1, self.concurrency.first)
            self._ended = 0
            self._waiting.slots_grow = False

    def _fill(self) -> list[Call]:
        """Gives the free slots to those that wait."""
        now, free = time.monotonic(), min(self._limit - self._running, len(self._waiting))
        calls = [call for _ in range(free) if (call := self._waiting.take(now))]
        self._running += len(calls)
        return calls

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
