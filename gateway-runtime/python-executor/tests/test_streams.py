"""Streams as the engine sees them: pieces and credit in, pieces, credit and one action out."""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.running.pipe import PIECE_BYTES, WINDOW_BYTES
from gatewright_executor.testing import (
    Clock,
    Engine,
    eventually,
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

    async def on_response_stream(ctx, chunks, params):
        async for chunk in chunks:
            yield chunk
"""
UPPER = """
    async def on_request_stream(ctx, chunks, params):
        yield ctx.method + " "
        async for chunk in chunks:
            yield bytearray(chunk.upper())
            yield memoryview(b".")
        yield "é"
"""
NOTES = """
    seen = []

    async def on_request_stream(ctx, chunks, params):
        async for chunk in chunks:
            seen.append(len(chunk))
        yield repr(seen)
        seen.clear()
"""


def start_configured(start: Start, **sources: str) -> Engine:
    """An engine that has configured its policies as instances 1, 2, …"""
    engine = start(**sources)
    for number, name in enumerate(sources, 1):
        assert not engine.configure(number, f"{name}:v1.0.0").HasField("failure")
    return engine


def failure(engine: Engine, number: int) -> pb.Failure:
    return engine.action(number).failure


# ------------------------------------------------------------------ what is loaded


def test_hello_names_the_hooks_that_stream(start_engine: Start) -> None:
    hello = start_engine(passes=PASSES, upper=UPPER, plain="def on_request(ctx, params): ...").hello
    streams = {policy.name: (policy.on_request_stream, policy.on_response_stream) for policy in hello.policies}
    assert streams == {"passes": (True, True), "upper": (True, False), "plain": (False, False)}


@pytest.mark.parametrize(
    ("source", "got"),
    [
        ("async def on_request_stream(ctx, chunks, params): ...", "got an async function without a yield"),
        ("def on_request_stream(ctx, chunks, params): yield", "got a generator function that is not async"),
        ("def on_request_stream(ctx, chunks, params): ...", "got a plain function"),
        ("on_request_stream = 1", "got int"),
        ("async def on_request_stream(ctx, params): yield", r"got on_request_stream\(ctx, params\): too many"),
    ],
)
def test_anything_but_an_async_generator_is_refused(start_engine: Start, source: str, got: str) -> None:
    (policy,) = start_engine(bad=source).hello.policies
    assert re.search(rf"expected .*on_request_stream\(ctx, chunks, params\).*{got}.*bad\.py", policy.failure.message)
    if "too many" not in got:
        assert policy.failure.message.endswith("write `async def` with a `yield` in it")


WRAPPED = """
    import functools

    def plain(function):
        @functools.wraps(function)
        def call(*arguments):
            return function(*arguments)
        return call

    async def passes(word, ctx, chunks, params):
        yield word

    @plain
    async def one(ctx, chunks, params):
        yield b""

"""


def test_an_async_generator_with_arguments_of_its_own_streams(start_engine: Start) -> None:
    engine = start_configured(start_engine, part=WRAPPED + "    on_request_stream = functools.partial(passes, b'word')")
    engine.send(request_stream(1))
    engine.action(1)
    assert engine.yielded(1) == b"word"


def test_a_decorator_that_makes_a_plain_function_of_it_is_named(start_engine: Start) -> None:
    (policy,) = start_engine(bad=WRAPPED + "    on_request_stream = one").hello.policies
    message = policy.failure.message
    assert "got a plain function, which a decorator has made of one (" in message
    assert message.endswith("have its decorator return an async generator function")


def test_what_get_policy_returns_cannot_stream(start_engine: Start) -> None:
    source = """
        class Old:
            def on_request(self, ctx, params): ...

            async def on_request_stream(self, ctx, chunks, params):
                yield b""

        def get_policy(metadata, params):
            return Old()
    """
    with pytest.warns(DeprecationWarning, match="get_policy"):
        engine = start_engine(old=source)
    assert "cannot stream; write on_request" in engine.configure(1, "old:v1.0.0").failure.message


def test_a_stream_of_a_policy_that_has_none_is_refused(start_engine: Start) -> None:
    engine = start_configured(start_engine, plain="def on_request(ctx, params): ...")
    engine.send(request_stream(1), pieces=[piece(1, b"a", last=True)])
    assert failure(engine, 1).message.startswith(
        "expected on_request_stream(ctx, chunks, params) in the policy's module"
    )
    engine.execute(request_execution(2))


# ------------------------------------------------------------------ chunks and what is yielded


def test_a_body_in_pieces_is_passed_on_as_it_comes(start_engine: Start) -> None:
    engine = start_configured(start_engine, upper=UPPER)
    engine.send(request_stream(1))
    engine.wait(lambda: engine.yielded(1) == b"GET ")
    engine.send(pieces=[piece(1, b"one")])
    engine.wait(lambda: engine.yielded(1) == b"GET ONE.")
    assert not engine.actions, "it goes on"
    engine.send(pieces=[piece(1, b"two", last=True)])
    assert engine.action(1) == pb.Action(id=1)
    assert engine.yielded(1) == "GET ONE.TWO.é".encode()


def test_the_pieces_come_before_the_action(start_engine: Start) -> None:
    engine = start_configured(start_engine, upper=UPPER)
    engine.send(request_stream(1), pieces=[piece(1, b"one", last=True)])
    engine.action(1)
    kinds = [
        kind for frame in engine.frames for kind in ["piece"] * len(frame.pieces) + ["action"] * len(frame.actions)
    ]
    assert kinds == ["piece"] * (len(kinds) - 1) + ["action"]


def test_what_waits_is_joined_and_what_is_large_is_cut(start_engine: Start) -> None:
    engine = start_configured(start_engine, notes=NOTES, passes=PASSES)
    small = [piece(1, b"x") for _ in range(100_000)]
    engine.send(request_stream(1), pieces=[*small, piece(1, last=True)])
    engine.action(1)
    sizes = json.loads(engine.yielded(1))
    assert sum(sizes) == 100_000
    assert max(sizes) <= PIECE_BYTES
    assert len(sizes) < 20
    large = b"0123456789abcdef" * (PIECE_BYTES // 8)  # as one yield, of two pieces
    source = f"async def on_request_stream(ctx, chunks, params):\n    yield {large!r}"
    other = start_configured(start_engine, large=source)
    other.send(request_stream(1))
    other.action(1)
    assert [len(data) for data in other.pieces(1)] == [PIECE_BYTES, PIECE_BYTES]
    assert other.yielded(1) == large


def test_yields_that_come_together_leave_as_one_piece(start_engine: Start, clock: Clock) -> None:
    source = """
        async def on_request_stream(ctx, chunks, params):
            for _ in range(50):
                yield b"ab"
    """
    engine = start_configured(partial(start_engine, clock=clock), many=source)
    engine.send(request_stream(1))
    engine.action(1)
    assert engine.pieces(1) == [b"ab" * 50]


def test_an_empty_yield_is_sent_as_the_first_piece_only(start_engine: Start) -> None:
    source = """
        async def on_request_stream(ctx, chunks, params):
            yield b""
            yield b""
            async for chunk in chunks:
                yield chunk
                yield ""
    """
    engine = start_configured(start_engine, empty=source)
    engine.send(request_stream(1))
    engine.wait(lambda: engine.pieces(1) == [b""])
    engine.send(pieces=[piece(1, b"a")])
    engine.wait(lambda: engine.pieces(1) == [b"", b"a"])
    engine.send(pieces=[piece(1, last=True)])
    engine.action(1)
    assert engine.pieces(1) == [b"", b"a"]


def test_a_loop_that_was_left_goes_on_and_one_after_the_end_is_an_error(start_engine: Start) -> None:
    source = """
        async def on_request_stream(ctx, chunks, params):
            async for chunk in chunks:
                yield b"first "
                break
            async for chunk in chunks:
                yield chunk
            async for chunk in chunks:
                yield b"never"
    """
    engine = start_configured(start_engine, twice=source)
    engine.send(request_stream(1), pieces=[piece(1, b"one")])
    engine.wait(lambda: engine.yielded(1) == b"first ")
    engine.send(pieces=[piece(1, b"two", last=True)])
    message = failure(engine, 1).message
    assert message.startswith("RuntimeError: expected chunks to be iterated once, got a loop after its end")
    assert "twice.py:8" in message
    assert engine.yielded(1) == b"first two"


def test_two_tasks_that_ask_at_once_are_an_error(start_engine: Start) -> None:
    source = """
        import asyncio

        async def on_request_stream(ctx, chunks, params):
            asked = asyncio.create_task(anext(chunks))
            await asyncio.sleep(0)
            try:
                await anext(chunks)
            finally:
                asked.cancel()
            yield b""
    """
    engine = start_configured(start_engine, both=source)
    engine.send(request_stream(1))
    assert "expected one task to ask for the next chunk, got a second one" in failure(engine, 1).message


# ------------------------------------------------------------------ contexts, trailers, metadata


def test_a_response_stream_sees_the_response_its_request_and_its_trailers(start_engine: Start) -> None:
    source = """
        async def on_response_stream(ctx, chunks, params):
            yield f"{ctx.status_code} {ctx.headers['x-a']} {ctx.request.method} {ctx.body} "
            try:
                ctx.trailers["x-sum"]
            except RuntimeError:
                yield "early "
            async for chunk in chunks:
                yield chunk
            yield ctx.trailers["x-sum"]
            ctx.trailers["x-count"] = "1"
            del ctx.trailers["x-sum"]
            ctx.metadata["seen"] = True
    """
    engine = start_configured(start_engine, whole=source)
    execution = response_stream(1)
    execution.response_headers = b"x-a\0b\0"
    engine.send(execution)
    engine.send(pieces=[piece(1, b"body "), piece(1, last=True, trailers={"x-sum": "42"})])
    action = engine.action(1)
    assert engine.yielded(1) == b"200 b GET None early body 42"
    assert (action.set_trailers, action.remove_trailers) == (b"x-count\x001\0", b"x-sum\0")
    assert json.loads(action.metadata_set) == {"seen": True}


def test_a_stream_leaves_values_for_the_access_log_at_its_end(start_engine: Start) -> None:
    source = """
        async def both(ctx, chunks, params):
            ctx.analytics["seen"] = 0
            async for chunk in chunks:
                ctx.analytics["seen"] += len(chunk)
                yield chunk
            ctx.analytics["llm"] = {"model": "é", "cost": None}

        on_request_stream = on_response_stream = both
    """
    engine = start_configured(start_engine, both=source)
    for number, execution in enumerate((request_stream(1), response_stream(2)), 1):
        engine.send(execution)
        engine.send(pieces=[piece(number, b"body"), piece(number, last=True)])
        assert json.loads(engine.action(number).analytics_metadata) == {
            "seen": 4, "llm": {"model": "é", "cost": None}
        }  # fmt: skip


def test_values_that_are_no_json_fail_the_stream(start_engine: Start) -> None:
    source = """
        async def on_request_stream(ctx, chunks, params):
            ctx.analytics["bytes"] = b"x"
            yield b""
    """
    engine = start_configured(start_engine, both=source)
    engine.send(request_stream(1), pieces=[piece(1, last=True)])
    failed = failure(engine, 1)
    assert failed.failure_class == pb.FAILURE_CLASS_BAD_ACTION
    assert "ctx.analytics['bytes']: expected a JSON value" in failed.message


def test_a_message_without_a_body_is_an_empty_stream(start_engine: Start) -> None:
    source = """
        async def on_request_stream(ctx, chunks, params):
            async for chunk in chunks:
                assert False
            yield f"made {len(ctx.trailers)}"
    """
    engine = start_configured(start_engine, makes=source)
    engine.send(request_stream(1), pieces=[piece(1, last=True)])
    engine.action(1)
    assert engine.yielded(1) == b"made 0"


def test_what_is_printed_and_prepared_is_tied_to_the_stream(
    start_engine: Start, caplog: pytest.LogCaptureFixture
) -> None:
    source = """
        import logging

        def prepare(params):
            return params["word"]

        async def on_request_stream(ctx, chunks, params):
            logging.getLogger("mine").warning("id %s", ctx.request_id)
            yield ctx.prepared
    """
    engine = start_engine(logs=source)
    engine.configure(1, "logs:v1.0.0", {"word": "prepared"})
    engine.send(request_stream(7))
    engine.action(7)
    assert engine.yielded(7) == b"prepared"
    assert "id request-7" in caplog.messages


# ------------------------------------------------------------------ ends


def test_reject_answers(start_engine: Start) -> None:
    source = """
        from gatewright.policy import ImmediateResponse, Reject

        closed = []

        async def on_request_stream(ctx, chunks, params):
            try:
                async for chunk in chunks:
                    if b"bad" in chunk:
                        ctx.metadata["why"] = "bad"
                        raise Reject(ImmediateResponse(422, {"x-why": "bad"}, b"no"))
                    yield chunk
            finally:
                closed.append(1)

        async def on_response_stream(ctx, chunks, params):
            raise Reject("no answer")
            yield
    """
    engine = start_configured(start_engine, rejects=source)
    engine.send(request_stream(1), pieces=[piece(1, b"good")])
    engine.wait(lambda: engine.yielded(1) == b"good")
    engine.send(pieces=[piece(1, b"bad")])
    action = engine.action(1)
    answer = action.immediate_response
    assert (answer.status_code, answer.headers, answer.body) == (422, b"x-why\0bad\0", b"no")
    assert Path(answer.file).name == "rejects.py"
    assert source.splitlines()[answer.line - 1].strip().startswith("raise Reject(Immediate")
    assert json.loads(action.metadata_set) == {"why": "bad"}
    engine.send(response_stream(2))
    assert failure(engine, 2).failure_class == pb.FAILURE_CLASS_BAD_ACTION
    assert "expected an ImmediateResponse, got str 'no answer'" in failure(engine, 2).message


def test_an_exception_fails_it_with_its_traceback_in_the_log(
    start_engine: Start, caplog: pytest.LogCaptureFixture
) -> None:
    source = """
        async def on_request_stream(ctx, chunks, params):
            async for chunk in chunks:
                yield chunk
                raise SystemExit("mine")
    """
    engine = start_configured(start_engine, raises=source)
    engine.send(request_stream(1), pieces=[piece(1, b"a")])
    found = failure(engine, 1)
    assert (found.failure_class, found.hook, found.logged) == (pb.FAILURE_CLASS_EXCEPTION, "on_request_stream", True)
    assert found.message.startswith("SystemExit: mine (")
    assert engine.yielded(1) == b"a", "what was yielded before comes first"
    (record,) = [record for record in caplog.records if "on_request_stream failed" in record.message]
    assert "raises.py" in record.__dict__["trace"]
    assert "streams.py" not in record.__dict__["trace"], "no frames of our own"


def test_a_stream_needs_no_input_to_end_and_what_comes_after_is_dropped(start_engine: Start) -> None:
    source = """
        async def on_request_stream(ctx, chunks, params):
            yield "whole"
    """
    engine = start_configured(start_engine, ends=source)
    engine.send(request_stream(1))
    engine.action(1)
    engine.send(pieces=[piece(1, b"late"), piece(99, b"of no stream")], credit={1: 5, 99: 5})
    engine.send(request_stream(2))
    engine.action(2)
    assert (engine.yielded(1), engine.credit(1), engine.credit(99)) == (b"whole", 0, 0)


# ------------------------------------------------------------------ credit


def test_credit_comes_back_as_chunks_are_taken_and_not_before(start_engine: Start) -> None:
    source = """
        import asyncio
        go = asyncio.Event()

        async def on_request_stream(ctx, chunks, params):
            if params:
                go.set()
            await go.wait()
            async for chunk in chunks:
                pass
            yield b"end"
    """
    engine = start_engine(takes=source)
    engine.configure(1, "takes:v1.0.0")
    engine.configure(2, "takes:v1.0.0", {"go": True})
    full = [piece(1, b"x" * PIECE_BYTES) for _ in range(WINDOW_BYTES // PIECE_BYTES)]
    engine.send(request_stream(1), pieces=full)
    engine.send(request_execution(5, 2))
    engine.action(5)
    assert engine.credit(1) == 0, "nothing was taken"
    engine.send(request_stream(2, 2))
    engine.wait(lambda: engine.credit(1) == WINDOW_BYTES)
    engine.send(pieces=[piece(1, b"x" * 1000)])
    engine.send(pieces=[piece(1, last=True)])
    engine.action(1)
    assert engine.credit(1) == WINDOW_BYTES, "less than a quarter of the window is not worth a frame"


def test_a_generator_waits_while_credit_is_out(start_engine: Start, clock: Clock, pass_time: Any) -> None:
    source = """
        taken = []

        async def on_request_stream(ctx, chunks, params):
            for number in range(100):
                taken.append(number)
                yield bytes(32768)

        def on_response(ctx, params): ...
    """
    engine = start_configured(partial(start_engine, clock=clock), floods=source, late=pass_time.policy)
    engine.send(request_stream(1, seconds=0.2))
    engine.wait(lambda: len(engine.yielded(1)) == WINDOW_BYTES)
    engine.send(credit={1: 1})
    engine.wait(lambda: len(engine.yielded(1)) == WINDOW_BYTES + 32768)
    pass_time(engine)
    assert 1 not in {action.id for action in engine.actions}, "its time is for its own work: it is not late"
    for _ in range(50):
        engine.send(credit={1: 1 << 16})
    assert engine.action(1) == pb.Action(id=1)
    assert len(engine.yielded(1)) == 100 * 32768


def test_a_yield_of_ten_megabytes_leaves_as_there_is_credit(start_engine: Start) -> None:
    source = """
        async def on_request_stream(ctx, chunks, params):
            yield bytes(10 << 20)
    """
    engine = start_configured(start_engine, huge=source)
    engine.send(request_stream(1))
    credit = WINDOW_BYTES
    while credit < 10 << 20:
        engine.wait(lambda until=credit: len(engine.yielded(1)) >= until)  # type: ignore[misc]
        assert len(engine.yielded(1)) < credit + PIECE_BYTES
        engine.send(credit={1: PIECE_BYTES})
        credit += PIECE_BYTES
    engine.action(1)
    assert len(engine.yielded(1)) == 10 << 20
    assert max(map(len, engine.pieces(1))) == PIECE_BYTES
    assert max(frame.ByteSize() for frame in engine.frames) < (1 << 20) + 2 * PIECE_BYTES


@pytest.mark.parametrize("sizes", [[PIECE_BYTES + 1], [PIECE_BYTES] * 5, [PIECE_BYTES] * 3 + [PIECE_BYTES - 1, 2, 1]])
def test_a_piece_that_may_not_come_ends_the_call(start_engine: Start, sizes: list[int]) -> None:
    """Memory would not be bounded otherwise. The last byte of credit is enough for a piece."""
    source = """
        async def on_request_stream(ctx, chunks, params):
            yield b""
            await __import__("asyncio").Event().wait()
    """
    engine = start_configured(start_engine, waits=source)
    engine.send(request_stream(1))
    engine.wait(lambda: engine.pieces(1))
    for size in sizes[:-1]:
        engine.send(pieces=[piece(1, b"x" * size)])
    engine.wait(lambda: engine.acknowledged == len(sizes) + 1)
    engine.send(pieces=[piece(1, b"x" * sizes[-1])])
    assert eventually(lambda: engine.ended)
    assert engine.error is not None
    assert f"expected a piece of {PIECE_BYTES} bytes at most, with credit, got {sizes[-1]}" in str(engine.error)
