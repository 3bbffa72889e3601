"""Streams whose own work takes too long, that do not end in time, and that break the contract."""

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.policies.policy_loader import LoadedPolicy
from gatewright_executor.running.hung import HUNG_SECONDS
from gatewright_executor.running.pipe import PIECE_BYTES, WINDOW_BYTES
from gatewright_executor.server import Server
from gatewright_executor.testing import Clock, Engine, piece, request_stream, response_execution, response_stream

PASSES = """
    async def on_request_stream(ctx, chunks, params):
        async for chunk in chunks:
            yield chunk
"""
BLOCKS = """
    import of_test, threading

    gate = threading.Event()

    async def on_request_stream(ctx, chunks, params):
        async for chunk in chunks:
            yield chunk
            of_test.begun.set()
            gate.wait(30)

    def on_response(ctx, params):
        gate.set()
"""
AWAITS = """
    import asyncio

    seen = []

    async def on_request_stream(ctx, chunks, params):
        try:
            async for chunk in chunks:
                seen.append("waits")
                await asyncio.Event().wait()
                yield chunk
        finally:
            seen.append("finally")

    async def on_response_stream(ctx, chunks, params):
        yield str(seen)
"""
TIMEOUT, BAD_ACTION = pb.FAILURE_CLASS_TIMEOUT, pb.FAILURE_CLASS_BAD_ACTION


@pytest.fixture
def start_configured(load: Callable[..., dict[str, LoadedPolicy]], tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    """start_configured(name=source, …) → an engine of an executor with `clock`, whose policies are instances 1, 2, …"""
    servers: list[tuple[Server, Engine]] = []

    def start_configured(clock: Callable[[], float] = time.monotonic, **sources: str) -> Engine:
        server = Server(load(**sources), 4, clock=clock)
        server.start(tmp_path / f"{len(servers)}.sock")
        engine = Engine(tmp_path / f"{len(servers)}.sock")
        servers.append((server, engine))
        for number, name in enumerate(sources, 1):
            assert not engine.configure(number, f"{name}:v1.0.0").HasField("failure")
        return engine

    yield start_configured
    for server, engine in servers:
        engine.__exit__(None, None, None)
        server.stop(0)


# ------------------------------------------------------------------ late


def test_a_stream_that_awaits_for_ever_is_late_and_cancelled(
    start_configured: Callable[..., Engine], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    engine = start_configured(clock, awaits=AWAITS)
    numbers = iter(range(10, 10_000))

    def seen() -> bytes:
        number = next(numbers)
        engine.send(response_stream(number))
        engine.action(number)
        return engine.yielded(number)

    engine.send(request_stream(1, seconds=0.1), pieces=[piece(1, b"a")])
    engine.wait(lambda: seen() == b"['waits']")
    clock.move(0.15)
    failure = engine.action(1).failure
    assert (failure.failure_class, failure.hook, failure.policy) == (TIMEOUT, "on_request_stream", "awaits:v1.0.0")
    assert failure.message.startswith(
        "expected on_request_stream to ask for the next chunk or to yield within 0.1 s, it still works at "
    )
    assert "awaits.py:10" in failure.message
    engine.wait(lambda: seen() == b"['waits', 'finally']")
    (line,) = [record for record in caplog.records if "timed out" in record.message]
    assert line.message.startswith("on_request_stream timed out: no yield, nor a chunk asked for, after 0.150 s of 0.1")
    assert 'awaits.py", line 10' in line.__dict__["trace"]
    engine.wait(lambda: not engine.health().hung)


def test_a_stream_that_blocks_the_event_loop_is_late_all_the_same(
    start_configured: Callable[..., Engine], clock: Clock, of_test: ModuleType
) -> None:
    of_test.begun = begun = threading.Event()  # type: ignore[attr-defined]
    engine = start_configured(clock, blocks=BLOCKS, passes=PASSES)
    engine.send(request_stream(1, seconds=0.1), pieces=[piece(1, b"a")])
    assert begun.wait(30)
    clock.move(0.15)
    failure = engine.action(1).failure
    assert failure.failure_class == TIMEOUT
    assert re.search(r"blocks\.py:(9|10)\b", failure.message)
    assert not engine.health().hung
    clock.move(HUNG_SECONDS)
    (hung,) = engine.wait(lambda: engine.health().hung)
    assert (hung.policy, hung.count, hung.limit_ms, hung.blocks_instance) == ("blocks:v1.0.0", 1, 100, False)
    assert "blocks.py" in hung.stack
    frames = engine.acknowledged
    engine.send(request_stream(2, 2, seconds=0.1), pieces=[piece(2, b"a", last=True)])
    engine.wait(lambda: engine.acknowledged > frames)
    clock.move(0.15)
    assert "expected to start before the deadline" in engine.action(2).failure.message
    engine.execute(response_execution(3))
    engine.wait(lambda: not engine.health().hung)
    engine.send(request_stream(4, 2), pieces=[piece(4, b"a", last=True)])
    engine.action(4)
    assert engine.pieces(1) + engine.pieces(2) + engine.pieces(4) == [b"a"], "one that is late sends no more"


WORKS = """
    import of_test

    async def on_request_stream(ctx, chunks, params):
        async for chunk in chunks:
            assert round(ctx.time_remaining(), 6) == 100
            of_test.clock.move(60)
            assert round(ctx.time_remaining(), 6) == 40
            yield chunk

    async def on_response_stream(ctx, chunks, params):
        for _ in range(20):
            assert round(ctx.time_remaining(), 6) == 100
            of_test.clock.move(60)
            yield bytes(65536)
"""


def test_waiting_for_a_chunk_is_not_its_own_work(
    start_configured: Callable[..., Engine], clock: Clock, pass_time: Any, of_test: ModuleType
) -> None:
    of_test.clock = clock  # type: ignore[attr-defined]
    engine = start_configured(clock, works=WORKS, late=pass_time.policy)
    engine.send(request_stream(1, seconds=100))
    for sent in range(1, 4):
        pass_time(engine)
        engine.send(pieces=[piece(1, b"a")])
        engine.wait(lambda sent=sent: len(engine.yielded(1)) == sent)  # type: ignore[misc]
    engine.send(pieces=[piece(1, last=True)])
    assert engine.action(1) == pb.Action(id=1), "180 s in all, and each within its time"
    assert round(engine.work_us[1] / 1e6) == 180


def test_waiting_for_credit_is_not_its_own_work(
    start_configured: Callable[..., Engine], clock: Clock, pass_time: Any, of_test: ModuleType
) -> None:
    of_test.clock = clock  # type: ignore[attr-defined]
    engine = start_configured(clock, works=WORKS, late=pass_time.policy)
    engine.send(response_stream(1, seconds=100))
    engine.wait(lambda: len(engine.yielded(1)) == WINDOW_BYTES)
    pass_time(engine)
    engine.send(credit={1: 20 * PIECE_BYTES})
    assert engine.action(1) == pb.Action(id=1)
    assert round(engine.work_us[1] / 1e6) == 1200


def test_an_idle_stream_is_not_looked_at(start_configured: Callable[..., Engine], clock: Clock, pass_time: Any) -> None:
    engine = start_configured(clock, passes=PASSES, late=pass_time.policy)
    engine.send(request_stream(1, seconds=0.05), pieces=[piece(1, b"a")])
    engine.wait(lambda: engine.yielded(1) == b"a")
    pass_time(engine)
    engine.wait(lambda: engine.health().executions_finished == 1)
    health = engine.health()
    assert (health.executions_started, health.oldest_execution_policy) == (2, ""), "the other one was late"
    engine.send(pieces=[piece(1, b"b", last=True)])
    assert engine.action(1) == pb.Action(id=1)
    assert engine.health().executions_finished == 2


# ------------------------------------------------------------------ does not end

STUBBORN = """
    import asyncio, of_test

    async def on_request_stream(ctx, chunks, params):
        while not of_test.over:
            try:
                async for chunk in chunks:
                    yield chunk
            except BaseException:
                pass

    async def on_response_stream(ctx, chunks, params):
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            while ctx.headers.get("x-stays"):
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    if "twice" in ctx.headers.get("x-stays"):
                        raise
"""


@pytest.fixture
def stubborn(of_test: ModuleType) -> Iterator[str]:
    """A policy that ends with its test: its thread would else compute for as long as this process runs tests."""
    of_test.over = False  # type: ignore[attr-defined]
    yield STUBBORN
    of_test.over = True  # type: ignore[attr-defined]


def as_time_passes(clock: Clock, found: Callable[[], bool]) -> Callable[[], bool]:
    """Moves the clock by a second at each check."""

    def look() -> bool:
        clock.move(1)
        return found()

    return look


def stays(number: int, how: str) -> pb.Execution:
    execution = response_stream(number)
    execution.response_headers = b"x-stays\0%b\0" % how.encode()
    return execution


def test_a_stream_that_waits_in_its_finally_is_cancelled_once_more(
    start_configured: Callable[..., Engine], clock: Clock, caplog: pytest.LogCaptureFixture, stubborn: str
) -> None:
    engine = start_configured(clock, stubborn=stubborn)
    engine.send(stays(1, "twice"), pieces=[piece(1, b"a")])
    engine.wait(lambda: engine.yielded(1) == b"a")
    engine.send(cancel=[1])
    engine.wait(as_time_passes(clock, lambda: engine.health().executions_finished == 1))
    assert [
        r.message for r in caplog.records if "the executor abandons it" in r.message and "stubborn.py:19" in r.message
    ]


@pytest.mark.parametrize(("phase", "at"), [("response", 19), ("request", 0)])
def test_a_stream_that_swallows_its_cancellation_gives_its_slot_back_and_is_hung(
    start_configured: Callable[..., Engine],
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    stubborn: str,
    phase: str,
    at: int,
) -> None:
    engine = start_configured(clock, stubborn=stubborn)
    engine.configure(5, "stubborn:v1.0.0", max_concurrency=1)
    first = stays(1, "for ever") if phase == "response" else request_stream(1)
    first.instance = 5
    engine.send(first, pieces=[piece(1, b"a")])
    engine.wait(lambda: engine.yielded(1) == b"a")
    engine.send(cancel=[1])
    following = response_stream(2, seconds=3000)
    following.instance = 5
    engine.send(following, pieces=[piece(2, b"b", last=True)])
    engine.wait(as_time_passes(clock, lambda: any(action.id == 2 for action in engine.actions)))
    assert engine.action(2) == pb.Action(id=2), "it has the slot"
    (hung,) = engine.wait(lambda: engine.health().hung)
    assert (hung.policy, hung.count) == ("stubborn:v1.0.0", 1)
    abandoned = [record for record in caplog.records if "the executor abandons it" in record.message]
    assert len(abandoned) == 1, "it is logged once"
    assert not at or f"stubborn.py:{at}" in abandoned[0].message
    engine.send(request_stream(3), pieces=[piece(3, b"c")])
    engine.wait(lambda: engine.yielded(3) == b"c")
    assert 1 not in {action.id for action in engine.actions}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Python's own, when it is collected
def test_a_stream_that_yields_after_generator_exit_is_logged_once(
    start_configured: Callable[..., Engine], caplog: pytest.LogCaptureFixture
) -> None:
    source = """
        async def on_request_stream(ctx, chunks, params):
            try:
                while True:
                    yield bytes(65536)
            except GeneratorExit:
                yield b"more"
    """
    engine = start_configured(swallows=source)
    engine.send(request_stream(1))
    engine.wait(lambda: len(engine.yielded(1)) == WINDOW_BYTES)
    engine.send(cancel=[1])
    engine.wait(lambda: engine.health().executions_finished == 1)
    errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert errors[0].startswith(
        "on_request_stream failed while it was closed: RuntimeError: async generator ignored GeneratorExit"
    )
    assert not engine.actions


def test_a_stream_that_raises_in_its_finally_is_logged(
    start_configured: Callable[..., Engine], caplog: pytest.LogCaptureFixture
) -> None:
    source = """
        async def on_request_stream(ctx, chunks, params):
            try:
                async for chunk in chunks:
                    yield 5 if chunk == b"five" else chunk
            finally:
                raise ValueError("in finally")
    """
    engine = start_configured(raises=source)
    engine.send(request_stream(1), request_stream(2), pieces=[piece(1, b"a"), piece(2, b"five")])
    engine.wait(lambda: engine.yielded(1) == b"a")
    engine.send(cancel=[1])
    engine.wait(lambda: engine.health().executions_finished == 2)
    errors = [record.message for record in caplog.records if "failed while it was closed" in record.message]
    assert len(errors) == 2
    assert all("ValueError: in finally" in line and "raises.py:7" in line for line in errors)
    assert engine.action(2).failure.failure_class == BAD_ACTION
    assert {action.id for action in engine.actions} == {2}


# ------------------------------------------------------------------ does what it may not


@pytest.mark.parametrize("yielded", ["5", "None", "[b'a']", "{}"])
def test_what_is_no_bytes_is_named_with_its_line(start_configured: Callable[..., Engine], yielded: str) -> None:
    source = f"""
        closed = []

        async def on_request_stream(ctx, chunks, params):
            try:
                yield b"good"
                yield {yielded}
            finally:
                closed.append(1)

        async def on_response_stream(ctx, chunks, params):
            yield str(closed)
    """
    engine = start_configured(wrong=source)
    engine.send(request_stream(1))
    failure = engine.action(1).failure
    assert (failure.failure_class, failure.logged) == (BAD_ACTION, False)
    assert "to yield bytes" in failure.message
    assert "got " in failure.message
    assert "wrong.py:7)" in failure.message
    assert engine.yielded(1) == b"good"
    engine.send(response_stream(2))
    engine.action(2)
    assert engine.yielded(2) == b"[1]", "its finally has run"


def test_a_loop_without_an_await_lets_the_others_go_on_where_it_yields(start_configured: Callable[..., Engine]) -> None:
    source = """
        async def on_request_stream(ctx, chunks, params):
            while True:
                yield b"a"
    """
    engine = start_configured(loops=source, passes=PASSES)
    engine.send(request_stream(1))
    engine.send(request_stream(2, 2), pieces=[piece(2, b"b", last=True)])
    engine.action(2)
    engine.wait(lambda: len(engine.yielded(1)) == WINDOW_BYTES)
    engine.send(cancel=[1])
    engine.wait(lambda: engine.health().executions_finished == 2)


def test_a_stream_that_takes_and_never_yields_gives_credit_all_the_same(
    start_configured: Callable[..., Engine],
) -> None:
    source = """
        async def on_request_stream(ctx, chunks, params):
            size = 0
            async for chunk in chunks:
                size += len(chunk)
            yield str(size)
    """
    engine = start_configured(takes=source)
    engine.send(request_stream(1))
    sent = 0
    while sent < 4 << 20:
        engine.wait(lambda until=sent: engine.credit(1) + WINDOW_BYTES - until >= PIECE_BYTES)  # type: ignore[misc]
        engine.send(pieces=[piece(1, bytes(PIECE_BYTES))])
        sent += PIECE_BYTES
    engine.send(pieces=[piece(1, last=True)])
    engine.action(1)
    assert json.loads(engine.yielded(1)) == sent


def test_a_stream_that_yields_more_than_it_takes_sends_no_more_than_its_credit(
    start_configured: Callable[..., Engine],
) -> None:
    source = """
        async def on_request_stream(ctx, chunks, params):
            async for chunk in chunks:
                for _ in range(1000):
                    yield chunk
    """
    engine = start_configured(more=source)
    engine.send(request_stream(1), pieces=[piece(1, b"x" * 1000, last=True)])
    engine.wait(lambda: len(engine.yielded(1)) >= WINDOW_BYTES)
    assert len(engine.yielded(1)) < WINDOW_BYTES + PIECE_BYTES
    engine.send(credit={1: 1 << 20})
    engine.action(1)
    assert len(engine.yielded(1)) == 1_000_000


def test_tasks_that_a_stream_leaves_behind_get_no_chunks(start_configured: Callable[..., Engine]) -> None:
    source = """
        import asyncio

        left = []

        async def on_request_stream(ctx, chunks, params):
            left.append(asyncio.create_task(anext(chunks)))
            await asyncio.sleep(0)
            yield b"end"

        async def on_response_stream(ctx, chunks, params):
            await asyncio.wait(left)
            yield str(left[0].cancelled())
    """
    engine = start_configured(leaves=source)
    engine.send(request_stream(1))
    engine.action(1)
    engine.send(response_stream(2))
    engine.action(2)
    assert engine.yielded(2) == b"True"
