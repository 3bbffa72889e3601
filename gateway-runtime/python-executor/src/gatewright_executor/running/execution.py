"""One execution: calls a policy's function with its context, and makes an Action of the result.

`execute` is the semantics of calling a Python policy, on one screen. It takes and returns plain values, without I/O.
"""

from __future__ import annotations

import logging

from gatewright.policy import FailureClass, RequestContext, ResponseContext, touched_metadata

from gatewright_executor import logs
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.convert.translator import encode_action, encode_failure, request_context, response_context
from gatewright_executor.policies.failure import (
    Failure,
    classify,
    construction,
    definition,
    describe,
    place,
    policy_traceback,
)
from gatewright_executor.policies.policy_loader import Hook
from gatewright_executor.replacement import replacement_needed
from gatewright_executor.running.instance import Execution
from gatewright_executor.running.tracing import tracing

log = logging.getLogger(__name__)


def execute(execution: Execution, hook: Hook) -> bytes:
    """Calls the policy's function, and returns a serialized Action. Never raises, whatever the policy does."""
    logs.current.set(execution)
    if execution.message.traceparent:
        tracing.enter(execution)
    try:
        context = context_of(execution)
        returned = hook.function(context, execution.instance.params)
        action = encode_action(execution.id, execution.phase, returned, touched_metadata(context))
    except BaseException as error:  # SystemExit and RecursionError too: they must not end the worker
        action = failure_of(execution, hook, error)
    if execution.partial:
        logs.flush_partial(execution)
    return action


def context_of(execution: Execution) -> RequestContext | ResponseContext:
    """The context that the hook is called with."""
    make = request_context if execution.phase == pb.PHASE_REQUEST else response_context
    instance = execution.instance
    return make(execution.message, instance.metadata, instance.prepared, execution.deadline, instance.shared)


def failure_of(execution: Execution, hook: Hook, error: BaseException) -> bytes:
    """The Action for an exception of a hook, or a return value that its contract forbids.

    An exception is logged here, with its traceback. The engine logs all else, since it knows the exchange's outcome.
    """
    if isinstance(error, MemoryError):
        replacement_needed.memory_exhausted = True
    failure_class = classify(error)
    is_exception = failure_class is FailureClass.EXCEPTION
    file, line = place(error)
    instance = execution.instance
    message = instance.without_secrets(describe(error))
    if not file and failure_class is FailureClass.BAD_ACTION:  # raised by no line of the policy: it was returned
        file, line = construction(error)
        if file:
            message += f" ({file}:{line})"
        else:
            file, line = definition(hook.function)
            message += f" ({hook.name} is at {file}:{line})" if file else ""
    failure = Failure(failure_class, message, instance.key, hook.name, is_exception, file, line)
    if is_exception:
        fields = {"api": instance.metadata.api_name, "operation": execution.operation}
        extra = {"trace": instance.without_secrets(policy_traceback(error)), "fields": fields}
        log.error("%s failed: %s", hook.name, failure.message, extra=extra)
    return encode_failure(execution.id, failure)


def refusal(execution: Execution, failure_class: FailureClass, message: str) -> bytes:
    """The Action for an execution that is not started."""
    return encode_failure(execution.id, Failure(failure_class, message, execution.instance.key))


def refuse_late(execution: Execution, now: float) -> bytes:
    """The Action for an execution whose deadline has passed before its start. now: time.monotonic()."""
    late = f"expected to start before the deadline, had its turn {(now - execution.deadline) * 1000:.0f} ms after it"
    cure = "give the attachment more time or the executor more workers"
    return refusal(execution, FailureClass.TIMEOUT, f"{late}; {cure}")
