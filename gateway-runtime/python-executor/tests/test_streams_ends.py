"""Streams that are cancelled, that wait for a slot, and that end with their call or instance."""

from collections.abc import Callable
from pathlib import Path

import pytest
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.running.limits import Limits
from gatewright_executor.running.stream_execution import PIECE_BYTES, WINDOW_BYTES
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


def started(start: Start, **sources: str) -> Engine:
    """An engine that has configured its policies as instances 1, 2, …"""
    one = start(**sources)
    for number, name in enumerate(sources, 1):
        assert not one.configure(number, f"{name}:v1.0.0").HasField("failure")
    return one


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


def seen(one: Engine, number: int) -> bytes:
    one.send(response_stream(number))
    one.action(number)
    return one.yielded(number)


@pytest.mark.parametrize(
    ("said", "raised"),
    [(b"wait", b"CancelledError"), (b"sleep", b"CancelledError"), (b"x" * PIECE_BYTES, b"GeneratorExit")],
)
def test_a_cancelled_stream_is_closed_wherever_it_stands(engine: Start, said: bytes, raised: bytes) -> None:
    """It waits for a chunk, for something of its own, or at a yield, for credit."""
    one = started(engine, closes=CLOSES)
    pieces = [piece(1, said)] * (5 if len(said) == PIECE_BYTES else 1)
    one.send(request_stream(1), pieces=pieces[:4])
    if more := pieces[4:]:
        one.wait(lambda: one.credit(1) > 0)
        one.send(pieces=more)
        one.wait(lambda: one.credit(1) == len(pieces) * PIECE_BYTES)  # the last one is taken, too
    one.wait(lambda: len(one.yielded(1)) == min(WINDOW_BYTES, sum(len(each.data) for each in pieces)))
    one.send(cancel=[1])
    numbers = iter(range(100, 10_000))
    one.wait(lambda: seen(one, next(numbers)) == raised + b" finally")
    one.wait(lambda: one.health().oldest_execution_ms == 0)
    assert 1 not in {action.id for action in one.actions}


def test_streams_of_a_call_that_is_gone_are_closed(engine: Start) -> None:
    one = started(engine, closes=CLOSES)
    other = Engine(Path(one.address.removeprefix("unix:")))
    other.configure(1, "closes:v1.0.0")
    other.send(request_stream(1), pieces=[piece(1, b"a")])
    other.wait(lambda: other.yielded(1) == b"a")
    other.__exit__(None, None, None)
    numbers = iter(range(100, 10_000))
    one.wait(lambda: seen(one, next(numbers)) == b"CancelledError finally")


def test_one_cancelled_before_it_begins_is_never_started(engine: Start) -> None:
    one = engine(closes=CLOSES)
    one.configure(1, "closes:v1.0.0", max_concurrency=1)
    one.configure(2, "closes:v1.0.0")
    one.send(request_stream(1))
    one.send(request_stream(2), request_stream(3), pieces=[piece(2, b"two"), piece(3, b"three", last=True)])
    one.send(cancel=[2])
    one.send(pieces=[piece(1, last=True)])
    one.action(3)
    assert {action.id for action in one.actions} == {1, 3}
    assert one.pieces(2) == []


# ------------------------------------------------------------------ slots, drain, close


def test_streams_take_no_slots_of_the_other_executions(engine: Start) -> None:
    source = (
        PASSES
        + """
    def on_request(ctx, params): ...
"""
    )
    one = started(lambda **sources: engine(workers=1, **sources), both=source)
    one.send(*(request_stream(number) for number in range(1, 301)))
    one.send(pieces=[piece(number, b"a") for number in range(1, 301)])
    one.wait(lambda: all(one.yielded(number) for number in range(1, 301)))
    assert one.execute(request_execution(1000)) == pb.Action(id=1000)
    one.send(pieces=[piece(number, last=True) for number in range(1, 301)])
    one.wait(lambda: len(one.actions) == 301)


def test_where_a_number_is_asked_for_streams_count_with_the_others(engine: Start) -> None:
    source = (
        PASSES
        + """
    async def on_request(ctx, params): ...
"""
    )
    one = engine(both=source)
    one.configure(1, "both:v1.0.0", max_concurrency=2)
    one.send(request_stream(1), request_stream(2), pieces=[piece(1, b"a"), piece(2, b"a")])
    one.wait(lambda: one.yielded(1) + one.yielded(2) == b"aa")
    one.send(request_stream(3), request_execution(4), pieces=[piece(3, b"c", last=True)])
    one.wait(lambda: one.acknowledged == 3)
    assert not one.actions, "both wait for a slot"
    one.send(pieces=[piece(1, last=True)])
    one.wait(lambda: {action.id for action in one.actions} == {1, 3, 4})
    one.send(pieces=[piece(2, last=True)])
    one.action(2)


def test_one_that_waits_for_a_slot_for_longer_than_its_time_is_late(engine: Start) -> None:
    one = engine(passes=PASSES)
    one.configure(1, "passes:v1.0.0", max_concurrency=1)
    one.send(request_stream(1))
    one.send(request_stream(2, seconds=0.5))
    found = one.action(2).failure
    assert found.failure_class in {pb.FAILURE_CLASS_TIMEOUT, pb.FAILURE_CLASS_OVERLOADED}
    one.send(pieces=[piece(1, last=True)])
    one.action(1)
    one.send(request_stream(3), pieces=[piece(3, last=True)])
    one.action(3)


def test_a_stream_that_was_accepted_is_finished_when_the_call_drains(engine: Start) -> None:
    one = started(engine, passes=PASSES)
    one.send(request_stream(1), pieces=[piece(1, b"a")])
    one.wait(lambda: one.yielded(1) == b"a")
    one.send(pieces=[piece(1, b"b", last=True)])
    one.half_close()
    one.wait(lambda: one.ended)
    assert one.error is None
    assert one.yielded(1) == b"ab"
    assert [action.id for action in one.actions] == [1]


@pytest.mark.parametrize("limits", [Limits(last_seconds=0.01)])
def test_an_instance_is_closed_after_its_last_stream(engine: Start) -> None:
    source = """
        closed = []

        def prepare(params):
            yield "mine"
            closed.append(1)

        async def on_request_stream(ctx, chunks, params):
            async for chunk in chunks:
                yield f"{ctx.prepared} {closed}"
    """
    one = started(engine, lives=source)
    one.send(request_stream(1), pieces=[piece(1, b"a")])
    one.wait(lambda: one.yielded(1) == b"mine []")
    one.send(close=[1])
    one.configure(2, "lives:v1.0.0")  # long after `last_seconds`
    for number in range(10, 20):
        one.send(request_stream(number, 2), pieces=[piece(number, b"a", last=True)])
        one.action(number)
        assert one.yielded(number) == b"mine []"
    one.send(pieces=[piece(1, b"b", last=True)])
    one.action(1)
    assert one.yielded(1) == b"mine []mine []"
    numbers = iter(range(100, 10_000))

    def closed() -> bool:
        number = next(numbers)
        one.send(request_stream(number, 2), pieces=[piece(number, b"a", last=True)])
        one.action(number)
        return one.yielded(number) == b"mine [1]"

    one.wait(closed)


def test_streams_that_come_while_their_instance_is_prepared_wait_for_it(engine: Start) -> None:
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
    one = engine(slow=source)
    one.send(
        request_stream(1), configure=[configuration(1, "slow:v1.0.0")], pieces=[piece(1, b"a"), piece(1, last=True)]
    )
    one.action(1)
    assert one.yielded(1) == b"made a"


def test_one_that_blocks_the_event_loop_gets_its_own_and_those_that_have_begun_go_on(
    engine: Start, caplog: pytest.LogCaptureFixture
) -> None:
    source = """
        import time

        async def on_request_stream(ctx, chunks, params):
            async for chunk in chunks:
                if chunk.startswith(b"b"):
                    time.sleep(float(chunk[1:]))
                yield chunk
    """
    one = started(engine, blocks=source)
    one.send(request_stream(1))

    def blocks_for(seconds: float) -> bool:
        sent = len(one.yielded(1))
        one.send(pieces=[piece(1, f"b{seconds}".encode())])
        one.wait(lambda: len(one.yielded(1)) > sent)
        return any(message.endswith("has an event loop of its own from now on") for message in caplog.messages)

    assert any(blocks_for(0.1 + 0.05 * number) for number in range(20)), "a busy machine sees long blocks only"
    (blocked,) = [message for message in caplog.messages if "blocks the event loop" in message]
    assert blocked.endswith("await the slow call, or hand it to asyncio.to_thread")
    one.send(request_stream(2), pieces=[piece(2, b"c", last=True), piece(1, b"d", last=True)])
    assert one.action(1) == pb.Action(id=1)
    assert one.action(2) == pb.Action(id=2)
    assert one.yielded(1).endswith(b"d")
