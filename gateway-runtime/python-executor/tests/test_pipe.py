"""A stream is given the output of its source by the engine until it has taken a chunk, and then in the process."""

from collections.abc import Callable
from types import ModuleType

from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.running.pipe import WINDOW_BYTES
from gatewright_executor.testing import Engine, eventually, piece, request_stream, response_stream

Start = Callable[..., Engine]
POLICIES = {
    "upper": """
        async def on_request_stream(ctx, chunks, params):
            async for chunk in chunks:
                yield chunk.upper()
            ctx.metadata["upper"] = 1
    """,
    "stars": """
        async def on_request_stream(ctx, chunks, params):
            async for chunk in chunks:
                yield b"*" + chunk
            yield b"."
    """,
    "first": """
        async def on_request_stream(ctx, chunks, params):
            async for chunk in chunks:
                yield chunk
                return
    """,
    "fails": """
        async def on_request_stream(ctx, chunks, params):
            async for chunk in chunks:
                yield chunk
                if chunk == b"no":
                    raise ValueError("no")
    """,
    "rejects": """
        from sdk.policy import ImmediateResponse, Reject

        async def on_request_stream(ctx, chunks, params):
            async for chunk in chunks:
                yield chunk
                if chunk == b"no":
                    raise Reject(ImmediateResponse(status_code=422, body=b"no"))
    """,
    "slow": """
        import asyncio
        import of_test

        async def on_request_stream(ctx, chunks, params):
            async for chunk in chunks:
                of_test.taken += len(chunk)
                yield b"."
                while of_test.halted:
                    await asyncio.sleep(0.001)
    """,
    "source": """
        import of_test

        async def on_request_stream(ctx, chunks, params):
            try:
                async for _ in chunks:
                    yield b"a"
                    for _ in range(of_test.chunks):
                        of_test.yielded += 40_000
                        yield b"b" * 40_000
            finally:
                of_test.closed += 1
    """,
    "response": """
        async def on_response_stream(ctx, chunks, params):
            async for chunk in chunks:
                yield chunk + b"!"
    """,
}


def pair(start: Start, source: str, reader: str) -> Engine:
    """An engine with both streams under way, of which the second has taken what the first has yielded for b"a"."""
    engine = start(**{name: POLICIES[name] for name in (source, reader)})
    for number, name in enumerate((source, reader), 1):
        assert not engine.configure(number, f"{name}:v1.0.0").HasField("failure")
    engine.send(request_stream(11, 1), pieces=[piece(11, b"a")])
    output = engine.wait(lambda: engine.yielded(11))
    engine.send(request_stream(12, 2, source=11), pieces=[piece(12, output)])
    engine.wait(lambda: engine.yielded(12))
    return engine


def test_the_output_of_a_source_does_not_come_to_the_engine(start_engine: Start) -> None:
    engine = pair(start_engine, "upper", "stars")
    engine.send(pieces=[piece(11, b"b")])
    engine.wait(lambda: engine.yielded(12) == b"*A*B")
    engine.send(pieces=[piece(11, b"c", last=True)])
    assert engine.action(11) == pb.Action(id=11, metadata_set=b'{"upper":1}')
    assert engine.yielded(11) == b"A"
    engine.send(pieces=[piece(12, last=True)])
    assert engine.action(12) == pb.Action(id=12)
    assert engine.yielded(12) == b"*A*B*C."


def test_responses_have_pipes_too(start_engine: Start) -> None:
    engine = start_engine(response=POLICIES["response"])
    engine.configure(1, "response:v1.0.0")
    engine.send(response_stream(11), pieces=[piece(11, b"a")])
    engine.wait(lambda: engine.yielded(11) == b"a!")
    second = response_stream(12)
    second.source = 11
    engine.send(second, pieces=[piece(12, b"a!")])
    engine.wait(lambda: engine.yielded(12) == b"a!!")
    engine.send(pieces=[piece(11, b"b")])
    engine.wait(lambda: engine.yielded(12) == b"a!!b!!")
    assert engine.yielded(11) == b"a!"


def test_what_was_yielded_before_the_pipe_comes_first(start_engine: Start) -> None:
    engine = start_engine(upper=POLICIES["upper"], stars=POLICIES["stars"])
    engine.configure(1, "upper:v1.0.0")
    engine.configure(2, "stars:v1.0.0")
    engine.send(request_stream(11, 1), pieces=[piece(11, b"ab")])
    engine.wait(lambda: engine.yielded(11) == b"AB")
    engine.send(request_stream(12, 2, source=11), pieces=[piece(12, b"A")])
    engine.wait(lambda: engine.yielded(12) == b"*A")
    engine.send(pieces=[piece(11, b"c", last=True)])
    engine.action(11)
    engine.send(pieces=[piece(12, b"B")])
    engine.wait(lambda: engine.yielded(12) == b"*A*B*C")
    assert engine.yielded(11) == b"AB"


def test_a_source_that_has_ended_is_none(start_engine: Start) -> None:
    engine = start_engine(upper=POLICIES["upper"], stars=POLICIES["stars"])
    engine.configure(1, "upper:v1.0.0")
    engine.configure(2, "stars:v1.0.0")
    engine.send(request_stream(11, 1), pieces=[piece(11, b"a", last=True)])
    engine.action(11)
    engine.send(request_stream(12, 2, source=11), pieces=[piece(12, b"A"), piece(12, b"B", last=True)])
    engine.action(12)
    assert engine.yielded(12) == b"*AB."


def test_a_stream_that_takes_nothing_leaves_its_source_to_the_engine(start_engine: Start) -> None:
    engine = start_engine(upper=POLICIES["upper"], stars=POLICIES["stars"])
    engine.configure(1, "upper:v1.0.0")
    engine.configure(2, "stars:v1.0.0")
    engine.send(request_stream(11, 1), pieces=[piece(11, b"a")])
    engine.wait(lambda: engine.yielded(11) == b"A")
    engine.send(request_stream(12, 2, source=11))
    engine.send(pieces=[piece(11, b"b", last=True)])
    engine.action(11)
    assert engine.yielded(11) == b"AB"
    assert not engine.yielded(12)


def test_a_source_waits_for_room_in_the_pipe(start_engine: Start, of_test: ModuleType) -> None:
    vars(of_test).update(chunks=0, yielded=0, taken=0, closed=0, halted=True)
    engine = pair(start_engine, "source", "slow")
    vars(of_test)["chunks"] = 50
    engine.send(pieces=[piece(11, b"b", last=True)])
    assert eventually(lambda: of_test.yielded >= WINDOW_BYTES)
    engine.health()  # answered behind what is under way
    assert of_test.yielded < WINDOW_BYTES + 2 * 40_000
    vars(of_test)["halted"] = False
    assert not engine.action(11).HasField("failure")
    engine.send(pieces=[piece(12, last=True)])
    assert not engine.action(12).HasField("failure")
    assert engine.yielded(11) == b"a"
    assert of_test.taken == len(b"aa") + 50 * 40_000


def test_a_source_that_fails_is_answered_as_ever(start_engine: Start) -> None:
    for source in "fails", "rejects":
        engine = pair(start_engine, source, "stars")
        engine.send(pieces=[piece(11, b"no")])
        action = engine.action(11)
        assert action.failure.message if source == "fails" else action.immediate_response.status_code == 422
        engine.send(cancel=[12])
        engine.send(request_stream(13, 2), pieces=[piece(13, b"b", last=True)])
        assert engine.action(13) == pb.Action(id=13)
        assert not any(action.id == 12 for action in engine.actions)


def test_a_source_whose_reader_has_ended_waits_until_it_is_cancelled(start_engine: Start, of_test: ModuleType) -> None:
    vars(of_test).update(chunks=0, yielded=0, closed=0)
    engine = pair(start_engine, "source", "first")
    assert engine.action(12) == pb.Action(id=12)
    vars(of_test)["chunks"] = 1000
    engine.send(pieces=[piece(11, b"b")])
    assert not of_test.closed
    engine.send(cancel=[11])
    assert eventually(lambda: of_test.closed == 1)
    assert of_test.yielded <= 40_000
    assert engine.yielded(11) == b"a"


def test_streams_that_are_cancelled_end(start_engine: Start, of_test: ModuleType) -> None:
    vars(of_test).update(chunks=0, yielded=0, taken=0, closed=0, halted=True)
    engine = pair(start_engine, "source", "slow")
    vars(of_test)["chunks"] = 1000
    engine.send(pieces=[piece(11, b"b")])
    assert eventually(lambda: of_test.yielded >= WINDOW_BYTES)
    engine.send(cancel=[12, 11])
    assert eventually(lambda: of_test.closed == 1)
    assert of_test.yielded < WINDOW_BYTES + 2 * 40_000
    assert of_test.taken == 1
    assert engine.wait(lambda: engine.health().executions_finished == 2)
    assert not engine.actions
