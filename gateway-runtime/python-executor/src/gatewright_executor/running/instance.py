"""A policy instance: a policy, its parameters, and the number of its executions that may be under way at once.

An execution over the limit waits in the instance's own queue, so it blocks no worker, and a slow policy fills only its
own queue. Executions of an instance that is still being prepared wait there too.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, NamedTuple, Protocol
from weakref import WeakSet

from gatewright.params import freeze
from gatewright.policy import PolicyMetadata
from gatewright.store import Backend

from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.policies.failure import Failure
from gatewright_executor.policies.hidden_secrets import hide
from gatewright_executor.policies.policy_loader import Hook
from gatewright_executor.running.admission import AdmissionQueue
from gatewright_executor.running.latency import LatencyClass
from gatewright_executor.running.limits import LIMITS

COROUTINE_CONCURRENCY = 1000
STREAM_CONCURRENCY = 10_000
STREAMS = (pb.PHASE_REQUEST_STREAM, pb.PHASE_RESPONSE_STREAM)


class Admission(Enum):
    """The result of admitting an execution."""

    RUN = auto()  # it has a slot
    WAIT = auto()  # it waits for a slot
    FULL = auto()  # it must not wait: its `refusal` says why
    FAILED = auto()  # the instance could not be prepared


class Concurrency(NamedTuple):
    """Limits of the executions of an instance that may be under way: at first, and if they wait (growth.py)."""

    first: int
    most: int
    streams: int = STREAM_CONCURRENCY  # streams, beside the others
    together: int = 0  # streams and others together; 0: no common limit


def concurrency(requested: int, workers: int, max_workers: int, coroutines: bool) -> Concurrency:
    """The limits for a requested number (0: the default), at most one execution for each worker.

    Streams need no worker; they count together with the others if a number is requested.
    """
    streams = requested or STREAM_CONCURRENCY
    if coroutines:
        first = most = requested or COROUTINE_CONCURRENCY
    else:
        first, most = (max(1, min(requested or number // 2, number)) for number in (workers, max_workers))
    return Concurrency(first, most, streams, requested)


class Lifetime(Protocol):
    """The lifetime of a policy's prepared value. Opened once, and then closed once (lifetimes.py)."""

    def open(self) -> Any:
        """Returns the value of ctx.prepared; raises exceptions of the policy."""

    def close(self) -> None:
        """Closes the value; raises exceptions of the policy."""

    def abandon(self) -> None:
        """Ends what can be ended, without waiting for it."""


class Instance:
    """Made when the engine configures it, used by many executions at once, closed after the last of them."""

    __slots__ = (
        "_close", "_ended", "_limit", "_lock", "_retired", "_room", "_running", "_stream_limit", "_streams",
        "_streams_waiting", "_waiting", "concurrency", "failure",
        "hooks", "id", "key", "latency", "lifetime", "metadata", "params", "prepared",
        "replace_on_own_loop", "shared", "store", "tasks",
    )  # fmt: skip

    def __init__(
        self,
        metadata: PolicyMetadata,
        params: dict[str, Any],
        instance_id: str = "",
        max_waiting: int = LIMITS.max_waiting,
    ) -> None:
        self.metadata = metadata
        self.replace_on_own_loop: Callable[[], None] = _nothing  # requests a successor on an event loop of its own
        self.id = instance_id  # the attachment's, for log lines
        self.key = f"{metadata.policy_name}:{metadata.policy_version}"
        self.params: dict[str, Any] = freeze(params)
        self.hooks: dict[int, Hook] = {}
        self.prepared: Any = None
        self.shared: Any = None  # with the policy's other instances
        self.latency = LatencyClass()
        self.failure: Failure | None = None
        self.store: Backend | None = None  # of its policy's stores
        self.lifetime: Lifetime | None = None  # None: the policy has no prepare
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()  # created by the policy; used on its event loop only
        self._close: Callable[[], None] | None = None  # called once, when it is idle
        self._retired = False
        self._lock = threading.Lock()
        self._waiting: AdmissionQueue[Execution] = AdmissionQueue(max_waiting)
        self._running = 0
        self.concurrency = Concurrency(0, 0, 0)  # nothing runs before it is ready
        self._limit = 0  # the present number of slots
        self._room = sys.maxsize  # the slots that streams leave of the common limit
        self._streams = 0  # streams under way
        self._stream_limit = 0
        self._streams_waiting: AdmissionQueue[Execution] = AdmissionQueue(max_waiting)
        self._ended = 0  # executions that have ended in time while others waited, since it last grew

    def without_secrets(self, text: str) -> str:
        """The text of a policy's error without the secrets of its parameters."""
        return hide(text, self.params, self.metadata.system_params)

    @property
    def title(self) -> str:
        """Policy and API, for log lines."""
        api, operation = self.metadata.api_name, self.metadata.operation
        return f"policy {self.key} of API {api}{f', {operation}' if operation else ''}" if api else f"policy {self.key}"

    @property
    def limit(self) -> int:
        """The number of executions that may be under way now; 0 before it is ready."""
        return self._limit

    @property
    def stream_limit(self) -> int:
        """The number of streams that may be under way; 0 before it is ready."""
        return self._stream_limit

    @property
    def is_settled(self) -> bool:
        """Whether the instance is ready, or its preparation has failed."""
        return self._limit > 0 or self.failure is not None

    @property
    def has_streams(self) -> bool:
        """Whether streams are under way."""
        return self._streams > 0

    @property
    def may_grow(self) -> bool:
        """Whether `grow` may add slots."""
        return self.concurrency.most > self.concurrency.first

    @property
    def has_waiting(self) -> bool:
        """Whether executions wait for a slot."""
        return bool(self._waiting)

    def runs_inline(self, phase: int) -> bool:
        """Whether the thread that reads an execution runs it, since the instance is known to be quick."""
        return self.latency.is_quick and (hook := self.hooks.get(phase)) is not None and not hook.is_coroutine

    def make_ready(self, hooks: dict[int, Hook], prepared: Any, concurrency: Concurrency) -> list[Execution]:
        """Lets executions run. Returns those that waited and have a slot now. `hooks` are by phase."""
        with self._lock:
            self.hooks, self.prepared = hooks, prepared
            self.concurrency, self._limit = concurrency, concurrency.first
            self._stream_limit = concurrency.streams
            if concurrency.together:
                self._room = concurrency.together
            executions = [*self._fill(), *self._fill_streams()]
            close = self._take_close()
        close()
        return executions

    def fail(self, failure: Failure) -> list[Execution]:
        """Records that the preparation has failed. Returns the executions that waited."""
        with self._lock:
            self.failure = failure
            executions = [*self._waiting.pop_all(), *self._streams_waiting.pop_all()]
            close = self._take_close()
        close()
        return executions

    def retire(self, close: Callable[[], None]) -> bool:
        """Calls `close` once, after the last execution, in the thread that ends it. No further execution may come.

        False: executions are under way, or the instance is not ready yet. A second call has no effect.
        """
        with self._lock:
            if not self._retired:
                self._retired, self._close = True, close
            close = self._take_close()
            is_waiting = self._close is not None
        close()
        return not is_waiting

    def close_now(self) -> None:
        """Closes the instance after `retire`, without waiting for its last execution any longer."""
        with self._lock:
            close, self._close = self._close, None
        if close is not None:
            close()

    def _take_close(self) -> Callable[[], None]:
        """The function that closes the instance if it is idle; else a function that does nothing."""
        is_busy = self._running or self._waiting or self._streams or self._streams_waiting
        if self._close is None or is_busy or not self.is_settled:
            return _nothing
        close, self._close = self._close, None
        return close

    def admit(self, execution: Execution) -> Admission:
        """Gives an execution a slot, or queues it."""
        with self._lock:
            if self._running < self._limit and self._running < self._room:
                self._running += 1
                if self._waiting.is_watched:
                    self._waiting.slot_taken(time.monotonic())
                return Admission.RUN
            if self.failure is not None:
                return Admission.FAILED
            execution.refusal = self._waiting.offer(execution, self._limit, time.monotonic())
            return Admission.FULL if execution.refusal else Admission.WAIT

    def admit_stream(self, execution: Execution) -> Admission:
        """Gives a stream a slot, or queues it."""
        with self._lock:
            if self._has_stream_slot:
                self._count_streams(1)
                if self._streams_waiting.is_watched:
                    self._streams_waiting.slot_taken(time.monotonic())
                return Admission.RUN
            if self.failure is not None:
                return Admission.FAILED
            execution.refusal = self._streams_waiting.offer(execution, self._stream_limit, time.monotonic())
            return Admission.FULL if execution.refusal else Admission.WAIT

    def release_stream(self) -> list[Execution]:
        """Releases a stream's slot. Returns the executions that get it: those that are no streams first, as they are
        short."""
        with self._lock:
            self._count_streams(-1)
            if self._streams_waiting.is_watched:
                self._streams_waiting.slot_freed(time.monotonic())
            executions = [*self._fill(), *self._fill_streams()]
            close = self._take_close()
        close()
        return executions

    @property
    def _has_stream_slot(self) -> bool:
        return self._streams < self._stream_limit and self._running < self._room

    def _count_streams(self, more: int) -> None:
        self._streams += more
        if self.concurrency.together:
            self._room -= more

    def _fill_streams(self) -> list[Execution]:
        """Gives the free slots to streams that wait."""
        executions = []
        while self._streams_waiting and self._has_stream_slot:
            self._count_streams(1)
            if (execution := self._streams_waiting.pop(time.monotonic())) is not None:
                executions.append(execution)
        return executions

    def release(self, last: Execution | None = None, ended: float = 0.0) -> Execution | None:
        """Releases a slot. Returns the execution that gets it, which has waited longest. last: the execution that held
        it, unless that ran on an event loop."""
        with self._lock:
            execution = self._next(last, ended) if self._waiting.is_watched else None
            if execution is not None:
                return execution
            self._running -= 1
            if self._streams_waiting.is_watched and (streams := self._fill_streams()):
                return streams[0]  # one slot was freed
            if self._close is None:
                return None
            close = self._take_close()
        close()
        return None

    def _next(self, last: Execution | None, ended: float) -> Execution | None:
        """The execution that gets the slot of `last`. If half of the slots are unused, the instance loses one."""
        now = time.monotonic()
        self._waiting.slot_freed(now)
        if self._running <= self._limit // 2:
            self._limit = max(self._limit - 1, self.concurrency.first)
        if not self._waiting or self._running > min(self._limit, self._room):
            return None
        self._ended += last is not None and 0.0 < last.started <= ended <= last.deadline
        return self._waiting.pop(now)

    def grow(self) -> list[Execution]:
        """Adds a slot for each execution that has ended in time since the last call. Returns the executions that get
        one.

        So the instance grows as fast as its executions end, and not at all if they never end.
        """
        with self._lock:
            more = min(self._ended, len(self._waiting), self.concurrency.most - self._limit)
            self._limit += more
            self._ended = 0
            self._waiting.slots_grow = self._limit < self.concurrency.most
            return self._fill()

    def shrink(self) -> None:
        """Removes a slot, down to the initial number."""
        with self._lock:
            self._limit = max(self._limit - 1, self.concurrency.first)
            self._ended = 0
            self._waiting.slots_grow = False

    def _fill(self) -> list[Execution]:
        """Gives the free slots to waiting executions."""
        now, free = time.monotonic(), min(self._limit - self._running, self._room - self._running, len(self._waiting))
        executions = [execution for _ in range(free) if (execution := self._waiting.pop(now))]
        self._running += len(executions)
        return executions

    def remove_waiting(self, execution: Execution) -> None:
        """Takes a cancelled execution out of the queue, if it waits there."""
        with self._lock:
            (self._streams_waiting if execution.phase in STREAMS else self._waiting).remove(execution)


def _nothing() -> None:
    pass


class PreparationOrigin:
    """The origin of lines that a policy writes while an instance is prepared or closed, and of tasks created then."""

    __slots__ = ("instance", "partial", "policy", "request_id", "traceparent")

    def __init__(self, instance: Instance) -> None:
        self.instance, self.policy, self.request_id, self.partial = instance, instance.key, "", ""
        self.traceparent = b""


class ResultSink(Protocol):
    """Receives the results of executions, from any thread."""

    def claim(self, execution: Execution) -> bool:
        """Called once, before the execution starts. False: it was cancelled, and gets no answer."""

    def deliver(self, execution: Execution, action: bytes | None) -> None:
        """Called once for each claimed execution. action: serialized; None: the execution was cancelled."""

    def flush(self) -> None:
        """Sends all results that were delivered. The code that delivers calls it in time."""

    def abort(self) -> None:
        """Ends the stream: the missing results will not come."""


class Execution:
    """An execution on its way through the executor. `message` is the engine's."""

    __slots__ = ("deadline", "id", "instance", "message", "partial", "phase", "refusal", "sink", "started")
    is_stream = False

    def __init__(self, message: pb.Execution, instance: Instance, deadline: float, sink: ResultSink) -> None:
        self.id = message.id
        self.phase = message.phase
        self.message = message
        self.instance = instance
        self.deadline = deadline  # time.monotonic()
        self.sink = sink
        self.started = 0.0  # time.monotonic(); 0: not yet
        self.partial = ""  # printed text without an end of line
        self.refusal: str | None = None  # why it may not wait for a slot

    @property
    def policy(self) -> str:
        """name:version."""
        return self.instance.key

    @property
    def operation(self) -> str:
        """METHOD /path of the operation in the API's definition."""
        return self.message.operation.decode("utf-8", "backslashreplace")

    @property
    def request_id(self) -> str:
        """The id of the request, set by the client or Envoy."""
        return self.message.request_id.decode("utf-8", "backslashreplace")

    @property
    def traceparent(self) -> bytes:
        """The traceparent of its span; empty if it is not traced."""
        return self.message.traceparent
