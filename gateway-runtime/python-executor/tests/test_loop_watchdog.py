"""An async policy that blocks the event loop: who it is, where it stands, and what becomes of it."""

import json
import logging
import re
import threading
from collections.abc import Callable

import pytest
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.running import loop_watchdog
from gatewright_executor.testing import Engine, configuration, eventually, request_execution, response_execution

Start = Callable[..., Engine]
BLOCKS = """
    import asyncio, threading, time
    seen = []

    async def prepare(params):
        loop = asyncio.get_running_loop()
        seen.append(["prepared on", threading.get_ident()])
        yield loop
        assert asyncio.get_running_loop() is loop
        seen.append(["closed on", threading.get_ident()])

    async def on_request(ctx, params):
        assert ctx.prepared is asyncio.get_running_loop()
        if "x-block" in ctx.headers:
            wait(float(ctx.headers["x-block"]))

    def on_response(ctx, params): pass

    def wait(seconds):
        time.sleep(seconds)
"""
LOOKS = """
    import threading, sys
    from gatewright.policy import ImmediateResponse

    async def on_request(ctx, params):
        return ImmediateResponse(200, {"x-thread": str(threading.get_ident())})

    def on_response(ctx, params):
        ctx.metadata["seen"] = [m for n, m in sys.modules.items() if n.endswith(".blocks")][-1].seen
"""


def block(number: int, seconds: float = 0.15) -> pb.Execution:
    return request_execution(number, headers={"x-block": str(seconds)})


def block_until_it_moves(two: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """After STRIKES blocks that are seen; on a machine that is busy not all are."""
    for number in range(50):
        two.execute(block(number))
        if "policy blocks:v1.0.0 of API orders-v1 has an event loop of its own" in caplog.text:
            assert number >= loop_watchdog.STRIKES - 1
            return
    raise AssertionError(caplog.text)


def seen(one: Engine, number: int) -> list[list[object]]:
    noted: list[list[object]] = json.loads(one.execute(response_execution(number, 2)).metadata_set)["seen"]
    return noted


@pytest.fixture
def two(engine: Start) -> Engine:
    """Instance 1 blocks where it is told to, instance 2 says on which thread it runs."""
    one = engine(blocks=BLOCKS, looks=LOOKS)
    wanted = configuration(1, "blocks:v1.0.0")
    wanted.api_name = "orders-v1"
    one.send(configure=[wanted, configuration(2, "looks:v1.0.0")])
    one.wait(lambda: len(one.statuses) == 2)
    return one


def test_who_blocks_is_named_once_with_its_line(two: Engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    two.execute(block(1, 0.4))
    two.execute(block(2, 0.2))
    (record,) = [record for record in caplog.records if "blocks the event loop" in record.message]
    assert record.message.startswith("policy blocks:v1.0.0 of API orders-v1 blocks the event loop at /")
    assert "blocks.py:20: one step has taken 0." in record.message
    trace = str(record.trace)  # type: ignore[attr-defined]
    assert re.search(r"blocks\.py\", line 15, in on_request\n.*\n  File .*line 20, in wait\n    time\.sleep", trace)
    assert "gatewright_executor" not in trace
    assert "asyncio" not in trace


def test_who_blocks_again_and_again_gets_a_loop_of_its_own(two: Engine, caplog: pytest.LogCaptureFixture) -> None:
    block_until_it_moves(two, caplog)
    two.send(block(100, 5))
    two.wait(lambda: two.health().oldest_execution_policy == "blocks:v1.0.0")
    for number in range(200, 210):  # while that one blocks, and long before it ends
        shared = two.execute(request_execution(number, 2)).immediate_response.headers
    assert 100 not in {action.id for action in two.actions}
    first, second = (note for note in seen(two, 300) if note[0] == "prepared on")
    assert first[1] != second[1]
    assert shared == f"x-thread\0{first[1]}\0".encode()
    assert eventually(lambda: ["closed on", first[1]] in seen(two, 301 + len(two.frames)))
    assert ["closed on", second[1]] not in seen(two, 300)


def test_who_has_blocked_in_prepare_still_gets_one(engine: Start, caplog: pytest.LogCaptureFixture) -> None:
    """What it did then does not count for a move: there was nothing yet that could be replaced."""
    steps = loop_watchdog.STRIKES + 2
    source = f"""
        import asyncio, time
        async def prepare(params):
            for _ in range({steps}):
                time.sleep(0.2)
                await asyncio.sleep(0)
        async def on_request(ctx, params): time.sleep(0.2)
    """
    one = engine(blocks=source, waits="import asyncio\nasync def on_request(ctx, params): await asyncio.sleep(9)")
    one.configure(2, "waits:v1.0.0")
    one.send(request_execution(100, 2))
    one.configure(1, "blocks:v1.0.0")
    assert "policy blocks:v1.0.0 blocks the event loop" in caplog.text
    for number in range(30):
        one.execute(request_execution(number))
        if "has an event loop of its own" in caplog.text:
            return
    raise AssertionError(caplog.text)


def test_its_own_loop_ends_with_the_instance(two: Engine, caplog: pytest.LogCaptureFixture) -> None:
    block_until_it_moves(two, caplog)
    two.execute(request_execution(50))
    finished = two.health().executions_finished
    second = seen(two, 100)[1][1]
    loops = names().count("coroutines")
    two.send(close=[1])
    assert eventually(lambda: ["closed on", second] in seen(two, 200 + len(two.frames)))
    assert eventually(lambda: names().count("coroutines") < loops)
    assert two.health().executions_finished >= finished


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def test_a_background_task_is_caught_too(engine: Start, caplog: pytest.LogCaptureFixture) -> None:
    source = """
        import asyncio, time
        async def poll():
            while True:
                await asyncio.sleep(0.01)
                time.sleep(0.2)
        async def prepare(params):
            return asyncio.create_task(poll())
        async def on_request(ctx, params): pass
    """
    one = engine(polls=source)
    one.configure(1, "polls:v1.0.0")
    for number in range(100):
        if "polls:v1.0.0 blocks the event loop" in caplog.text:
            break
        one.execute(request_execution(number))
    assert "policy polls:v1.0.0 blocks the event loop" in caplog.text


def test_what_awaits_blocks_nobody(engine: Start, caplog: pytest.LogCaptureFixture) -> None:
    one = engine(naps="import asyncio\nasync def on_request(ctx, params): await asyncio.sleep(0.3)")
    one.configure(1, "naps:v1.0.0")
    one.send(*map(request_execution, range(50)))
    one.wait(lambda: len(one.actions) == 50)
    assert "blocks" not in caplog.text
