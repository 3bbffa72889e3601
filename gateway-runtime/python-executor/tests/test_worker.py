"""Slow executions are told from those that had to wait for a core."""

import os
import subprocess
import sys
import time
from collections.abc import Callable

from gatewright.policy import PolicyMetadata
from gatewright_executor.running.instance import Execution, Instance
from gatewright_executor.running.latency import QUICK_SECONDS
from gatewright_executor.running.worker import Worker
from gatewright_executor.testing import request_execution


class Nobody:
    def claim(self, _execution: Execution) -> bool:
        return True

    def deliver(self, _execution: Execution, _action: bytes | None) -> None: ...

    def flush(self) -> None: ...

    def abort(self) -> None: ...


def slow(run: Callable[[], None], before: Callable[[], object] = lambda: None) -> bool:
    """Whether the execution `run` counts as slow; `before` was another one of the same batch."""
    instance = Instance(PolicyMetadata("p", "v1.0.0", "orders", "v1.0"), {})
    worker = Worker()
    worker.measure_from_here()
    before()
    began = time.monotonic()
    execution = Execution(request_execution(1), instance, began + 1, Nobody())
    worker.note_start(execution, began)
    assert worker.execution is execution
    run()
    worker.note_end(execution)
    assert worker.execution is None
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
    """In a process of its own: other threads of this one would hold it up too, by the GIL."""
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
