"""Executions that never return occupy slots of their own instance only, and are reported."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.policies.policy_loader import LoadedPolicy
from gatewright_executor.running.hung import HUNG_SECONDS
from gatewright_executor.server import Server
from gatewright_executor.testing import SECONDS, Clock, Engine, configuration, request_execution

HANGS = """
    import threading
    from gatewright.policy import UpstreamRequestModifications

    gate = threading.Event()

    def on_request(ctx, params):
        if params.get("hang"):
            gate.wait(30)
        return UpstreamRequestModifications(set_headers={"x-value": params["value"]})
"""
LOOP = """
    import asyncio

    async def on_request(ctx, params):
        for _ in range(3000):
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                pass
"""
LATE = SECONDS + 1  # after so long an execution is late,
HUNG = LATE + HUNG_SECONDS  # and after so long it is hung


@pytest.fixture
def engine(load: Callable[..., dict[str, LoadedPolicy]], tmp_path: Path, clock: Clock) -> Iterator[Engine]:
    """An executor of 32 workers."""
    server = Server(load(hangs=HANGS, loop=LOOP), 32, clock=clock)
    server.start(tmp_path / "s.sock")
    with Engine(tmp_path / "s.sock") as engine:
        yield engine
    server.stop(0)


def test_a_hundred_hung_executions_of_one_instance_leave_the_others_alone(engine: Engine, clock: Clock) -> None:
    engine.configure(1, "hangs:v1.0.0", {"hang": True, "value": "hung"})
    for number in range(2, 6):
        engine.configure(number, "hangs:v1.0.0", {"value": str(number)})
    engine.send(*(request_execution(number, 1) for number in range(1, 101)))
    engine.wait(lambda: engine.health().workers_busy == 16)  # half the workers
    clock.move(HUNG)
    for number in range(200, 400):
        action = engine.execute(request_execution(number, 2 + number % 4))
        assert action.set_headers == b"x-value\0%d\0" % (2 + number % 4)
    health = engine.health()
    assert (health.workers_busy, health.workers_hung) == (16, 16)
    assert health.executions_finished == 200, "all of them while those hung"


def test_the_health_check_names_the_policies_that_hang(engine: Engine, clock: Clock) -> None:
    engine.send(
        configure=[configuration(1, "hangs:v1.0.0", {"hang": True, "value": ""}, max_concurrency=3, instance_id="i-1")]
    )
    engine.configure(2, "hangs:v1.0.0", {"value": "2"})
    engine.send(*(request_execution(number, 1) for number in range(1, 3)))
    engine.wait(lambda: engine.health().workers_busy == 2)
    clock.move(LATE)
    assert engine.health().workers_hung == 0, "they are only late"
    clock.move(HUNG - LATE)
    first = engine.health()
    assert [(hung.policy, hung.instance_id, hung.count) for hung in first.hung] == [("hangs:v1.0.0", "i-1", 2)]
    assert (first.workers_hung, first.hung[0].oldest_ms, first.hung[0].limit_ms) == (2, 36_000, 30_000)
    assert not first.hung[0].blocks_instance
    engine.wait(lambda: "in on_request\n    gate.wait(30)" in engine.health().hung[0].stack)
    engine.send(request_execution(3, 1))
    engine.wait(lambda: engine.health().workers_busy == 3)
    clock.move(HUNG)
    last = engine.health()
    assert last.workers_hung == 3
    assert last.hung[0].blocks_instance
    assert engine.execute(request_execution(9, 2)) == pb.Action(id=9, set_headers=b"x-value\0002\0")


def test_a_slow_execution_within_its_time_does_not_hang(engine: Engine, clock: Clock) -> None:
    engine.configure(1, "hangs:v1.0.0", {"hang": True, "value": ""})
    engine.send(request_execution(1, 1))
    engine.wait(lambda: engine.health().workers_busy == 1)
    clock.move(SECONDS - 1)
    health = engine.health()
    assert (health.oldest_execution_ms, health.workers_hung, len(health.hung)) == (29_000, 0, 0)


def test_a_coroutine_that_hangs_occupies_no_worker_but_is_reported(engine: Engine, clock: Clock) -> None:
    engine.configure(1, "loop:v1.0.0")
    engine.send(request_execution(1, 1))
    engine.wait(lambda: engine.health().oldest_execution_policy)
    clock.move(HUNG)
    health = engine.health()
    assert (health.workers_hung, health.hung[0].policy, health.hung[0].count) == (0, "loop:v1.0.0", 1)
    engine.wait(lambda: "in on_request\n    await asyncio.sleep(0.01)" in engine.health().hung[0].stack)
