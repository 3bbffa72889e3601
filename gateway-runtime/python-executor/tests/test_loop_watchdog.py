"""An async policy that blocks the event loop: which one it is, at which line, and what happens to it."""

import json
import logging
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gatewright_executor.running import loop_watchdog
from gatewright_executor.testing import Engine, configuration, eventually, request_execution, response_execution

Start = Callable[..., Engine]
BLOCKS = """
    import asyncio, threading, time
    from pathlib import Path
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
            wait(Path(ctx.headers["x-block"]))

    def on_response(ctx, params): pass

    def wait(file):
        while not file.exists():
            time.sleep(0.01)
"""
LOOKS = """
    import threading, sys
    from gatewright.policy import ImmediateResponse

    async def on_request(ctx, params):
        return ImmediateResponse(200, {"x-thread": str(threading.get_ident())})

    def on_response(ctx, params):
        ctx.metadata["seen"] = [m for n, m in sys.modules.items() if n.endswith(".blocks")][-1].seen
"""


Blocks = Callable[..., None]


@pytest.fixture
def block(tmp_path: Path) -> Blocks:
    """block(engine, number, until): an execution of instance 1 blocks its loop until `until()`, and is answered."""

    def block(engine: Engine, number: int, until: Callable[[], bool]) -> None:
        noticed = tmp_path / f"noticed-{number}"
        engine.send(request_execution(number, headers={"x-block": str(noticed)}))
        assert eventually(until)
        noticed.touch()
        engine.action(number)

    return block


def for_so_long(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def block_until_it_moves(engine: Engine, block: Blocks, caplog: pytest.LogCaptureFixture) -> None:
    """Blocks until the policy has moved: after STRIKES blocks that the watchdog has noticed. It logs the first, and
    notices only long ones on a busy machine, so each is longer than the one before."""
    for number in range(20):
        block(engine, number, for_so_long(0.1 + 0.05 * number))
        if "policy blocks:v1.0.0 of API orders-v1 has an event loop of its own" in caplog.text:
            assert number >= loop_watchdog.STRIKES - 1
            return
    raise AssertionError(caplog.text)


def seen(engine: Engine, number: int) -> list[list[object]]:
    noted: list[list[object]] = json.loads(engine.execute(response_execution(number, 2)).metadata_set)["seen"]
    return noted


@pytest.fixture
def engine(start_engine: Start) -> Engine:
    """Instance 1 blocks if a request asks for it, instance 2 answers with its thread."""
    started = start_engine(blocks=BLOCKS, looks=LOOKS)
    wanted = configuration(1, "blocks:v1.0.0")
    wanted.api_name = "orders-v1"
    started.send(configure=[wanted, configuration(2, "looks:v1.0.0")])
    started.wait(lambda: len(started.statuses) == 2)
    return started


def blocked(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if "blocks the event loop" in record.message]


def test_what_blocks_is_named_once_with_its_line(
    engine: Engine, block: Blocks, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    block(engine, 1, lambda: bool(blocked(caplog)))
    block(engine, 2, for_so_long(0.2))
    (record,) = blocked(caplog)
    assert record.message.startswith("policy blocks:v1.0.0 of API orders-v1 blocks the event loop at policies_")
    assert re.search(r"blocks\.py:2[23]: one step has taken [0-9.]+ s so far", record.message)
    trace = str(record.trace)  # type: ignore[attr-defined]
    assert re.search(r"blocks\.py\", line 16, in on_request\n.*\n  File .*line 2[23], in wait\n", trace)
    assert "gatewright_executor" not in trace
    assert "asyncio" not in trace


def test_a_policy_that_blocks_repeatedly_gets_its_own_loop(
    engine: Engine, block: Blocks, caplog: pytest.LogCaptureFixture
) -> None:
    block_until_it_moves(engine, block, caplog)

    def others_go_on() -> bool:
        """While it blocks."""
        engine.wait(lambda: engine.health().oldest_execution_policy == "blocks:v1.0.0")
        for number in range(200, 210):
            engine.execute(request_execution(number, 2))
        return True

    block(engine, 100, others_go_on)
    shared = engine.action(209).immediate_response.headers
    first, second = (note for note in seen(engine, 300) if note[0] == "prepared on")
    assert first[1] != second[1]
    assert shared == f"x-thread\0{first[1]}\0".encode()
    assert eventually(lambda: ["closed on", first[1]] in seen(engine, 301 + len(engine.frames)))
    assert ["closed on", second[1]] not in seen(engine, 300)


def test_a_policy_that_has_blocked_in_prepare_still_gets_its_own_loop(
    start_engine: Start, block: Blocks, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """What it did then does not count for a move: there was nothing yet that could be replaced."""
    noticed = tmp_path / "noticed"
    source = BLOCKS.replace("async def prepare(params):", f"""async def prepare(params):
        wait(Path({str(noticed)!r}))
        await asyncio.sleep(0)
        for _ in range({loop_watchdog.STRIKES + 1}):
            time.sleep(0.2)
            await asyncio.sleep(0)""")  # fmt: skip
    engine = start_engine(
        blocks=source, waits="import asyncio\nasync def on_request(ctx, params): await asyncio.sleep(30)"
    )
    engine.configure(2, "waits:v1.0.0")
    engine.send(request_execution(100, 2))
    wanted = configuration(1, "blocks:v1.0.0", prepare_timeout_ms=60_000)
    wanted.api_name = "orders-v1"
    engine.send(configure=[wanted])
    assert eventually(lambda: bool(blocked(caplog)))
    noticed.touch()
    assert not engine.wait(lambda: engine.statuses.get(1)).HasField("failure")
    block_until_it_moves(engine, block, caplog)


def test_its_own_loop_ends_with_the_instance(engine: Engine, block: Blocks, caplog: pytest.LogCaptureFixture) -> None:
    block_until_it_moves(engine, block, caplog)
    engine.execute(request_execution(50))
    finished = engine.health().executions_finished
    second = seen(engine, 100)[1][1]
    loops = names().count("coroutines")
    engine.send(close=[1])
    assert eventually(lambda: ["closed on", second] in seen(engine, 200 + len(engine.frames)))
    assert eventually(lambda: names().count("coroutines") < loops)
    assert engine.health().executions_finished >= finished


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def test_a_background_task_is_caught_too(start_engine: Start, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    noticed = tmp_path / "noticed"
    source = f"""
        import asyncio, pathlib, time
        async def poll(asked):
            await asked.wait()
            while not pathlib.Path({str(noticed)!r}).exists():
                time.sleep(0.01)
        async def prepare(params):
            asked = asyncio.Event()
            task = asyncio.create_task(poll(asked))
            yield asked
            await task
        async def on_request(ctx, params):
            ctx.prepared.set()  # the task's next step comes before those of later executions
    """
    engine = start_engine(polls=source)
    engine.configure(1, "polls:v1.0.0")
    engine.execute(request_execution(1))
    engine.send(request_execution(2))  # while nothing waits for the loop, the watchdog does not look
    assert eventually(lambda: "policy polls:v1.0.0 blocks the event loop" in caplog.text)
    noticed.touch()
    assert not engine.action(2).HasField("failure")


def test_a_policy_that_awaits_blocks_no_other(start_engine: Start, caplog: pytest.LogCaptureFixture) -> None:
    engine = start_engine(naps="import asyncio\nasync def on_request(ctx, params): await asyncio.sleep(0.3)")
    engine.configure(1, "naps:v1.0.0")
    engine.send(*map(request_execution, range(50)))
    engine.wait(lambda: len(engine.actions) == 50)
    assert "blocks" not in caplog.text
