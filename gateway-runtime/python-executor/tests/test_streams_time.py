"""Streams with tasks, timeouts and cancellations of their own."""

import gc
import logging
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from gatewright_executor import logs
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.running.pipe import WINDOW_BYTES
from gatewright_executor.running.stream_execution import StreamExecution
from gatewright_executor.running.streams import Streams
from gatewright_executor.session.stream import Stream
from gatewright_executor.testing import Clock, Engine, eventually, piece, request_stream, response_stream

Start = Callable[..., Engine]


def start_configured(start: Start, **sources: str) -> Engine:
    """An engine that has configured its policies as instances 1, 2, …"""
    engine = start(**sources)
    for number, name in enumerate(sources, 1):
        assert not engine.configure(number, f"{name}:v1.0.0").HasField("failure")
    return engine


# ------------------------------------------------------------------ what is its own work


def test_a_stream_that_yields_while_its_own_task_waits_for_a_chunk_is_not_late(
    start_engine: Start, clock: Clock, pass_time: Any
) -> None:
    """A policy that keeps an event stream alive does so."""
    source = """
        import asyncio

        async def on_response_stream(ctx, chunks, params):
            asked = asyncio.ensure_future(anext(chunks))
            while not (await asyncio.wait({asked}, timeout=0.01))[0]:
                yield b"."
                while_it_waits = ctx.time_remaining()
            yield await asked
            yield f" {while_it_waits}"
    """
    engine = start_configured(partial(start_engine, clock=clock), alive=source, late=pass_time.policy)
    engine.send(response_stream(1, seconds=0.2))
    engine.wait(lambda: len(engine.yielded(1)) > 2)
    pass_time(engine)
    yielded = len(engine.yielded(1))
    engine.wait(lambda: len(engine.yielded(1)) > yielded)
    engine.send(pieces=[piece(1, b"end", last=True)])
    assert engine.action(1) == pb.Action(id=1)
    assert engine.yielded(1).endswith(b".end 0.2")


def test_a_stream_that_reads_ahead_is_not_late_while_its_output_is_not_read(
    start_engine: Start, clock: Clock, pass_time: Any
) -> None:
    source = """
        import asyncio

        async def on_request_stream(ctx, chunks, params):
            ahead = asyncio.Queue()

            async def read():
                async for chunk in chunks:
                    ahead.put_nowait(chunk)
                ahead.put_nowait(b"")

            reading = asyncio.create_task(read())
            while chunk := await ahead.get():
                yield chunk * 300_000
    """
    engine = start_configured(partial(start_engine, clock=clock), ahead=source, late=pass_time.policy)
    engine.send(request_stream(1, seconds=0.2))
    engine.send(pieces=[piece(1, b"a")])
    engine.wait(lambda: len(engine.yielded(1)) >= WINDOW_BYTES)
    engine.send(pieces=[piece(1, b"b", last=True)])
    pass_time(engine)
    assert 1 not in {action.id for action in engine.actions}, "it waits for its reader"
    engine.send(credit={1: WINDOW_BYTES})
    engine.send(credit={1: WINDOW_BYTES})
    assert engine.action(1) == pb.Action(id=1)


# ------------------------------------------------------------------ what cancels it


WAITS = """
    import asyncio

    async def on_request_stream(ctx, chunks, params):
        try:
            async with asyncio.timeout(0.05):
                yield bytes(300_000)
                yield b"more"
        except TimeoutError:
            yield b"late"
            yield b"r"
            if ctx.request_id == "request-1":
                raise

    async def on_response_stream(ctx, chunks, params):
        async def fails():
            await asyncio.sleep(0.05)
            raise ValueError("mine")

        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            yield bytes(300_000)
            yield bytes(300_000)
"""


def test_its_own_timeout_holds_at_a_yield(start_engine: Start) -> None:
    engine = start_configured(start_engine, waits=WAITS)
    engine.send(request_stream(1))
    engine.wait(lambda: len(engine.yielded(1)) >= WINDOW_BYTES)
    engine.send(request_stream(3))
    engine.wait(lambda: len(engine.yielded(3)) >= WINDOW_BYTES)
    engine.send(response_stream(2))
    engine.action(2)
    engine.send(credit={1: 1 << 20})
    engine.send(credit={3: 1 << 20})
    assert engine.action(1).failure.message.startswith("TimeoutError (")
    assert engine.action(3) == pb.Action(id=3), "it has caught it"
    assert engine.yielded(1) == engine.yielded(3) == bytes(300_000) + b"later", "nothing of what it has yielded is lost"


def test_its_own_task_group_holds_at_a_yield(start_engine: Start) -> None:
    engine = start_configured(start_engine, waits=WAITS)
    engine.send(response_stream(1))
    failure = engine.action(1).failure
    assert "ValueError: mine" in failure.message


ENDS = """
    import asyncio

    async def on_request_stream(ctx, chunks, params):
        kind = ctx.request_id[8:]
        if kind == "1":
            raise asyncio.CancelledError
        if kind == "2":
            asyncio.current_task().cancel()
            await asyncio.sleep(0)
        if kind == "3":
            asyncio.current_task().cancel()
            async for chunk in chunks:
                pass
        if kind == "4":
            raise StopAsyncIteration
        if kind == "5":
            raise GeneratorExit
        if kind == "6":
            raise KeyboardInterrupt
        if kind == "7":
            raise MemoryError
        if kind == "8":
            def deep():
                deep()
            deep()
        if kind == "9":
            raise StopIteration
        yield b"fine"
"""


def test_whatever_it_raises_is_a_failure_and_others_go_on(start_engine: Start) -> None:
    engine = start_configured(start_engine, ends=ENDS)
    raised = [
        *("asyncio.exceptions.CancelledError (", "asyncio.exceptions.CancelledError (", "asyncio.exceptions.Cancelled"),
        *("RuntimeError: async generator raised StopAsync", "GeneratorExit (", "KeyboardInterrupt (", "MemoryError ("),
        *("RecursionError: maximum", "RuntimeError: async generator raised StopIt"),
    ]
    for number, expected in enumerate(raised, 1):
        engine.send(request_stream(number))
        failure = engine.action(number).failure
        assert failure.failure_class == pb.FAILURE_CLASS_EXCEPTION
        assert failure.message.startswith(expected), failure.message
    engine.send(request_stream(10))
    assert engine.action(10) == pb.Action(id=10)
    assert engine.yielded(10) == b"fine"


def test_tasks_that_ask_for_a_chunk_after_the_end_get_none(start_engine: Start) -> None:
    source = """
        import asyncio

        left = []

        async def on_request_stream(ctx, chunks, params):
            async def later():
                await asyncio.sleep(0.02)
                return await anext(chunks)

            left.append(asyncio.create_task(later()))
            yield b"end"

        async def on_response_stream(ctx, chunks, params):
            done, _ = await asyncio.wait(left)
            left.clear()
            yield str([task.cancelled() for task in done])
    """
    engine = start_configured(start_engine, leaves=source)
    engine.send(request_stream(1))
    engine.action(1)
    engine.send(response_stream(2))
    engine.action(2)
    assert engine.yielded(2) == b"[True]"


@pytest.mark.parametrize("goes_on", ["yield b''", "await anext(chunks)"])
def test_the_finally_of_a_stream_that_learns_that_it_is_late_is_not_cancelled(
    start_engine: Start, clock: Clock, of_test: ModuleType, goes_on: str
) -> None:
    """The stream learns that it is late where it yields or asks, before its cancellation, since the log line waits."""
    of_test.begun = begun = threading.Event()  # type: ignore[attr-defined]
    source = f"""
        import asyncio, logging, of_test, threading

        seen = []
        late, closing = threading.Event(), threading.Event()

        class Waits(logging.Handler):
            def emit(self, record):
                late.set()
                closing.wait(30)

        waits = Waits()
        logging.getLogger("gatewright_executor.running.timeout_log").addHandler(waits)

        async def on_request_stream(ctx, chunks, params):
            try:
                of_test.begun.set()
                late.wait(30)
                {goes_on}
                yield b""
            finally:
                closing.set()
                await asyncio.sleep(0.1)
                seen.append("whole")

        async def on_response_stream(ctx, chunks, params):
            logging.getLogger("gatewright_executor.running.timeout_log").removeHandler(waits)
            yield str(seen)
    """
    engine = start_configured(partial(start_engine, clock=clock), cleans=source)
    engine.send(request_stream(1, seconds=1))
    assert begun.wait(30)
    clock.move(2)
    assert engine.action(1).failure.failure_class == pb.FAILURE_CLASS_TIMEOUT
    assert eventually(lambda: seen(engine) == b"['whole']")


def seen(engine: Engine) -> bytes:
    """What on_response_stream of instance 1 yields."""
    number = 1_000_000 + len(engine.frames)
    engine.send(response_stream(number))
    engine.action(number)
    return engine.yielded(number)


# ------------------------------------------------------------------ what is left


@pytest.fixture
def left() -> Callable[[], list[object]]:
    """The objects of streams in this process that did not exist before the test."""
    kinds = StreamExecution, Streams, Stream
    known = {id(kept): kept for kept in gc.get_objects() if type(kept) in kinds}  # kept, so the numbers stay theirs

    def left() -> list[object]:
        kept: list[object] = []
        for instance in gc.get_objects():
            if type(instance) not in kinds or id(instance) in known:
                continue
            if isinstance(instance, StreamExecution):
                kept.append(instance)
            elif isinstance(instance, Streams):
                kept += [
                    *instance.at_work,
                    *instance._tasks,
                    *instance._unsent,
                    *instance._sinks,
                    *instance._submitted,
                    *instance._woken_waiters,
                ]
            else:
                kept += [*instance._pending, *instance._running, *instance._bodies.numbers()]
        return kept

    return left


def test_a_stream_leaves_nothing_however_it_ends(start_engine: Start, left: Callable[[], list[object]]) -> None:
    source = """
        from gatewright.policy import ImmediateResponse, Reject

        async def on_request_stream(ctx, chunks, params):
            async for chunk in chunks:
                yield chunk
                match int(ctx.request_id[8:]) % 5:
                    case 1:
                        raise ValueError
                    case 2:
                        raise Reject(ImmediateResponse(400))
                    case 3:
                        ctx.trailers["x-a"] = ctx.metadata["a"] = "1"
                    case 4:
                        yield 1
    """
    engine = start_configured(start_engine, ends=source)
    gc.collect()
    gc.disable()  # what it finds was in a circle, and kept for long
    logging.disable()  # caplog keeps the tracebacks
    try:
        for first in range(1, 3000, 1000):
            numbers = range(first, first + 1000)
            engine.send(*map(request_stream, numbers), pieces=[piece(number, b"a") for number in numbers])
            cancelled = [number for number in numbers if number % 7 == 0]
            engine.send(pieces=[piece(number, last=True) for number in numbers if number % 11], cancel=cancelled)
            engine.send(cancel=numbers)
            assert eventually(lambda: not left())
    finally:
        logging.disable(logging.NOTSET)
        gc.enable()


def test_a_stream_cancelled_while_it_waits_for_a_slot_is_released(
    start_engine: Start, left: Callable[[], list[object]]
) -> None:
    source = """
        async def on_request_stream(ctx, chunks, params):
            async for chunk in chunks:
                yield chunk
    """
    engine = start_engine(waits=source)
    engine.configure(1, "waits:v1.0.0", max_concurrency=1)
    engine.send(request_stream(1), request_stream(2, seconds=60))
    engine.send(pieces=[piece(1, b"a"), piece(2, b"b")], cancel=[2])
    engine.wait(lambda: engine.yielded(1) == b"a")
    engine.send(pieces=[piece(1, last=True)])
    engine.action(1)
    assert eventually(lambda: not left())


def test_a_call_that_is_gone_leaves_none_of_a_thousand_streams(
    start_engine: Start, left: Callable[[], list[object]]
) -> None:
    source = """
        closed = []

        async def on_request_stream(ctx, chunks, params):
            try:
                yield b""
                async for chunk in chunks:
                    yield chunk * 300_000
            finally:
                closed.append(1)

        async def on_response_stream(ctx, chunks, params):
            yield str(len(closed))
    """
    engine, numbers = start_configured(start_engine, open=source), range(1, 1001)
    with Engine(socket_of(engine)) as other:
        other.configure(1, "open:v1.0.0")
        other.send(*map(request_stream, numbers), pieces=[piece(number, b"a") for number in numbers if number % 2])
        other.wait(lambda: {piece.id for frame in other.frames for piece in frame.pieces} == {*numbers})
    assert eventually(lambda: seen(engine) == b"1000")
    assert eventually(lambda: not left())


def socket_of(engine: Engine) -> Path:
    return Path(engine.address.removeprefix("unix:"))


def test_lines_are_tied_to_the_stream_in_each_step(start_engine: Start) -> None:
    source = """
        import asyncio, logging

        def note(step):
            logging.getLogger("mine").warning(step)

        async def child():
            note("task")

        async def on_request_stream(ctx, chunks, params):
            try:
                note("first")
                yield b""
                async for chunk in chunks:
                    note("chunk")
                    await asyncio.create_task(child())
                    await asyncio.to_thread(note, "thread")
                    yield chunk
            finally:
                note("finally")
                await asyncio.sleep(0)
                note("end")
    """
    tied: dict[str, tuple[str, str]] = {}

    def note(record: logging.LogRecord) -> bool:
        if (origin := logs.current.get()) is not None:
            tied[record.getMessage()] = origin.policy, origin.request_id
        return True

    logging.getLogger("mine").addFilter(note)
    engine = start_configured(start_engine, tied=source)
    engine.send(request_stream(1), pieces=[piece(1, b"a")])
    engine.wait(lambda: engine.yielded(1) == b"a")
    engine.send(cancel=[1])
    assert eventually(lambda: "end" in tied)
    logging.getLogger("mine").removeFilter(note)
    steps = ("first", "chunk", "task", "thread", "finally", "end")
    assert tied == dict.fromkeys(steps, ("tied:v1.0.0", "request-1"))
