"""Slow executions are distinguished from those that waited for a core."""

import math
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


class NoRunner:
    def claim(self, _execution: Execution) -> bool:
        return True

    def deliver(self, _execution: Execution, _action: bytes | None) -> None: ...

    def flush(self) -> None: ...

    def abort(self) -> None: ...


class Clock:
    """A worker's clock: seconds that pass as a test sets them."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def slow(run: Callable[[], object], took: float, before: float = 0.0) -> bool:
    """Whether the execution `run`, which took so long by the clock, counts as slow. before: CPU seconds of another one
    of the same batch. By the clock it took twice as long: what the machine adds to its CPU time is not the policy's."""
    worker = Worker(clock := Clock())
    worker.measure_from_here()
    compute(before)
    clock.now = 2 * before
    execution = Execution(request_execution(1), instance(), math.inf, NoRunner())
    worker.note_start(execution, clock.now)
    assert worker.execution is execution
    run()
    clock.now += took
    worker.note_end(execution)
    assert worker.execution is None
    assert worker.finished == 1
    return worker.was_slow


def instance() -> Instance:
    return Instance(PolicyMetadata("p", "v1.0.0", "orders", "v1.0"), {})


def compute(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_an_execution_that_waits_is_slow() -> None:
    assert slow(lambda: time.sleep(0.001), took=QUICK_SECONDS)


def test_an_execution_that_computes_is_slow() -> None:
    assert slow(lambda: compute(2 * QUICK_SECONDS), took=2 * QUICK_SECONDS)


def test_a_short_execution_is_not_slow() -> None:
    assert not slow(lambda: time.sleep(0.001), took=QUICK_SECONDS / 2)


def test_cpu_time_of_earlier_executions_is_not_counted() -> None:
    """In a new process, whose other threads cannot delay it: for that it would have to wait."""
    run_alone("follow_one_that_computes")


def follow_one_that_computes() -> None:
    assert not slow(lambda: None, took=5 * QUICK_SECONDS, before=20 * QUICK_SECONDS), "others had the core"


def run_alone(function: str) -> None:
    done = subprocess.run(
        [sys.executable, __file__, function], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr


def test_an_execution_that_shares_the_core_is_not_slow() -> None:
    """In a new process: other threads of this one would delay it too, by the GIL."""
    run_alone("share_the_core")


def share_the_core() -> None:
    """A child computes on the same core, so executions of a tenth of a quick one take much longer now and then."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    child = os.fork()
    if child == 0:
        compute(60)
        os._exit(0)
    try:
        held_up, taken_for_slow = 0, 0
        while held_up < 50:
            worker, execution = Worker(), Execution(request_execution(1), instance(), math.inf, NoRunner())
            worker.measure_from_here()
            worker.note_start(execution, time.monotonic())
            compute(QUICK_SECONDS / 10)
            worker.note_end(execution)
            if worker.ended - execution.started >= QUICK_SECONDS:
                held_up += 1
                taken_for_slow += worker.was_slow
        # A machine that is itself a guest counts time as computed that its host took.
        assert taken_for_slow <= held_up / 2, f"{taken_for_slow} of {held_up}"
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
