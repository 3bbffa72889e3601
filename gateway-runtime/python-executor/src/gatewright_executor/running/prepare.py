"""Prepares policy instances and closes them, off the request path, by setup, prepare and close, or the deprecated
get_policy.

These functions are a policy's code, so they may hang: each runs in a thread of its own, with a time limit.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar

from gatewright.policy import FailureClass

from gatewright_executor import logs
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.critical_thread import CriticalThread
from gatewright_executor.policies.failure import Failure, PolicyError, classify, describe, policy_traceback
from gatewright_executor.policies.policy_loader import CALL, Hook, LoadedPolicy, find_hook, log, placed
from gatewright_executor.running.coroutines import Coroutines
from gatewright_executor.running.delayed_calls import DelayedCalls
from gatewright_executor.running.instance import Instance, Lifetime, PreparationOrigin
from gatewright_executor.running.lifetimes import lifetime_of
from gatewright_executor.running.limits import LIMITS, Limits
from gatewright_executor.running.loops import Loops
from gatewright_executor.running.setups import Setups, Shared

DEFAULT_SECONDS = 10.0
AT_ONCE = 4  # preparations, and closings; others wait, and their time limits begin when they start

Hooks: TypeAlias = dict[int, Hook]
STREAMS = ("on_request_stream", "on_response_stream")
PASS = Hook("pass", lambda _ctx, _params: None)  # for a phase without a function
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Prepared:
    """The result of preparing an instance."""

    hooks: Hooks  # by phase
    value: Any  # ctx.prepared


Settle: TypeAlias = Callable[[Prepared | Failure], None]


class Preparer:
    """Prepares instances, and closes them, a few at a time."""

    def __init__(self, loops: Loops, limits: Limits = LIMITS) -> None:
        self._loops, self._limits = loops, limits
        self._preparations = _TaskQueue("prepare")
        self._closings = _TaskQueue("close")
        self._delayed = DelayedCalls()
        self._setups = Setups(self._end_shared)
        self._open: set[Instance] = set()  # instances that have something to close
        self._changed = threading.Condition()

    def prepare(self, instance: Instance, policy: LoadedPolicy, seconds: float, settle: Settle) -> None:
        """Prepares an instance, and calls `settle` once: here if nothing is to be prepared, else in another thread."""
        is_async = any(hook and hook.is_coroutine for hook in (policy.prepare, *policy.hooks))
        if policy.get_policy or policy.setup or is_async:
            self._open.add(instance)  # to end its tasks, its share in setup's value, and its own loop
        if policy.setup is policy.prepare is policy.get_policy is None:
            settle(Prepared(_by_phase(policy), None))
            return
        self._preparations.submit(lambda: settle(self._prepare(instance, policy, seconds)))

    def retire(self, instance: Instance) -> None:
        """Closes an instance that gets no more executions: after its last one, or `last_seconds` from now.

        Streams and a preparation that are under way then may end first: the engine bounds streams, and preparations
        have a time limit of their own.
        """

        def close() -> None:
            if instance in self._open:
                self._closings.submit(lambda: self._close(instance))

        if not instance.retire(close):
            self._delayed.schedule(self._limits.last_seconds, lambda: self._close_late(instance))

    def _close_late(self, instance: Instance) -> None:
        if instance.has_streams or not instance.is_settled:
            self._delayed.schedule(self._limits.last_seconds, lambda: self._close_late(instance))
        else:
            instance.close_now()

    def stop(self) -> None:
        """Closes all instances, even those with executions, and waits for that for `close_seconds` at most."""
        for instance in self._open.copy():
            self.retire(instance)
            instance.close_now()
        seconds = self._limits.close_seconds
        with self._changed:
            if not self._changed.wait_for(lambda: not self._open, seconds):
                left = ", ".join(sorted({instance.key for instance in self._open.copy()}))
                log.error("the process ends, although these were not closed within %g s: %s", seconds, left)

    # -------------------------------------------------------------- in threads of their own

    def _prepare(self, instance: Instance, policy: LoadedPolicy, seconds: float) -> Prepared | Failure:
        begun: list[Lifetime] = []

        def too_late(result: Prepared | Failure) -> None:
            if isinstance(result, Prepared):
                self._end_lifetime(instance, self._loops.of(instance))
            self._forget(instance)  # it may have been retired and closed before this preparation ended

        result = _within(seconds, f"prepare {instance.key}", lambda: self._make(instance, policy, begun), too_late)
        if result is not None:
            return result
        if failure := self._setups.abandon(instance, seconds):
            return failure
        for lifetime in begun:
            lifetime.abandon()
        hook = policy.prepare or policy.get_policy
        late = f"expected {hook.name if hook else 'setup'} to return within {seconds:g} s, it still runs"
        cure = "do less in it, or give it more time by prepareTimeout in the policy's definition"
        return Failure(FailureClass.TIMEOUT, f"{late}; {cure}", instance.key, hook.name if hook else "setup")

    def _loop_for(self, instance: Instance, policy: LoadedPolicy) -> asyncio.AbstractEventLoop | None:
        is_async = any(hook and hook.is_coroutine for hook in (policy.prepare, policy.close))
        return self._loops.of(instance).loop if is_async else None

    def _make(self, instance: Instance, policy: LoadedPolicy, begun: list[Lifetime]) -> Prepared | Failure:
        """Prepares an instance. begun: gets the lifetime as soon as it begins."""
        if setup := policy.setup:
            loop = self._loops.of(instance) if setup.is_coroutine else None
            if failure := self._setups.acquire(instance, setup, loop):
                return failure
        origin = PreparationOrigin(instance)
        logs.current.set(origin)
        hook = policy.prepare
        try:
            value = None
            if hook is not None:
                lifetime = lifetime_of(instance, policy, self._loop_for(instance, policy))
                begun.append(lifetime)
                value = lifetime.open()
                instance.lifetime = lifetime
                self._open.add(instance)
            hook = policy.get_policy
            owner = hook.function(instance.metadata, instance.params) if hook else policy
            result: Prepared | Failure = Prepared(_hooks_of(owner, policy), value)
        except BaseException as caught:  # SystemExit too: the instance fails, not the process
            error = placed(caught, policy.prepare)
            message, trace = map(instance.without_secrets, (describe(error), policy_traceback(error)))
            result = Failure(classify(error), message, instance.key, hook.name if hook else "")
            log.error("%s failed: %s", result.hook, message, extra={"trace": trace})
        logs.flush_partial(origin)
        return result

    def _close(self, instance: Instance) -> None:
        self._end(instance, self._loops.of(instance))
        self._forget(instance)

    def _end_shared(self, shared: Shared) -> None:
        self._end(shared.owner, shared.loop or self._loops.shared)

    def _end(self, instance: Instance, loop: Coroutines) -> None:
        """Ends the lifetime of an instance, or abandons it after `close_seconds`."""

        def close() -> bool:
            self._end_lifetime(instance, loop)
            return True

        seconds = self._limits.close_seconds
        if not _within(seconds, f"close {instance.key}", close) and instance.lifetime is not None:
            instance.lifetime.abandon()
            log.error("expected %s to be closed within %g s, its code still runs; the executor no longer waits for it",
                      instance.key, seconds)  # fmt: skip

    def _forget(self, instance: Instance) -> None:
        """Releases what a closed instance held."""
        self._setups.release(instance)
        self._loops.end_own(instance)
        with self._changed:
            self._open.discard(instance)
            self._changed.notify_all()

    def _end_lifetime(self, instance: Instance, loop: Coroutines) -> None:
        """Closes the prepared value, then ends the instance's remaining tasks."""
        origin = PreparationOrigin(instance)
        logs.current.set(origin)
        if instance.lifetime is not None:
            try:
                instance.lifetime.close()
            except BaseException as error:
                message, trace = map(instance.without_secrets, (describe(error), policy_traceback(error)))
                log.error("close failed: %s", message, extra={"trace": trace})
        seconds = self._limits.close_seconds
        if not loop.end_tasks(instance, seconds):
            log.error("expected the instance's tasks to end when cancelled, some still run after %g s", seconds)
        logs.flush_partial(origin)


class _TaskQueue:
    """Functions that wait for one of a few threads, which start with the first use."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._threads = 0

    def submit(self, function: Callable[[], None]) -> None:
        if self._threads < AT_ONCE:
            self._threads += 1
            CriticalThread(self._serve, name=f"{self._name}-{self._threads}").start()
        self._queue.put(function)

    def _serve(self) -> None:
        while True:
            self._queue.get()()


def _within(
    seconds: float, name: str, function: Callable[[], T], too_late: Callable[[T], None] = lambda _: None
) -> T | None:
    """The result of `function`, run in a thread and a context of its own; None after `seconds`: then `too_late` gets
    the result."""
    results: list[T] = []
    taken_by: dict[None, str] = {}

    def run() -> None:
        results.append(Context().run(function))
        if taken_by.setdefault(None, "its thread") == "waiter":
            Context().run(too_late, results[0])

    child = threading.Thread(target=run, name=name, daemon=True)
    child.start()
    child.join(seconds)
    return None if taken_by.setdefault(None, "waiter") == "waiter" else results[0]


def _hooks_of(owner: object, policy: LoadedPolicy) -> Hooks:
    if isinstance(owner, LoadedPolicy):
        return _by_phase(owner)
    file = f"get_policy of {policy.key}"
    for name in STREAMS:
        if hasattr(owner, name):
            raise PolicyError(
                f"expected {name} to be a function of the module, got a method of the object of {file}, which cannot "
                "stream; write on_request, on_response and their streams as functions"
            )
    on_request, on_response = (find_hook(owner, name, CALL, file) for name in ("on_request", "on_response"))
    if on_request is on_response is None:
        raise PolicyError(f"expected get_policy to return a Policy, got {type(owner).__name__} {owner!r:.80}")
    return {pb.PHASE_REQUEST: on_request or PASS, pb.PHASE_RESPONSE: on_response or PASS}


def _by_phase(policy: LoadedPolicy) -> Hooks:
    """The hooks by phase. A phase without a function passes the message on; a stream without one is refused."""
    streams = {
        pb.PHASE_REQUEST_STREAM: policy.on_request_stream,
        pb.PHASE_RESPONSE_STREAM: policy.on_response_stream,
    }
    return {
        pb.PHASE_REQUEST: policy.on_request or PASS,
        pb.PHASE_RESPONSE: policy.on_response or PASS,
        **{phase: hook for phase, hook in streams.items() if hook is not None},
    }
