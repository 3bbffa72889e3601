"""Policies with async functions, all on one loop."""

from collections.abc import Callable

import pytest
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.running.limits import Limits
from gatewright_executor.testing import Engine, request_execution, response_execution

Start = Callable[..., Engine]
WAITS = """
    import asyncio
    from gatewright.policy import UpstreamRequestModifications

    waiting, cancelled, finished = [], [], []

    async def on_request(ctx, params):
        if ctx.headers.get("x-release"):
            while waiting:
                waiting.pop().set_result(None)
            return None
        waiting.append(asyncio.get_running_loop().create_future())
        try:
            await waiting[-1]
        except asyncio.CancelledError:
            cancelled.append(ctx.request_id)
            raise
        finished.append(ctx.request_id)
        return UpstreamRequestModifications(set_headers={"x-id": ctx.request_id})

    async def on_response(ctx, params):
        ctx.metadata["cancelled"], ctx.metadata["finished"], ctx.metadata["waiting"] = cancelled, finished, len(waiting)
"""
RELEASE = {"x-release": "1"}


def waiting(engine: Engine, number: int) -> bytes:
    return engine.execute(response_execution(number)).metadata_set


def test_hundreds_wait_at_once_without_a_worker(start_engine: Start) -> None:
    engine = start_engine(workers=1, waits=WAITS)
    engine.configure(1, "waits:v1.0.0")
    engine.send(*map(request_execution, range(300)))
    engine.wait(lambda: b'"waiting":300' in waiting(engine, 1000 + len(engine.frames)))
    assert engine.health().workers_busy == 0
    assert not [action for action in engine.actions if action.set_headers]
    engine.execute(request_execution(5000, headers=RELEASE))
    engine.wait(lambda: sum(action.set_headers != b"" for action in engine.actions) == 300)
    assert engine.action(7).set_headers == b"x-id\0request-7\0"


def test_concurrency_is_limited(start_engine: Start) -> None:
    engine = start_engine(workers=1, waits=WAITS)
    engine.configure(1, "waits:v1.0.0", max_concurrency=2)
    engine.configure(2, "waits:v1.0.0")
    engine.send(*map(request_execution, range(1, 6)))
    engine.wait(lambda: engine.health().executions_started == 2)
    answered = 0
    for number in range(60, 63):
        assert b'"waiting":2' in engine.execute(response_execution(number, 2)).metadata_set or answered == 4
        engine.execute(request_execution(number + 10, 2, headers=RELEASE))
        answered = min(5, answered + 2)
        engine.wait(lambda until=answered: sum(a.set_headers != b"" for a in engine.actions) == until)  # type: ignore[misc]


def test_a_cancelled_coroutine_is_cancelled_and_the_others_are_not(start_engine: Start) -> None:
    engine = start_engine(waits=WAITS)
    engine.configure(1, "waits:v1.0.0")
    engine.send(*map(request_execution, (1, 2)))
    engine.wait(lambda: b'"waiting":2' in waiting(engine, 1000 + len(engine.frames)))
    engine.send(cancel=[1])
    engine.wait(lambda: b'"cancelled":["request-1"]' in waiting(engine, 2000 + len(engine.frames)))
    engine.execute(request_execution(3, headers=RELEASE))
    assert engine.action(2).set_headers == b"x-id\0request-2\0"
    assert 1 not in {action.id for action in engine.actions}


def test_what_needs_a_real_task_works_before_anything_was_awaited(start_engine: Start) -> None:
    source = """
        import asyncio
        from gatewright.policy import ImmediateResponse

        async def on_request(ctx, params):
            try:
                async with asyncio.timeout(0.001), asyncio.TaskGroup() as group:
                    group.create_task(asyncio.Event().wait())
            except TimeoutError:
                return ImmediateResponse(418, {"x-task": asyncio.current_task().get_name()})
    """
    engine = start_engine(tasks=source)
    engine.configure(1, "tasks:v1.0.0")
    engine.send(*map(request_execution, range(20)))
    engine.wait(lambda: len(engine.actions) == 20)
    assert {action.immediate_response.status_code for action in engine.actions} == {418}


def test_a_context_is_kept_over_await_and_not_shared(start_engine: Start) -> None:
    source = """
        import asyncio, contextvars
        mine = contextvars.ContextVar("mine", default=None)

        async def child():
            return mine.get()

        async def on_request(ctx, params):
            assert mine.get() is None
            mine.set(ctx.request_id)
            await asyncio.sleep(0)
            assert mine.get() == ctx.request_id
            assert await asyncio.create_task(child()) == ctx.request_id
    """
    engine = start_engine(context=source)
    engine.configure(1, "context:v1.0.0")
    engine.send(*map(request_execution, range(50)))
    engine.wait(lambda: len(engine.actions) == 50)
    assert {action.failure.message for action in engine.actions} == {""}


def test_a_coroutine_that_cancels_its_task_or_leaves_a_fatal_one_harms_no_other(start_engine: Start) -> None:
    source = """
        import asyncio

        async def fatal():
            raise SystemExit(1)

        async def on_request(ctx, params):
            if params:
                kept.append(asyncio.create_task(fatal()))
                kept[-1].add_done_callback(lambda task: task.exception())  # so that asyncio does not write of it
                asyncio.current_task().cancel()
        kept = []
    """
    engine = start_engine(fatal=source, waits=WAITS)
    engine.configure(1, "fatal:v1.0.0", {"on": True})
    engine.configure(2, "waits:v1.0.0")
    engine.send(*map(request_execution, range(10)), *(request_execution(number, 2) for number in range(10, 20)))
    engine.wait(lambda: len(engine.actions) == 10)
    engine.execute(request_execution(50, 2, headers=RELEASE))
    engine.wait(lambda: len(engine.actions) == 21)
    assert {action.failure.message for action in engine.actions} == {""}


def test_a_coroutine_past_its_deadline_is_never_started(start_engine: Start) -> None:
    engine = start_engine(waits=WAITS)
    engine.configure(1, "waits:v1.0.0")
    assert engine.execute(request_execution(1, seconds=0)).failure.failure_class == pb.FAILURE_CLASS_TIMEOUT
    assert engine.health().executions_started == 0


@pytest.mark.parametrize("limits", [Limits(loop_blocked_seconds=0.1)])
def test_a_loop_that_is_blocked_for_long_is_not_serving_until_it_is_free(start_engine: Start) -> None:
    source = """
        import threading
        gate = threading.Event()

        async def on_request(ctx, params):
            gate.wait(30)

        def on_response(ctx, params):
            gate.set()
    """
    engine = start_engine(blocks=source)
    engine.configure(1, "blocks:v1.0.0")
    engine.send(request_execution(1))
    engine.wait(lambda: not engine.health().serving)
    engine.execute(response_execution(2))
    engine.action(1)
    engine.wait(lambda: engine.health().serving)
