"""The values that the instances of a policy share in this process. The policy's `setup` makes one before the first
instance is prepared, and it is closed after the last instance.

If setup takes system parameters, instances with different ones share different values. If setup is async, so do
instances on different event loops, since objects of one loop cannot be used on another.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from gatewright.lifetime import takes
from gatewright.params import ReadOnlyDict
from gatewright.policy import FailureClass, PolicyMetadata

from gatewright_executor import logs
from gatewright_executor.policies.failure import Failure, classify, describe, policy_traceback
from gatewright_executor.policies.policy_loader import Hook, log, placed
from gatewright_executor.running.coroutines import Coroutines
from gatewright_executor.running.instance import Instance, PreparationOrigin
from gatewright_executor.running.lifetimes import setup_lifetime


class Shared:
    """The value of one run of setup. `owner` holds its lifetime, tasks and log lines, like an instance."""

    def __init__(self, owner: Instance, loop: Coroutines | None, first: Instance) -> None:
        self.owner = owner
        self.loop = loop  # None: the setup is not async
        self.first = first  # the instance whose preparation runs the setup
        self.users = {first}
        self.value: Any = None
        self.is_settled = False
        self.outcome: Future[Failure | None] = Future()

    def fits(self, key: str, system_params: dict[str, Any], loop: Coroutines | None) -> bool:
        """Whether an instance of this policy may use the value."""
        owner = self.owner
        return owner.key == key and self.loop is loop and owner.metadata.system_params == system_params


class Setups:
    """All shared values, for any thread. `end` closes a value, and waits for that."""

    def __init__(self, end: Callable[[Shared], None]) -> None:
        self._end = end
        self._lock = threading.Lock()
        self._all: list[Shared] = []

    def acquire(self, instance: Instance, setup: Hook, loop: Coroutines | None) -> Failure | None:
        """Sets `instance.shared`, or returns why there is no value. Runs the setup, or waits for the thread that runs
        it. loop: the event loop of the instance's executions, if the setup is async."""
        own = instance.metadata
        params = own.system_params if takes(setup.function, "system_params") else ReadOnlyDict()
        with self._lock:
            shared = next((known for known in self._all if known.fits(instance.key, params, loop)), None)
            if shared is None:
                owner = Instance(PolicyMetadata(own.policy_name, own.policy_version, system_params=params), {})
                self._all.append(shared := Shared(owner, loop, instance))
            shared.users.add(instance)
        if shared.first is instance:
            self._open(shared, setup)
        failure = shared.outcome.result()
        instance.shared = shared.value
        return failure

    def abandon(self, instance: Instance, seconds: float) -> Failure | None:
        """Called when the time limit of an instance's preparation has passed. Returns the failure if its setup still
        runs, which is abandoned if this instance runs it; None if no setup runs."""
        with self._lock:
            shared = next((known for known in self._all if instance in known.users and not known.is_settled), None)
            if shared is None:
                return None
            if shared.first is instance:
                shared.is_settled = True
                self._all.remove(shared)
        late = f"expected setup to return within {seconds:g} s, it still runs"
        cure = "do less in it, or give it more time by prepareTimeout in the policy's definition"
        failure = Failure(FailureClass.TIMEOUT, f"{late}; {cure}", instance.key, "setup")
        if shared.first is instance:
            if (lifetime := shared.owner.lifetime) is not None:
                lifetime.abandon()
            shared.outcome.set_result(failure)
        return failure

    def release(self, instance: Instance) -> None:
        """Releases the value of an instance that is closed or has failed. Closes the value after its last user."""
        with self._lock:
            shared = next((known for known in self._all if instance in known.users), None)
            if shared is None:
                return
            shared.users.discard(instance)
            if shared.users:
                return
            self._all.remove(shared)
        self._end(shared)

    def _open(self, shared: Shared, setup: Hook) -> None:
        owner, failure = shared.owner, None
        origin = PreparationOrigin(owner)
        logs.current.set(origin)
        try:
            owner.lifetime = setup_lifetime(owner, setup, shared.loop.loop if shared.loop is not None else None)
            shared.value = owner.lifetime.open()
        except BaseException as caught:  # SystemExit too: the instances fail, not the process
            error = placed(caught, setup)
            message, trace = map(owner.without_secrets, (describe(error), policy_traceback(error)))
            failure = Failure(classify(error), message, owner.key, setup.name)
            owner.lifetime = None  # only its tasks have to be ended
            log.error("setup failed: %s", message, extra={"trace": trace})
        logs.flush_partial(origin)
        with self._lock:
            is_late, shared.is_settled = shared.is_settled, True
            if failure is not None and not is_late:
                self._all.remove(shared)
        if not is_late:
            shared.outcome.set_result(failure)
        if is_late or failure is not None:
            self._end(shared)
