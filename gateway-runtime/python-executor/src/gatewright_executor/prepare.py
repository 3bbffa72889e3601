"""Makes a policy instance ready, off the request path: prepare(params), or the deprecated get_policy.

Both are a policy's code, so they may hang: each runs in a thread of its own, with a time limit.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeAlias

from sdk.policy import FailureClass

from gatewright_executor import logs, vital
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.coroutines import Coroutines
from gatewright_executor.failure import Failure, PolicyError, classify, describe, policy_traceback
from gatewright_executor.instance import Instance
from gatewright_executor.policy_loader import CALL, Hook, LoadedPolicy, find_hook, log

DEFAULT_SECONDS = 10.0
AT_ONCE = 4  # preparations; the others wait their turn, with their time not yet running

Hooks: TypeAlias = dict[int, Hook]
PASS = Hook("pass", lambda _ctx, _params: None)  # a phase that the policy has no function for


@dataclass(frozen=True, slots=True)
class Prepared:
    """What an instance needs to be ready."""

    hooks: Hooks  # by phase
    value: Any  # ctx.prepared


Settle: TypeAlias = Callable[[Prepared | Failure], None]


class Preparer:
    """Prepares instances, a few at a time."""

    def __init__(self, coroutines: Coroutines) -> None:
        self._coroutines = coroutines
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._threads = 0

    def prepare(self, instance: Instance, policy: LoadedPolicy, seconds: float, settle: Settle) -> None:
        """Calls `settle` once: here where the policy has nothing to prepare, else from another thread."""
        if policy.prepare is None and policy.get_policy is None:
            settle(Prepared(_by_phase(policy.on_request, policy.on_response), None))
            return
        if self._threads < AT_ONCE:
            self._threads += 1
            vital.Thread(self._serve, name=f"prepare-{self._threads}").start()
        self._queue.put(lambda: settle(self._within(instance, policy, seconds)))

    def _serve(self) -> None:
        while True:
            self._queue.get()()

    def _within(self, instance: Instance, policy: LoadedPolicy, seconds: float) -> Prepared | Failure:
        results: SimpleQueue[Prepared | Failure] = SimpleQueue()

        def run() -> None:
            results.put(Context().run(self._run, instance, policy))

        child = threading.Thread(target=run, name=f"prepare {instance.key}", daemon=True)
        child.start()
        child.join(seconds)
        if child.is_alive():
            hook = "prepare" if policy.prepare else "get_policy"
            message = f"expected {hook} to return within {seconds:g} s, it still runs; do less in it"
            return Failure(FailureClass.TIMEOUT, message, instance.key, hook)
        return results.get_nowait()

    def _run(self, instance: Instance, policy: LoadedPolicy) -> Prepared | Failure:
        origin = logs.Outside(instance.key)
        logs.current.set(origin)
        hook = policy.prepare
        try:
            value = self._call(hook, instance.params) if hook else None
            hook = policy.get_policy
            made = self._call(hook, instance.about, instance.params) if hook else policy
            result: Prepared | Failure = Prepared(_hooks_of(made, policy), value)
        except BaseException as error:  # SystemExit too: the instance fails, not the process
            result = Failure(classify(error), describe(error), instance.key, hook.name if hook else "")
            log.error("%s failed: %s", result.hook, result.message, extra={"trace": policy_traceback(error)})
        logs.end(origin)
        return result

    def _call(self, hook: Hook, *arguments: object) -> Any:
        if hook.is_coroutine:  # its clients belong to the loop that its requests will run on
            return asyncio.run_coroutine_threadsafe(hook.function(*arguments), self._coroutines.loop).result()
        return hook.function(*arguments)


def _hooks_of(made: object, policy: LoadedPolicy) -> Hooks:
    if isinstance(made, LoadedPolicy):
        return _by_phase(made.on_request, made.on_response)
    file = f"get_policy of {policy.key}"
    found = [find_hook(made, name, CALL, file) for name in ("on_request", "on_response")]
    if found == [None, None]:
        raise PolicyError(f"expected get_policy to return a Policy, got {type(made).__name__} {made!r:.80}")
    return _by_phase(*found)


def _by_phase(on_request: Hook | None, on_response: Hook | None) -> Hooks:
    return {pb.PHASE_REQUEST: on_request or PASS, pb.PHASE_RESPONSE: on_response or PASS}
