"""One execution: what a policy's function is called with, and what becomes of what it does.

`execute` is the semantics of calling a Python policy, on one screen. Plain values in and out, no I/O.
"""

from __future__ import annotations

import logging

from gatewright.policy import FailureClass, RequestContext, ResponseContext, touched_metadata

from gatewright_executor import logs, memory
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.convert.translator import encode_action, encode_failure, request_context, response_context
from gatewright_executor.policies.failure import Failure, classify, describe, policy_traceback
from gatewright_executor.policies.policy_loader import Hook
from gatewright_executor.running.instance import Call

log = logging.getLogger(__name__)


def execute(call: Call, hook: Hook) -> bytes:
    """Calls the policy's function: an execution in, an Action out. Never raises, whatever the policy does."""
    logs.current.set(call)
    try:
        context = context_of(call)
        returned = hook.function(context, call.instance.params)
        action = encode_action(call.id, call.phase, returned, touched_metadata(context))
    except BaseException as error:  # SystemExit and RecursionError too: a policy ends its execution, not the worker
        action = fault(call, hook, error)
    if call.partial:
        logs.end(call)
    return action


def context_of(call: Call) -> RequestContext | ResponseContext:
    """What the hook is called with."""
    make = request_context if call.phase == pb.PHASE_REQUEST else response_context
    return make(call.execution, call.instance, call.deadline)


def fault(call: Call, hook: Hook, error: BaseException) -> bytes:
    """The Action for what a hook raised, or returned against its contract.

    What it raised goes to the log here, with its traceback. All else is the engine's to log: it knows what becomes of
    the request.
    """
    if isinstance(error, MemoryError):
        memory.exhausted.set()
    failure_class = classify(error)
    is_exception = failure_class is FailureClass.EXCEPTION
    failure = Failure(failure_class, describe(error), call.instance.key, hook.name, logged=is_exception)
    if is_exception:
        about = {"api": call.instance.about.api_name, "operation": call.operation}
        extra = {"trace": policy_traceback(error), "fields": about}
        log.error("%s failed: %s", hook.name, failure.message, extra=extra)
    return encode_failure(call.id, failure)


def refusal(call: Call, failure_class: FailureClass, message: str) -> bytes:
    """The Action for an execution that is not started."""
    return encode_failure(call.id, Failure(failure_class, message, call.instance.key))


def too_late(call: Call, now: float) -> bytes:
    """The Action for an execution whose deadline passed while it was queued."""
    late = f"expected to start before the deadline, got to it {(now - call.deadline) * 1000:.0f} ms after"
    return refusal(call, FailureClass.TIMEOUT, f"{late}; give the attachment more time or the executor more workers")
