"""INPROC: what an execution costs in Python without any network; prints it in µs, as JSON. `make bench ARGS=executor`
runs it.

    python inproc.py --registry FILE --policy headers:v1.0.0 --parameters JSON --execution FILE

The last file is a serialized Execution of python_executor.proto, without its id. Frames of 64 are parsed, each
execution runs the policy, its action is serialized: the executor's own code, called in a loop by one thread.
"""

from __future__ import annotations

import argparse
import contextvars
import json
import time
from pathlib import Path

from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.convert import wire
from gatewright_executor.policies import policy_loader
from gatewright_executor.policies.policy_loader import Hook
from gatewright_executor.running.execution import execute
from gatewright_executor.running.instance import Concurrency, Execution, Instance
from sdk.policy import PolicyMetadata

EXECUTIONS = 64
SECONDS = 0.5


class Nobody:
    """Waits for no answer."""

    def claim(self, _execution: Execution) -> bool:
        return True

    def deliver(self, _execution: Execution, _action: bytes | None) -> None:
        pass

    def flush(self) -> None:
        pass

    def abort(self) -> None:
        pass


def main() -> None:
    options = _parser().parse_args()
    frame = _frame(options.execution.read_bytes())
    policy = policy_loader.load_all(policy_loader.read_registry(options.registry))[options.policy]
    if policy.failure:
        raise SystemExit(f"{options.policy}: {policy.failure}")
    hooks = {pb.PHASE_REQUEST: policy.on_request, pb.PHASE_RESPONSE: policy.on_response}
    instance = Instance(PolicyMetadata(*options.policy.split(":")), json.loads(options.parameters))
    instance.make_ready({phase: hook for phase, hook in hooks.items() if hook}, None, Concurrency(1, 1))
    _measure(frame, instance)
    print(json.dumps({"us": _measure(frame, instance)}))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--registry", type=Path, required=True, help="python_policy_registry.py")
    parser.add_argument("--policy", required=True, help="NAME:VERSION")
    parser.add_argument("--parameters", required=True, help="JSON")
    parser.add_argument("--execution", type=Path, required=True, help="a serialized Execution")
    return parser


def _frame(execution: bytes) -> bytes:
    keys, execution_keys = wire.keys(pb.RequestFrame), wire.keys(pb.Execution)
    return b"".join(
        wire.delimited(keys["executions"], execution + execution_keys["id"] + wire.varint(number))
        for number in range(1, EXECUTIONS + 1)
    )


def _measure(frame: bytes, instance: Instance) -> float:
    """CPU µs per execution."""
    began, count = time.process_time(), 0
    while time.process_time() - began < SECONDS:
        _run_frame(frame, instance)
        count += EXECUTIONS
    return (time.process_time() - began) / count * 1e6


def _run_frame(frame: bytes, instance: Instance) -> bytes:
    key = wire.keys(pb.ReplyFrame)["actions"]
    deadline, sink = time.monotonic() + 1, Nobody()
    return b"".join(
        wire.delimited(key, _run(Execution(message, instance, deadline, sink)))
        for message in pb.RequestFrame.FromString(frame).executions
    )


def _run(execution: Execution) -> bytes:
    hook: Hook = execution.instance.hooks[execution.phase]
    return contextvars.Context().run(execute, execution, hook)


if __name__ == "__main__":
    main()
