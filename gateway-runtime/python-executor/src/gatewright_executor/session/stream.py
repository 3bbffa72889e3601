"""One stream of the engine: its instances, its executions, its answers. No gRPC in here.

All that a stream holds dies with it; the engine configures its instances anew on the next one.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gatewright.params import freeze
from gatewright.policy import FailureClass, PolicyMetadata

from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.convert.translator import encode_failure, failure_message
from gatewright_executor.policies.failure import Failure
from gatewright_executor.policies.policy_loader import LoadedPolicy
from gatewright_executor.running.dispatch import Dispatcher
from gatewright_executor.running.inline_runner import taken
from gatewright_executor.running.instance import Call, Instance
from gatewright_executor.running.prepare import DEFAULT_SECONDS, PASS, Prepared, Preparer, Settle
from gatewright_executor.session.replies import Out, Replies

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Process:
    """What all streams of an executor share."""

    policies: Mapping[str, LoadedPolicy]  # by "name:version"
    dispatcher: Dispatcher
    preparer: Preparer
    hello: pb.Hello


class Stream:
    """Takes frames in from one thread; answers leave by `out`, from any. `read_on` is for another that reads on."""

    def __init__(self, process: Process, out: Out, read_on: Callable[[], None]) -> None:
        self._process = process
        self._dispatcher = process.dispatcher
        self._replies = Replies(out, lambda: process.dispatcher.backlog)
        self._reader = process.dispatcher.reader(self._go_on, self.abandon)
        self._read_on = read_on
        self._instances: dict[int, Instance] = {}
        self._successors: dict[int, Instance] = {}  # of some of these, from the next frame on
        self._changing = threading.Lock()  # held for what may not come between two looks at them
        self._pending: dict[int, Call] = {}  # taken in, not started
        self._running: dict[int, Call] = {}
        self._draining = False
        self._replies.put_hello(process.hello)
        self._replies.flush()

    def take_in(self, frame: pb.RequestFrame) -> bool:
        """Hands a frame's content on: configure, executions, cancel, close in this order; runs most of it itself.

        False: an execution stood still, and another thread reads on.
        """
        if self._successors:
            self._succeed()
        for configure in frame.configure:
            self._configure(configure)
        now = time.monotonic() if frame.executions else 0.0
        calls = deque(call for execution in frame.executions if (call := self._accept(execution, now)) is not None)
        for late in frame.timed_out:
            self._note_late(late)
        for number in frame.cancel:
            self._cancel(number)
        if frame.close:
            self._close_instances(frame.close, calls)
        self._replies.take_in()
        return self._take_turn(calls)

    def drain(self) -> None:
        """Ends the stream when all that it has taken in is answered; what comes now is refused as unavailable."""
        self._draining = True
        self._replies.end_when(lambda: not self._pending and not self._running)
        self._replies.flush()

    def abandon(self) -> None:
        """Ends the stream now. Nobody waits for its answers: what has not started never will."""
        self._draining = True
        for number in [*self._pending]:
            self._cancel(number)
        self._replies.end_when(lambda: True)
        self._replies.flush()

    def close(self) -> None:
        """After its last answer."""
        self._reader.close()
        for number in [*self._instances]:
            self._retire(number)

    # -------------------------------------------------------------- Caller

    def begin(self, call: Call) -> bool:
        self._running[call.id] = call
        if self._pending.pop(call.id, None) is not None:  # whoever pops it, a worker or a cancel, decides
            return True
        self._running.pop(call.id, None)
        return False

    def end(self, call: Call, action: bytes | None) -> None:
        if action is not None:
            self._replies.put_action(action)
        self._running.pop(call.id, None)

    def flush(self) -> None:
        self._replies.flush()

    # -------------------------------------------------------------- its reader's turn

    def _take_turn(self, calls: deque[Call]) -> bool:
        """Runs executions in this thread, as many as there is time for. False: another thread reads on."""
        reads_on = not calls or self._reader.take_turn(calls, self._dispatcher.row)
        if reads_on:
            for call in taken(calls):
                self._dispatcher.submit(call)
        self._replies.flush()
        return reads_on

    def _go_on(self, calls: deque[Call]) -> None:
        """Does in this thread what is left of a turn, and reads on, in the place of a reader that is held up."""
        self._replies.flush()
        if self._take_turn(calls):
            self._read_on()

    # -------------------------------------------------------------- what a frame carries

    def _accept(self, execution: pb.Execution, now: float) -> Call | None:
        """Sends an execution to the workers; returns it where this thread may run it."""
        instance = self._instances.get(execution.instance)
        if instance is None or self._draining:
            why = (
                "it is stopping" if self._draining else f"no instance {execution.instance} is configured on this stream"
            )
            failure = Failure(FailureClass.UNAVAILABLE, f"the executor did not start it: {why}")
            self._replies.put_action(encode_failure(execution.id, failure))
            return None
        call = Call(execution, instance, now + execution.timeout_us / 1e6, self)
        self._pending[call.id] = call
        if instance.runs_where_read(call.phase):
            return call
        self._dispatcher.submit(call)
        return None

    def _note_late(self, late: pb.TimedOut) -> None:
        call = self._pending.get(late.id) or self._running.get(late.id)
        instance = call.instance if call is not None else self._instances.get(late.instance)
        if instance is not None:
            self._dispatcher.timeouts.note(late, instance, call)

    def _cancel(self, number: int) -> None:
        call = self._pending.pop(number, None) or self._running.get(number)
        if call is not None:
            self._dispatcher.cancel(call)
        if self._draining:
            self._replies.flush()

    def _close_instances(self, numbers: Iterable[int], calls: deque[Call]) -> None:
        """What has come for them comes first, wherever it runs."""
        for call in taken(calls):
            self._dispatcher.submit(call)
        for number in numbers:
            self._retire(number)

    def _retire(self, number: int) -> None:
        with self._changing:
            gone = [held.pop(number, None) for held in (self._instances, self._successors)]
        for instance in gone:
            if instance is not None:
                self._process.preparer.retire(instance)

    def _configure(self, configure: pb.ConfigureInstance) -> None:
        policy = self._policy(configure)
        try:
            instance = _instance(configure)
        except ValueError as error:
            instance = Instance(_about(configure, {}), {}, configure.instance_id)
            policy = Failure(FailureClass.EXCEPTION, str(error), instance.key)
        self._retire(configure.instance)
        self._instances[configure.instance] = instance
        instance.move = lambda: self._move(configure, instance)
        if isinstance(policy, Failure):
            self._settle(configure, instance, policy)
            return
        self._prepare(configure, instance, policy, lambda made: self._settle(configure, instance, made))

    def _prepare(
        self, configure: pb.ConfigureInstance, instance: Instance, policy: LoadedPolicy, settle: Settle
    ) -> None:
        seconds = configure.prepare_timeout_ms / 1000 or DEFAULT_SECONDS
        self._process.preparer.prepare(instance, policy, seconds, settle)

    def _move(self, configure: pb.ConfigureInstance, instance: Instance) -> None:
        """Prepares an instance anew, on an event loop of its own. That one takes its place with the first frame after
        it is ready; for what has come before, all stays as it is."""
        policy = self._policy(configure)
        if isinstance(policy, LoadedPolicy) and instance.limit:
            instance.move = _stay
            successor = _instance(configure)
            self._dispatcher.loops.part(successor)
            self._prepare(configure, successor, policy, lambda made: self._moved(configure, instance, successor, made))

    def _moved(
        self, configure: pb.ConfigureInstance, instance: Instance, successor: Instance, made: Prepared | Failure
    ) -> None:
        if isinstance(made, Failure):
            log.error("%s stays on the event loop that it blocks: %s", instance.title, made.message)
            successor.fail(made)
            self._process.preparer.retire(successor)
            return
        successor.ready(made.hooks, made.value, instance.concurrency)
        with self._changing:
            is_there = self._instances.get(configure.instance) is instance
            if is_there:
                self._successors[configure.instance] = successor
        if is_there:
            log.warning("%s has an event loop of its own from now on", instance.title)
        else:
            self._process.preparer.retire(successor)

    def _succeed(self) -> None:
        """What has come so far has a slot of its instance by now, or waits for one: so that one may end after it."""
        with self._changing:
            successors, self._successors = self._successors, {}
            replaced = [self._instances[number] for number in successors]
            self._instances |= successors
        for instance in replaced:
            self._process.preparer.retire(instance)

    def _policy(self, configure: pb.ConfigureInstance) -> LoadedPolicy | Failure:
        key = f"{configure.policy_name}:{configure.policy_version}"
        policy = self._process.policies.get(key)
        if policy is None:
            known = ", ".join(self._process.policies) or "none"
            return Failure(FailureClass.UNAVAILABLE, f"expected a policy of this build ({known}), got {key}", key)
        return policy.failure or policy

    def _settle(self, configure: pb.ConfigureInstance, instance: Instance, made: Prepared | Failure) -> None:
        """The instance is ready, or will never be; those that waited for it go on."""
        status = pb.InstanceStatus(instance=configure.instance)
        if isinstance(made, Failure):
            status.failure.CopyFrom(failure_message(made))
        self._replies.put_status(status)
        if isinstance(made, Failure):
            for call in instance.fail(made):
                self._dispatcher.fail(call)
            self._replies.flush()
            return
        self._replies.flush()
        hooks = [hook for hook in made.hooks.values() if hook is not PASS]
        allowed = self._dispatcher.concurrency(configure.max_concurrency, all(hook.is_coroutine for hook in hooks))
        self._dispatcher.ready(instance, made.hooks, made.value, allowed)


def _stay() -> None:
    """It moves already, or has moved."""


def _about(configure: pb.ConfigureInstance, system_params: dict[str, Any]) -> PolicyMetadata:
    return PolicyMetadata(
        configure.policy_name,
        configure.policy_version,
        configure.api_name,
        configure.api_version,
        system_params,
        configure.operation,
    )


def _instance(configure: pb.ConfigureInstance) -> Instance:
    system_params = freeze(_object("system parameters", configure.system_parameters))
    params = _object("parameters", configure.parameters)
    return Instance(_about(configure, system_params), params, configure.instance_id)


def _object(where: str, text: bytes) -> dict[str, Any]:
    value = json.loads(text or b"{}")
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected a JSON object, got {text!r:.80}")
    return value
