"""The policy instances of one stream: configured, prepared, replaced and closed as the engine says.

All that a stream holds dies with it; the engine configures its instances anew on the next one.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gatewright.params import freeze
from gatewright.policy import FailureClass, PolicyMetadata
from gatewright.secrets import from_wire

from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.convert.translator import failure_message
from gatewright_executor.policies.failure import Failure
from gatewright_executor.policies.policy_loader import LoadedPolicy
from gatewright_executor.running.dispatch import Dispatcher
from gatewright_executor.running.instance import Instance
from gatewright_executor.running.prepare import DEFAULT_SECONDS, PASS, Prepared, Preparer, Settle
from gatewright_executor.session.replies import Replies
from gatewright_executor.session.store_calls import InstanceStore, StoreCalls

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Process:
    """What all streams of an executor share."""

    policies: Mapping[str, LoadedPolicy]  # by "name:version"
    dispatcher: Dispatcher
    preparer: Preparer
    hello: pb.Hello


class Instances:
    """By the numbers that the engine has given them. For the thread that reads; what is prepared comes from others."""

    def __init__(self, process: Process, replies: Replies, store_calls: StoreCalls) -> None:
        self._process = process
        self._dispatcher = process.dispatcher
        self._replies = replies
        self._store_calls = store_calls
        self._instances: dict[int, Instance] = {}
        self._successors: dict[int, Instance] = {}  # of some of these, from the next frame on
        self._lock = threading.Lock()  # held for what may not come between two looks at these

    def get(self, number: int) -> Instance | None:
        """None: no such instance is configured on this stream."""
        return self._instances.get(number)

    def configure(self, configure: pb.ConfigureInstance) -> None:
        """Makes an instance, in place of the one of this number if there is one; its status follows, from any thread.

        What comes for it meanwhile waits.
        """
        policy = self._policy(configure)
        try:
            instance = _instance(configure, self._dispatcher.limits.max_waiting)
        except ValueError as error:
            instance = Instance(_about(configure, {}), {}, configure.instance_id)
            policy = Failure(FailureClass.EXCEPTION, str(error), instance.key)
        self._retire(configure.instance)
        self._instances[configure.instance] = instance
        instance.store = InstanceStore(self._store_calls, instance, configure.instance)
        instance.replace_on_own_loop = lambda: self._prepare_successor(configure, instance)
        if isinstance(policy, Failure):
            self._settle(configure, instance, policy)
            return
        self._prepare(configure, instance, policy, lambda made: self._settle(configure, instance, made))

    def close(self, numbers: Iterable[int]) -> None:
        """Closes instances, each after its last execution."""
        for number in numbers:
            self._retire(number)

    def close_all(self) -> None:
        """After the last answer of the stream."""
        self.close([*self._instances])

    def promote_successors(self) -> None:
        """Between two frames. What has come so far has a slot of its instance by now, or waits for one: so that one
        may end after it."""
        if not self._successors:
            return
        with self._lock:
            successors, self._successors = self._successors, {}
            replaced = [self._instances[number] for number in successors]
            self._instances |= successors
        for instance in replaced:
            self._process.preparer.retire(instance)

    def _retire(self, number: int) -> None:
        with self._lock:
            gone = [held.pop(number, None) for held in (self._instances, self._successors)]
        for instance in gone:
            if instance is not None:
                self._process.preparer.retire(instance)

    def _policy(self, configure: pb.ConfigureInstance) -> LoadedPolicy | Failure:
        key = f"{configure.policy_name}:{configure.policy_version}"
        policy = self._process.policies.get(key)
        if policy is None:
            known = ", ".join(self._process.policies) or "none"
            return Failure(FailureClass.UNAVAILABLE, f"expected a policy of this build ({known}), got {key}", key)
        return policy.failure or policy

    def _prepare(
        self, configure: pb.ConfigureInstance, instance: Instance, policy: LoadedPolicy, settle: Settle
    ) -> None:
        seconds = configure.prepare_timeout_ms / 1000 or DEFAULT_SECONDS
        self._process.preparer.prepare(instance, policy, seconds, settle)

    def _settle(self, configure: pb.ConfigureInstance, instance: Instance, made: Prepared | Failure) -> None:
        """The instance is ready, or will never be; those that waited for it go on."""
        status = pb.InstanceStatus(instance=configure.instance)
        if isinstance(made, Failure):
            status.failure.CopyFrom(failure_message(made))
        self._replies.put_status(status)
        if isinstance(made, Failure):
            for execution in instance.fail(made):
                self._dispatcher.fail(execution)
            self._replies.flush()
            return
        self._replies.flush()
        hooks = [hook for hook in made.hooks.values() if hook is not PASS]
        allowed = self._dispatcher.concurrency(configure.max_concurrency, all(hook.is_coroutine for hook in hooks))
        self._dispatcher.make_ready(instance, made.hooks, made.value, allowed)

    # -------------------------------------------------------------- an event loop of its own

    def _prepare_successor(self, configure: pb.ConfigureInstance, instance: Instance) -> None:
        """Prepares an instance anew, on an event loop of its own. That one takes its place with the first frame after
        it is ready; for what has come before, all stays as it is."""
        policy = self._policy(configure)
        if isinstance(policy, LoadedPolicy) and instance.limit:
            instance.replace_on_own_loop = _is_replaced_already
            successor = _instance(configure, self._dispatcher.limits.max_waiting)
            successor.store = InstanceStore(self._store_calls, successor, configure.instance)
            self._dispatcher.loops.give_own(successor)
            self._prepare(
                configure, successor, policy,
                lambda made: self._settle_successor(configure, instance, successor, made),
            )  # fmt: skip

    def _settle_successor(
        self, configure: pb.ConfigureInstance, instance: Instance, successor: Instance, made: Prepared | Failure
    ) -> None:
        if isinstance(made, Failure):
            log.error("%s stays on the event loop that it blocks: %s", instance.title, made.message)
            successor.fail(made)
            self._process.preparer.retire(successor)
            return
        successor.make_ready(made.hooks, made.value, instance.concurrency)
        with self._lock:
            is_there = self._instances.get(configure.instance) is instance
            if is_there:
                self._successors[configure.instance] = successor
        if is_there:
            log.warning("%s has an event loop of its own from now on", instance.title)
        else:
            self._process.preparer.retire(successor)


def _is_replaced_already() -> None:
    pass


def _about(configure: pb.ConfigureInstance, system_params: dict[str, Any]) -> PolicyMetadata:
    return PolicyMetadata(
        configure.policy_name,
        configure.policy_version,
        configure.api_name,
        configure.api_version,
        system_params,
        configure.operation,
    )


def _instance(configure: pb.ConfigureInstance, max_waiting: int) -> Instance:
    system_params = freeze(_object("system parameters", configure.system_parameters))
    params = _object("parameters", configure.parameters)
    return Instance(_about(configure, system_params), params, configure.instance_id, max_waiting)


def _object(where: str, text: bytes) -> dict[str, Any]:
    value = json.loads(text or b"{}", object_hook=from_wire)
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected a JSON object, got {type(value).__name__}")
    return value
