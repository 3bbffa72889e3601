"""Streams that are cancelled, that wait for a slot, and that end with their call or instance."""

from collections.abc import Callable
from pathlib import Path

import pytest
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.running.limits import Limits
from gatewright_executor.running.pipe import PIECE_BYTES, WINDOW_BYTES
from gatewright_executor.testing import (
    Engine,
    configuration,
    piece,
    request_execution,
    request_stream,
    response_stream,
)

Start = Callable[..., Engine]
PASSES = """
    async def on_request_stream(ctx, chunks, params):
        async for chunk in chunks:
            yield chunk
"""


def start_configured(start: Start, **sources: str) -> Engine:
    """An engine that has configured its policies as instances 1, 2, …"""
    engine = start(**sources)
    for number, name in enumerate(sources, 1):
        assert not engine.configure(number, f"{name}:v1.0.0").HasField("failure")
    return engine


# ------------------------------------------------------------------ cancel

CLOSES = """
    import asyncio

    seen = []

    async def on_request_stream(ctx, chunks, params):
        try:
            async for chunk in chunks:
                yield chunk
                if chunk == b"sleep":
                    await asyncio.Event().wait()
        except BaseException as error:
            seen.append(type(error).__name__)
            raise
        finally:
            await asyncio.sleep(0.001)
            seen.append("finally")

    async def on_response_stream(ctx, chunks, params):
        yield " ".join(seen)
"""


def seen(engine: Engine, number: int) -> bytes:
    engine.send(response_stream(number))
    engine.action(number)
    return engine.yielded(number)


@pytest.mark.parametrize(
    ("chunk", "raised"),
    [(b"wait", b"CancelledError"), (b"sleep", b"CancelledError"), (b"x" * PIECE_BYTES, b"GeneratorExit")],
)
def test_a_cancelled_stream_is_closed_wherever_it_stands(start_engine: Start, chunk: bytes, raised: bytes) -> None:
    """It waits for a chunk, in its own code, or at a yield for credit."""
    engine = start_configured(start_engine, closes=CLOSES)
    pieces = [piece(1, chunk)] * (5 if len(chunk) == PIECE_BYTES else 1)
    engine.send(request_stream(1), pieces=pieces[:4])
    if more := pieces[4:]:
        engine.wait(lambda: engine.credit(1) > 0)
        engine.send(pieces=more)
        engine.wait(lambda: engine.credit(1) == len(pieces) * PIECE_BYTES)  # the last one is taken, too
    engine.wait(lambda: len(engine.yielded(1)) == min(WINDOW_BYTES, sum(len(piece.data) for piece in pieces)))
    engine.send(cancel=[1])
    numbers = iter(range(100, 10_000))
    engine.wait(lambda: seen(engine, next(numbers)) == raised + b" finally")
    engine.wait(lambda: engine.health().oldest_execution_ms == 0)
    assert 1 not in {action.id for action in engine.actions}


def test_streams_of_a_call_that_is_gone_are_closed(start_engine: Start) -> None:
    engine = start_configured(start_engine, closes=CLOSES)
    other = Engine(Path(engine.address.removeprefix("unix:")))
    other.configure(1, "closes:v1.0.0")
    other.send(request_stream(1), pieces=[piece(1, b"a")])
    other.wait(lambda: other.yielded(1) == b"a")
    other.__exit__(None, None, None)
    numbers = iter(range(100, 10_000))
    engine.wait(lambda: seen(engine, next(numbers)) == b"CancelledError finally")


def test_a_stream_cancelled_before_it_begins_is_never_started(start_engine: Start) -> None:
    engine = start_engine(closes=CLOSES)
    engine.configure(1, "closes:v1.0.0", max_concurrency=1)
    engine.configure(2, "closes:v1.0.0")
    engine.send(request_stream(1))
    engine.send(request_stream(2), request_stream(3), pieces=[piece(2, b"two"), piece(3, b"three", last=True)])
    engine.send(cancel=[2])
    engine.send(pieces=[piece(1, last=True)])
    engine.action(3)
    assert {action.id for action in engine.actions} == {1, 3}
    assert engine.pieces(2) == []


# ------------------------------------------------------------------ slots, drain, close


def test_streams_take_no_slots_of_the_other_executions(start_engine: Start) -> None:
    source = (
        PASSES
        + """
    def on_request(ctx, params): ...
"""
    )
    engine = start_configured(lambda **sources: start_engine(workers=1, **sources), both=source)
    engine.send(*(request_stream(number) for number in range(1, 301)))
    engine.send(pieces=[piece(number, b"a") for number in range(1, 301)])
    engine.wait(lambda: all(engine.yielded(number) for number in range(1, 301)))
    assert engine.execute(request_execution(1000)) == pb.Action(id=1000)
    engine.send(pieces=[piece(number, last=True) for number in range(1, 301)])
    engine.wait(lambda: len(engine.actions) == 301)


def test_where_a_number_is_asked_for_streams_count_with_the_others(start_engine: Start) -> None:
    source = (
        PASSES
        + """
    async def on_request(ctx, params): ...
"""
    )
    engine = start_engine(both=source)
    engine.configure(1, "both:v1.0.0", max_concurrency=2)
    engine.send(request_stream(1), request_stream(2), pieces=[piece(1, b"a"), piece(2, b"a")])
    engine.wait(lambda: engine.yielded(1) + engine.yielded(2) == b"aa")
    engine.send(request_stream(3), request_execution(4), pieces=[piece(3, b"c", last=True)])
    engine.wait(lambda: engine.acknowledged == 3)
    assert not engine.actions, "both wait for a slot"
    engine.send(pieces=[piece(1, last=True)])
    engine.wait(lambda: {action.id for action in engine.actions} == {1, 3, 4})
    engine.send(pieces=[piece(2, last=True)])
    engine.action(2)


def test_a_stream_that_waits_for_a_slot_for_longer_than_its_time_is_late(start_engine: Start) -> None:
    engine = start_engine(passes=PASSES)
    engine.configure(1, "passes:v1.0.0", max_concurrency=1)
    engine.send(request_stream(1))
    engine.send(request_stream(2, seconds=0.5))
    found = engine.action(2).failure
    assert found.failure_class in {pb.FAILURE_CLASS_TIMEOUT, pb.FAILURE_CLASS_OVERLOADED}
    engine.send(pieces=[piece(1, last=True)])
    engine.action(1)
    engine.send(request_stream(3), pieces=[piece(3, last=True)])
    engine.action(3)


def test_a_stream_that_was_accepted_is_finished_when_the_call_drains(start_engine: Start) -> None:
    engine = start_configured(start_engine, passes=PASSES)
    engine.send(request_stream(1), pieces=[piece(1, b"a")])
    engine.wait(lambda: engine.yielded(1) == b"a")
    engine.send(pieces=[piece(1, b"b", last=True)])
    engine.half_close()
    engine.wait(lambda: engine.ended)
    assert engine.error is None
    assert engine.yielded(1) == b"ab"
    assert [action.id for action in engine.actions] == [1]


@pytest.mark.parametrize("limits", [Limits(last_seconds=0.01)])
def test_an_instance_is_closed_after_its_last_stream(start_engine: Start) -> None:
    source = """
        closed = []

        def prepare(params):
            yield "mine"
            closed.append(1)

        async def on_request_stream(ctx, chunks, params):
            async for chunk in chunks:
                yield f"{ctx.prepared} {closed}"
    """
    engine = start_configured(start_engine, lives=source)
    engine.send(request_stream(1), pieces=[piece(1, b"a")])
    engine.wait(lambda: engine.yielded(1) == b"mine []")
    engine.send(close=[1])
    engine.configure(2, "lives:v1.0.0")  # long after `last_seconds`
    for number in range(10, 20):
        engine.send(request_stream(number, 2), pieces=[piece(number, b"a", last=True)])
        engine.action(number)
        assert engine.yielded(number) == b"mine []"
    engine.send(pieces=[piece(1, b"b", last=True)])
    engine.action(1)
    assert engine.yielded(1) == b"mine []mine []"
    numbers = iter(range(100, 10_000))

    def closed() -> bool:
        number = next(numbers)
        engine.send(request_stream(number, 2), pieces=[piece(number, b"a", last=True)])
        engine.action(number)
        return engine.yielded(number) == b"mine [1]"

    engine.wait(closed)


def test_streams_that_come_while_their_instance_is_prepared_wait_for_it(start_engine: Start) -> None:
    source = """
        import time

        def prepare(params):
            time.sleep(0.05)
            return "made "

        async def on_request_stream(ctx, chunks, params):
            yield ctx.prepared
            async for chunk in chunks:
                yield chunk
    """
    engine = start_engine(slow=source)
    engine.send(
        request_stream(1), configure=[configuration(1, "slow:v1.0.0")], pieces=[piece(1, b"a"), piece(1, last=True)]
    )
    engine.action(1)
    assert engine.yielded(1) == b"made a"


def test_a_policy_that_blocks_the_event_loop_gets_its_own_and_begun_streams_go_on(
    start_engine: Start, caplog: pytest.LogCaptureFixture
) -> None:
    source = """
        import time

        async def on_request_stream(ctx, chunks, params):
            async for chunk in chunks:
                if chunk.startswith(b"b"):
                    time.sleep(float(chunk[1:]))
                yield chunk
    """
    engine = start_configured(start_engine, blocks=source)
    engine.send(request_stream(1))

    def blocks_for(seconds: float) -> bool:
        sent = len(engine.yielded(1))
        engine.send(pieces=[piece(1, f"b{seconds}".encode())])
        engine.wait(lambda: len(engine.yielded(1)) > sent)
        return any(message.endswith("has an event loop of its own from now on") for message in caplog.messages)

    assert any(blocks_for(0.1 + 0.05 * number) for number in range(20)), "a busy machine sees long blocks only"
    (blocked,) = [message for message in caplog.messages if "blocks the event loop" in message]
    assert blocked.endswith("await the slow call, or hand it to asyncio.to_thread")
    engine.send(request_stream(2), pieces=[piece(2, b"c", last=True), piece(1, b"d", last=True)])
    assert engine.action(1) == pb.Action(id=1)
    assert engine.action(2) == pb.Action(id=2)
    assert engine.yielded(1).endswith(b"d")
