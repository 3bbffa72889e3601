"""Streams with tasks, timeouts and cancellations of their own."""

import gc
from collections.abc import Callable

import pytest
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.running.stream_execution import PIECE_BYTES, WINDOW_BYTES
from gatewright_executor.testing import Engine, piece, request_stream, response_stream

Start = Callable[..., Engine]


def started(start: Start, **sources: str) -> Engine:
    """An engine that has configured its policies as instances 1, 2, …"""
    one = start(**sources)
    for number, name in enumerate(sources, 1):
        assert not one.configure(number, f"{name}:v1.0.0").HasField("failure")
    return one


# ------------------------------------------------------------------ what is its own work


def test_one_that_yields_while_a_task_of_its_own_waits_for_a_chunk_is_not_late(engine: Start) -> None:
    """As one that keeps an event stream alive."""
    source = """
        import asyncio

        async def on_response_stream(ctx, chunks, params):
            asked = asyncio.ensure_future(anext(chunks))
            while not (await asyncio.wait({asked}, timeout=0.3))[0]:
                yield b"."
                while_it_waits = ctx.time_remaining()
            yield await asked
            yield f" {while_it_waits}"
    """
    one = started(engine, alive=source)
    one.send(response_stream(1, seconds=0.2))
    one.wait(lambda: len(one.yielded(1)) > 2)
    one.send(pieces=[piece(1, b"end", last=True)])
    assert one.action(1) == pb.Action(id=1)
    assert one.yielded(1).endswith(b".end 0.2")


def test_one_that_reads_ahead_is_not_late_while_nobody_reads_what_it_yields(engine: Start) -> None:
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

        async def on_response_stream(ctx, chunks, params):
            await asyncio.sleep(0.5)
            yield b""
    """
    one = started(engine, ahead=source)
    one.send(request_stream(1, seconds=0.2))
    one.send(pieces=[piece(1, b"a")])
    one.wait(lambda: len(one.yielded(1)) >= WINDOW_BYTES)
    one.send(pieces=[piece(1, b"b", last=True)])
    one.send(response_stream(2))
    one.action(2)
    assert [action.id for action in one.actions] == [2], "it waits for whoever reads"
    one.send(credit={1: WINDOW_BYTES})
    one.send(credit={1: WINDOW_BYTES})
    assert one.action(1) == pb.Action(id=1)


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


def test_its_own_timeout_holds_at_a_yield(engine: Start) -> None:
    one = started(engine, waits=WAITS)
    one.send(request_stream(1))
    one.wait(lambda: len(one.yielded(1)) >= WINDOW_BYTES)
    one.send(request_stream(3))
    one.wait(lambda: len(one.yielded(3)) >= WINDOW_BYTES)
    one.send(response_stream(2))
    one.action(2)
    one.send(credit={1: 1 << 20})
    one.send(credit={3: 1 << 20})
    assert one.action(1).failure.message.startswith("TimeoutError (")
    assert one.action(3) == pb.Action(id=3), "it has caught it"
    assert one.yielded(1) == one.yielded(3) == bytes(300_000) + b"later", "nothing of what it has yielded is lost"


def test_its_own_task_group_holds_at_a_yield(engine: Start) -> None:
    one = started(engine, waits=WAITS)
    one.send(response_stream(1))
    failure = one.action(1).failure
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


def test_whatever_it_raises_is_a_failure_and_others_go_on(engine: Start) -> None:
    one = started(engine, ends=ENDS)
    raised = [
        *("asyncio.exceptions.CancelledError (", "asyncio.exceptions.CancelledError (", "asyncio.exceptions.Cancelled"),
        *("RuntimeError: async generator raised StopAsync", "GeneratorExit (", "KeyboardInterrupt (", "MemoryError ("),
        *("RecursionError: maximum", "RuntimeError: async generator raised StopIt"),
    ]
    for number, expected in enumerate(raised, 1):
        one.send(request_stream(number))
        failure = one.action(number).failure
        assert failure.failure_class == pb.FAILURE_CLASS_EXCEPTION
        assert failure.message.startswith(expected), failure.message
    one.send(request_stream(10))
    assert one.action(10) == pb.Action(id=10)
    assert one.yielded(10) == b"fine"


def test_tasks_that_ask_for_a_chunk_after_the_end_get_none(engine: Start) -> None:
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
            done, _ = await asyncio.wait(left, timeout=1)
            yield str([task.cancelled() for task in done])
    """
    one = started(engine, leaves=source)
    one.send(request_stream(1))
    one.action(1)
    one.send(response_stream(2))
    one.action(2)
    assert one.yielded(2) == b"[True]"
