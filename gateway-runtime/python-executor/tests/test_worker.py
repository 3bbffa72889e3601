"""Slow executions are told from those that had to wait for a core."""

import os
import subprocess
import sys
import time
from collections.abc import Callable

from gatewright.policy import PolicyMetadata
from gatewright_executor._gen.python_executor_pb2 import Action
from gatewright_executor.policies.policy_loader import Hook
from gatewright_executor.running.instance import Call, Instance
from gatewright_executor.running.latency import QUICK_SECONDS
from gatewright_executor.running.worker import Worker
from gatewright_executor.testing import request_execution


class Nobody:
    def begin(self, _call: Call) -> bool:
        return True

    def end(self, _call: Call, _action: bytes | None) -> None:
        pass

    def flush(self) -> None:
        pass


def slow(run: Callable[[], None], before: Callable[[], object] = lambda: None) -> bool:
    """Whether the execution `run` counts as slow; `before` was another one of the same turn."""
    instance = Instance(PolicyMetadata("p", "v1.0.0", "orders", "v1.0"), {})
    worker = Worker()
    worker.mark()
    before()
    began = time.monotonic()
    call = Call(request_execution(1), instance, began + 1, Nobody())
    assert not Action.FromString(worker.run(call, Hook("on_request", lambda _ctx, _params: run()), began)).HasField(
        "failure"
    )
    assert worker.finished == 1
    return worker.was_slow


def compute(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_who_waits_is_slow() -> None:
    assert slow(lambda: time.sleep(2 * QUICK_SECONDS))


def test_who_computes_is_slow() -> None:
    assert slow(lambda: compute(3 * QUICK_SECONDS))


def test_who_is_soon_done_is_not() -> None:
    assert not any(slow(lambda: None, before=lambda: compute(3 * QUICK_SECONDS)) for _ in range(20))


def test_who_has_to_share_the_core_is_not_slow() -> None:
    """In a process of its own: other threads of this one would hold it up too, by Python's lock."""
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def share_the_core() -> None:
    """A child computes on the same core, so executions of half a quick one take much longer now and then."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    child = os.fork()
    if child == 0:
        compute(60)
        os._exit(0)
    try:
        held_up, taken_for_slow, until = 0, 0, time.monotonic() + 30
        while held_up < 50:
            assert time.monotonic() < until, "nothing was held up, so nothing was tested"
            began = time.monotonic()
            taken_for_slow += slow(lambda: compute(QUICK_SECONDS / 2))
            held_up += time.monotonic() - began >= QUICK_SECONDS
        assert taken_for_slow <= 5  # a machine that is itself a guest counts time as computed that its host took
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


if __name__ == "__main__":
    share_the_core()
