"""What the instances of a policy share in this process: made by its `setup` before the first of them is prepared, and
closed when the last of them is.

Instances with other system parameters have another one, where setup asks for these; and where it is async, so do those
on another event loop, since what belongs to one loop is of no use on a second.
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
    """What one run of a setup makes. `owner` has its lifetime, tasks and log lines, as an instance has its own."""

    def __init__(self, owner: Instance, loop: Coroutines | None, first: Instance) -> None:
        self.owner = owner
        self.loop = loop  # None: the setup is not async
        self.first = first  # for which it is run
        self.users = {first}
        self.value: Any = None
        self.is_settled = False
        self.outcome: Future[Failure | None] = Future()

    def fits(self, key: str, system_params: dict[str, Any], loop: Coroutines | None) -> bool:
        """Whether an instance of this policy may have it."""
        owner = self.owner
        return owner.key == key and self.loop is loop and owner.about.system_params == system_params


class Setups:
    """From any thread. `end` closes what a setup has made, and waits for that."""

    def __init__(self, end: Callable[[Shared], None]) -> None:
        self._end = end
        self._lock = threading.Lock()
        self._all: list[Shared] = []

    def acquire(self, instance: Instance, setup: Hook, loop: Coroutines | None) -> Failure | None:
        """Gives an instance what it shares with others, or says why it cannot have it: runs the setup where that has
        not been done, or waits for who does. loop: of its executions, where the setup is async."""
        about = instance.about
        params = about.system_params if takes(setup.function, "system_params") else ReadOnlyDict()
        with self._lock:
            shared = next((each for each in self._all if each.fits(instance.key, params, loop)), None)
            if shared is None:
                owner = Instance(PolicyMetadata(about.policy_name, about.policy_version, system_params=params), {})
                self._all.append(shared := Shared(owner, loop, instance))
            shared.users.add(instance)
        if shared.first is instance:
            self._open(shared, setup)
        failure = shared.outcome.result()
        instance.shared = shared.value
        return failure

    def give_up(self, instance: Instance, seconds: float) -> Failure | None:
        """The time of an instance is over. What to say of it where the setup still runs, which is abandoned where it is
        run for this one; None where it does not."""
        with self._lock:
            shared = next((each for each in self._all if instance in each.users and not each.is_settled), None)
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
        """The instance is closed, or will never be ready. Closes what it shared, if nobody else does."""
        with self._lock:
            shared = next((each for each in self._all if instance in each.users), None)
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
            owner.lifetime = None  # nothing is to be closed but for its tasks
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
