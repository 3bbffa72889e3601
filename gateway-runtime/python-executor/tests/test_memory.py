"""A process with a bound: what allocates without end fails, and the machine's memory is safe."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from gatewright.params import JsonValue
from gatewright_executor.testing import Engine, request_execution

HOGS = """
import sys
from gatewright_executor import memory
memory.limit(100 * 1024 * 1024)
held = []
try:
    while len(held) < 1000:
        held.append(bytearray(4 * 1024 * 1024))
except MemoryError:
    count = len(held)
    held.clear()
    print(count * 4)
"""

GROWS = """
import threading
from gatewright_executor import memory
from gatewright_executor.running.worker_pool import WorkerPool
from gatewright_executor.testing import eventually
gate, begun = threading.Event(), []
def run(execution, worker):
    begun.append(execution)
    gate.wait(30)
pool = WorkerPool(36, run, 288)
pool.start()
memory.limit(100 * 1024 * 1024)
for number in range(288):
    pool.submit(number)
assert eventually(lambda: len(begun) == 36)
pool.grow()
assert eventually(lambda: len(begun) == 288)
print(pool.grown)
gate.set()
"""

WAITS = """
from gatewright_executor import memory
from gatewright_executor.running.dispatch import Dispatcher
from gatewright_executor.running.instance import Instance
from gatewright_executor.running.prepare import Preparer
from gatewright_executor.testing import request_execution, timed_out
from gatewright.policy import PolicyMetadata
dispatcher = Dispatcher(4)
preparer = Preparer(dispatcher.loops)
memory.limit(100 * 1024 * 1024)
for number in range(200):
    instance = Instance(PolicyMetadata("one", f"v1.0.{number}"), {})
    dispatcher.timeout_log.record(timed_out(request_execution(1)), instance, None)
    preparer.retire(instance)
print("all")
"""

GREEDY = """
    def on_request(ctx, params):
        raise MemoryError if params else KeyError
"""


@pytest.mark.parametrize(("parameters", "exhausted"), [({"greedy": True}, True), ({}, False)])
def test_after_an_allocation_that_failed_the_process_asks_to_be_replaced(
    start_engine: Callable[..., Engine], parameters: dict[str, JsonValue], exhausted: bool
) -> None:
    engine = start_engine(greedy=GREEDY)
    engine.configure(1, "greedy:v1.0.0", parameters)
    engine.send(request_execution(1))
    assert engine.action(1).HasField("failure")
    assert engine.health().memory_exhausted is exhausted


def test_over_the_limit_allocations_fail() -> None:
    done = subprocess.run([sys.executable, "-c", HOGS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    mebibytes = int(done.stdout)
    assert 40 < mebibytes < 100 + 24 * 8 + 10


def test_threads_that_come_later_have_their_stacks_beside_the_limit() -> None:
    """As many as the pool may have by default, under a limit that their stacks alone would pass."""
    done = subprocess.run([sys.executable, "-c", GROWS], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "252"), done.stderr


def test_two_hundred_instances_that_time_out_and_end_take_no_thread_each() -> None:
    done = subprocess.run([sys.executable, "-c", WAITS], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "all"), done.stderr[-2000:]
