"""The policy instances of one stream: configured, prepared, replaced and closed at the engine's request.

A stream's instances end with it; the engine configures them anew on the next stream.
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
    """The parts that all streams of an executor share."""

    policies: Mapping[str, LoadedPolicy]  # by "name:version"
    dispatcher: Dispatcher
    preparer: Preparer
    hello: pb.Hello


class Instances:
    """Instances by the engine's numbers. For the reading thread; preparations end in other threads."""

    def __init__(self, process: Process, replies: Replies, store_calls: StoreCalls) -> None:
        self._process = process
        self._dispatcher = process.dispatcher
        self._replies = replies
        self._store_calls = store_calls
        self._instances: dict[int, Instance] = {}
        self._successors: dict[int, Instance] = {}  # replace instances of the same number from the next frame on
        self._lock = threading.Lock()  # for changes of both

    def get(self, number: int) -> Instance | None:
        """The instance of a number; None if none is configured on this stream."""
        return self._instances.get(number)

    def configure(self, configure: pb.ConfigureInstance) -> None:
        """Makes an instance, which replaces one of the same number. Its status follows, from any thread.

        Executions that come for it before it is ready wait.
        """
        policy = self._policy(configure)
        try:
            instance = _instance(configure, self._dispatcher.limits.max_waiting)
        except ValueError as error:
            instance = Instance(_metadata(configure, {}), {}, configure.instance_id)
            policy = Failure(FailureClass.EXCEPTION, str(error), instance.key)
        self._retire(configure.instance)
        self._instances[configure.instance] = instance
        instance.store = InstanceStore(self._store_calls, instance, configure.instance)
        instance.replace_on_own_loop = lambda: self._prepare_successor(configure, instance)
        if isinstance(policy, Failure):
            self._settle(configure, instance, policy)
            return
        self._prepare(configure, instance, policy, lambda result: self._settle(configure, instance, result))

    def close(self, numbers: Iterable[int]) -> None:
        """Closes instances, each after its last execution."""
        for number in numbers:
            self._retire(number)

    def close_all(self) -> None:
        """Closes all instances, after the stream's last answer."""
        self.close([*self._instances])

    def promote_successors(self) -> None:
        """Lets successors replace their instances, between two frames: executions of earlier frames have a slot of the
        old instance by now, or wait for one, so it ends after them."""
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
            removed = [instances.pop(number, None) for instances in (self._instances, self._successors)]
        for instance in removed:
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

    def _settle(self, configure: pb.ConfigureInstance, instance: Instance, result: Prepared | Failure) -> None:
        """Reports that the instance is ready, or has failed, and runs or refuses the executions that waited for it."""
        status = pb.InstanceStatus(instance=configure.instance)
        if isinstance(result, Failure):
            status.failure.CopyFrom(failure_message(result))
        self._replies.put_status(status)
        if isinstance(result, Failure):
            for execution in instance.fail(result):
                self._dispatcher.fail(execution)
            self._replies.flush()
            return
        self._replies.flush()
        hooks = [hook for hook in result.hooks.values() if hook is not PASS]
        allowed = self._dispatcher.concurrency(configure.max_concurrency, all(hook.is_coroutine for hook in hooks))
        self._dispatcher.make_ready(instance, result.hooks, result.value, allowed)

    # -------------------------------------------------------------- an event loop of its own

    def _prepare_successor(self, configure: pb.ConfigureInstance, instance: Instance) -> None:
        """Prepares a successor of an instance, on an event loop of its own. It replaces the instance with the first
        frame after it is ready; executions of earlier frames keep the old instance."""
        policy = self._policy(configure)
        if isinstance(policy, LoadedPolicy) and instance.limit:
            instance.replace_on_own_loop = _is_replaced_already
            successor = _instance(configure, self._dispatcher.limits.max_waiting)
            successor.store = InstanceStore(self._store_calls, successor, configure.instance)
            self._dispatcher.loops.give_own(successor)
            self._prepare(
                configure, successor, policy,
                lambda result: self._settle_successor(configure, instance, successor, result),
            )  # fmt: skip

    def _settle_successor(
        self, configure: pb.ConfigureInstance, instance: Instance, successor: Instance, result: Prepared | Failure
    ) -> None:
        if isinstance(result, Failure):
            log.error("%s stays on the event loop that it blocks: %s", instance.title, result.message)
            successor.fail(result)
            self._process.preparer.retire(successor)
            return
        successor.make_ready(result.hooks, result.value, instance.concurrency)
        with self._lock:
            is_current = self._instances.get(configure.instance) is instance
            if is_current:
                self._successors[configure.instance] = successor
        if is_current:
            log.warning("%s has an event loop of its own from now on", instance.title)
        else:
            self._process.preparer.retire(successor)


def _is_replaced_already() -> None:
    pass


def _metadata(configure: pb.ConfigureInstance, system_params: dict[str, Any]) -> PolicyMetadata:
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
    return Instance(_metadata(configure, system_params), params, configure.instance_id, max_waiting)


def _object(where: str, text: bytes) -> dict[str, Any]:
    value = json.loads(text or b"{}", object_hook=from_wire)
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected a JSON object, got {type(value).__name__}")
    return value
