"""Policies that use the engine's store, in a real executor: which executions wait, and what happens to them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gatewright import store
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.running.latency import RUN
from gatewright_executor.running.limits import Limits
from gatewright_executor.session.store_calls import store_of_running_instance
from gatewright_executor.testing import Engine, configuration, eventually, request_execution

Start = Callable[..., Engine]
COUNT = """
    from gatewright.policy import UpstreamRequestModifications
    from gatewright.store import Store

    def prepare(params):
        return Store(timeout=params.get("timeout", 10))

    def on_request(ctx, params):
        if params.get("unless") and ctx.headers.get("x-count") is None:
            return None
        count = ctx.prepared.increment("n", ttl=60)
        return UpstreamRequestModifications(set_headers={"x-count": str(count)})
"""
COUNT_ASYNC = """
    from gatewright.policy import UpstreamRequestModifications
    from gatewright.store import AsyncStore

    def prepare(params):
        return AsyncStore("sums", timeout=params.get("timeout", 10), shared=True, keep=True)

    async def on_request(ctx, params):
        count = await ctx.prepared.increment("n", 5, ttl=60)
        return UpstreamRequestModifications(set_headers={"x-count": str(count)})
"""
RESERVE = """
    from gatewright.policy import UpstreamRequestModifications
    from gatewright.store import AsyncStore

    def prepare(params):
        return AsyncStore(timeout=10)

    async def on_request(ctx, params):
        got = await ctx.prepared.reserve("b", "r", 5, at_most=8, hold=2, ttl=60)
        settled = await ctx.prepared.settle("b", "r", 4)
        text = f"{got.allowed} {got.spent} {got.reserved} {settled}"
        return UpstreamRequestModifications(set_headers={"x-count": text})
"""
BLOCKS_ITS_LOOP = """
    from gatewright.store import Store

    def prepare(params):
        return Store()

    async def on_request(ctx, params):
        ctx.prepared.get("n")
"""
PASSES = "def on_request(ctx, params): return None"
COUNTED = b"x-count\x007\x00"
UNAVAILABLE = pb.FAILURE_CLASS_UNAVAILABLE


@pytest.fixture(autouse=True)
def in_a_gateway() -> Iterator[None]:
    before = store.use(store_of_running_instance)
    yield
    store.use(before)


def answer(engine: Engine, number: int, **result: object) -> pb.StoreCall:
    call = engine.store_call(number)
    engine.send(store_results=[pb.StoreResult(id=number, number=7, **result)])  # type: ignore[arg-type]
    return call


@pytest.mark.parametrize("source", [COUNT, COUNT_ASYNC])
def test_a_call_goes_to_the_engine_and_its_result_comes_back(start_engine: Start, source: str) -> None:
    engine = start_engine(count=source)
    engine.configure(3, "count:v1.0.0")
    engine.send(request_execution(1, instance=3))
    call = answer(engine, 1)
    is_async = source is COUNT_ASYNC
    assert (call.instance, call.operation, call.ttl_ms) == (3, pb.STORE_OPERATION_INCREMENT, 60_000)
    expected = (b"sums:n", 5, True, True) if is_async else (b":n", 1, False, False)
    assert (call.key, call.amount, call.shared, call.kept) == expected
    assert engine.action(1).set_headers == COUNTED


def test_a_reservation_and_its_settlement_go_to_the_engine(start_engine: Start) -> None:
    engine = start_engine(count=RESERVE)
    engine.configure(1, "count:v1.0.0")
    engine.send(request_execution(1))
    reserve = answer(engine, 1, yes=True, reserved=5)
    assert (reserve.operation, reserve.ttl_ms, reserve.hold_ms) == (pb.STORE_OPERATION_RESERVE, 60_000, 2000)
    assert (reserve.name, reserve.amount, reserve.at_most) == (b"r", 5, 8)
    settle = answer(engine, 2)
    assert (settle.operation, settle.name, settle.amount) == (pb.STORE_OPERATION_SETTLE, b"r", 4)
    assert engine.action(1).set_headers == b"x-count\x00True 7 5 False\x00"


@pytest.mark.parametrize("source", [COUNT, COUNT_ASYNC])
@pytest.mark.parametrize(
    ("outcome", "failure", "error"),
    [
        (pb.STORE_OUTCOME_UNAVAILABLE, UNAVAILABLE, "StoreUnavailableError: why"),
        (pb.STORE_OUTCOME_FULL, UNAVAILABLE, "StoreFullError: why"),
        (pb.STORE_OUTCOME_INVALID, pb.FAILURE_CLASS_EXCEPTION, "ValueError: why"),
    ],
)
def test_an_error_of_the_engine_is_raised(
    start_engine: Start, source: str, outcome: int, failure: int, error: str
) -> None:
    engine = start_engine(count=source)
    engine.configure(1, "count:v1.0.0")
    engine.send(request_execution(1))
    answer(engine, 1, outcome=outcome, message="why")
    got = engine.action(1).failure
    assert got.failure_class == failure
    assert got.hook == "on_request", "it was started: no other process may try it"
    assert error in got.message


@pytest.mark.parametrize("source", [COUNT, COUNT_ASYNC])
def test_no_answer_in_time_is_unavailable_and_a_late_one_is_dropped(start_engine: Start, source: str) -> None:
    engine = start_engine(count=source)
    engine.configure(1, "count:v1.0.0", {"timeout": 0.05})
    assert "within 0.05 s" in engine.execute(request_execution(1)).failure.message
    engine.send(request_execution(2), store_results=[pb.StoreResult(id=1)])
    assert engine.action(2).failure.failure_class == UNAVAILABLE


def test_a_quick_policy_that_asks_the_store_delays_no_other(start_engine: Start) -> None:
    """The thread that reads runs it: another one reads on before it waits, else no result would ever come."""
    engine = start_engine(count=COUNT, passes=PASSES)
    for number, policy in ((1, "count:v1.0.0"), (2, "passes:v1.0.0")):
        engine.configure(number, policy, {"unless": True, "timeout": 60} if number == 1 else {})
        for execution in range(10 * RUN):
            engine.execute(request_execution(number * 10_000 + execution, instance=number))
    asks = [("x-count", "")]
    engine.send(request_execution(1, instance=1, headers=asks), request_execution(2, instance=2))
    engine.send(request_execution(3, instance=2))
    assert engine.action(2) == pb.Action(id=2)
    assert engine.action(3) == pb.Action(id=3)
    answer(engine, 1)
    assert engine.action(1).set_headers == COUNTED, "its time was over before the others were answered"
    engine.send(*(request_execution(number, instance=1, headers=asks) for number in range(10, 14)))
    for call in range(2, 6):
        answer(engine, call)
    assert all(engine.action(number).set_headers == COUNTED for number in range(10, 14))


def test_a_policy_that_asks_only_in_prepare_may_be_quick(start_engine: Start) -> None:
    source = """
        import threading
        from gatewright.policy import UpstreamRequestModifications
        from gatewright.store import Store

        def prepare(params):
            return Store(timeout=10).get("n")

        def on_request(ctx, params):
            return UpstreamRequestModifications(set_headers={"x-thread": threading.current_thread().name})
    """
    engine = start_engine(asks=source)
    engine.send(configure=[configuration(1, "asks:v1.0.0")])
    answer(engine, 1)
    engine.wait(lambda: engine.statuses.get(1))
    ids = iter(range(1, 1 << 20))
    assert eventually(lambda: b"worker" not in engine.execute(request_execution(next(ids))).set_headers)


@pytest.mark.parametrize("limits", [Limits(max_backlog=2)])
def test_results_are_read_though_nothing_is_acknowledged(start_engine: Start) -> None:
    """All workers wait for results, and so many executions for a worker that no frame is acknowledged."""
    engine = start_engine(count=COUNT)
    instances = range(1, 11)
    for instance in instances:
        engine.configure(instance, "count:v1.0.0")
    for instance in instances:
        engine.send(*(request_execution(instance * 100 + number, instance=instance) for number in range(5)))
    engine.store_call(4)
    assert engine.acknowledged < 2 * len(instances)
    for number in range(1, 5 * len(instances) + 1):
        answer(engine, number)
    assert eventually(lambda: len(engine.actions) == 5 * len(instances))
    assert all(action.set_headers == COUNTED for action in engine.actions)
    assert eventually(lambda: engine.acknowledged == 7 * len(instances))


@pytest.mark.parametrize("source", [COUNT, COUNT_ASYNC])
def test_a_call_that_waits_returns_at_once_when_the_stream_ends(serve: Callable[..., Path], source: str) -> None:
    socket = serve(count=source)
    with Engine(socket) as engine:
        engine.configure(1, "count:v1.0.0", {"timeout": 60})
        engine.send(request_execution(1, seconds=60))
        engine.store_call(1)
    with Engine(socket) as other:
        assert eventually(lambda: other.health().executions_finished == 1)


def test_a_half_closed_stream_has_no_results_any_more(start_engine: Start) -> None:
    engine = start_engine(count=COUNT)
    engine.configure(1, "count:v1.0.0", {"timeout": 60})
    engine.send(request_execution(1))
    engine.store_call(1)
    engine.half_close()
    assert "has ended" in engine.action(1).failure.message


def test_a_store_that_waits_is_not_for_an_event_loop(start_engine: Start) -> None:
    engine = start_engine(blocks=BLOCKS_ITS_LOOP)
    engine.configure(1, "blocks:v1.0.0")
    failure = engine.execute(request_execution(1)).failure
    assert failure.failure_class == pb.FAILURE_CLASS_EXCEPTION
    assert "use AsyncStore" in failure.message


def test_a_store_is_made_in_prepare(start_engine: Start) -> None:
    engine = start_engine(
        early="from gatewright.store import Store\nEARLY = Store()\ndef on_request(ctx, params): pass"
    )
    assert "made in prepare" in engine.hello.policies[0].failure.message


def test_prepare_may_ask_it(start_engine: Start) -> None:
    engine = start_engine(
        asks="""
        from gatewright.store import Store

        def prepare(params):
            return Store(timeout=10).get("n")

        def on_request(ctx, params):
            assert ctx.prepared == b"there"
    """
    )
    engine.send(configure=[configuration(1, "asks:v1.0.0")])
    answer(engine, 1, yes=True, value=b"there")
    assert engine.execute(request_execution(1)) == pb.Action(id=1)
