"""Slots and threads for executions that wait; none for those that compute. Nothing here waits for time to pass."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from gatewright.policy import PolicyMetadata, RequestContext
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.policies.policy_loader import Hook
from gatewright_executor.running.dispatch import Dispatcher
from gatewright_executor.running.growth import AVERAGED, BUSY_CORES, LATE_SECONDS, Room
from gatewright_executor.running.instance import Admission, Concurrency, Execution, Instance, concurrency
from gatewright_executor.testing import Clock, eventually, request_execution

SECONDS = 30.0  # that anything waits here: longer than eventually does


class Sink:
    def __init__(self) -> None:
        self.ended: list[int] = []

    def claim(self, _execution: Execution) -> bool:
        return True

    def deliver(self, execution: Execution, _action: bytes | None) -> None:
        self.ended.append(execution.id)

    def flush(self) -> None: ...

    def abort(self) -> None: ...


class Gate:
    """A policy whose executions wait until the test lets them through."""

    def __init__(self) -> None:
        self._passes = threading.Semaphore(0)
        self.begun: list[str] = []

    def on_request(self, ctx: RequestContext, _params: object) -> None:
        self.begun.append(ctx.request_id)
        self._passes.acquire(timeout=SECONDS)

    def let_through(self, count: int) -> None:
        self._passes.release(count)


@contextmanager
def working(workers: int, max_workers: int) -> Iterator[Dispatcher]:
    """There is room, however busy the machine is: by clocks that stand still the process is never late and computes
    nothing."""
    dispatcher = Dispatcher(workers, max_workers, clock=Clock())
    dispatcher.growth.cpu_clock = Clock()
    dispatcher.start()
    yield dispatcher
    dispatcher.stop()


def instance_of(first: int, most: int, gate: Gate | None = None) -> Instance:
    instance = Instance(PolicyMetadata("gate", "v1"), {})
    hook = Hook("on_request", (gate or Gate()).on_request)
    instance.make_ready({pb.PHASE_REQUEST: hook}, None, Concurrency(first, most))
    return instance


def execution_of(number: int, instance: Instance, seconds: float = SECONDS) -> Execution:
    return Execution(request_execution(number), instance, time.monotonic() + seconds, Sink())


def filled(first: int, most: int, waiting: int) -> Instance:
    """An instance whose slots are taken, and for which so many wait."""
    instance = instance_of(first, most)
    admitted = [instance.admit(execution_of(number, instance)) for number in range(first + waiting)]
    assert admitted == first * [Admission.RUN] + waiting * [Admission.WAIT]
    return instance


def end_execution(instance: Instance, in_time: bool = True) -> Execution | None:
    """Ends an execution of the instance."""
    execution = execution_of(0, instance)
    execution.started = execution.deadline - 1.0
    return instance.release(execution, execution.deadline - 0.5 if in_time else execution.deadline + 0.5)


# ---------------------------------------------------------------- an instance


@pytest.mark.parametrize(("asked", "coroutines", "expected"), [
    (0, False, (16, 128)),
    (8, False, (8, 8)),
    (100, False, (32, 100)),
    (1000, False, (32, 256)),
    (0, True, (1000, 1000)),
    (100, True, (100, 100)),
])  # fmt: skip
def test_what_an_instance_may_have(asked: int, coroutines: bool, expected: tuple[int, int]) -> None:
    assert concurrency(asked, 32, 256, coroutines)[:2] == expected


@pytest.mark.parametrize("coroutines", [False, True])
def test_streams_count_with_the_others_where_a_number_is_asked_for(coroutines: bool) -> None:
    assert concurrency(0, 32, 256, coroutines)[2:] == (10_000, 0)
    assert concurrency(100, 32, 256, coroutines)[2:] == (100, 100)


def test_an_instance_grows_by_what_ends_in_time() -> None:
    instance = filled(first=4, most=64, waiting=30)
    assert instance.grow() == [], "nothing has ended: whether it ever does is not known"
    for _ in range(3):
        assert end_execution(instance) is not None
    assert len(instance.grow()) == 3
    assert instance.limit == 7
    assert instance.grow() == []
    assert end_execution(instance, in_time=False) is not None
    assert instance.grow() == [], "no execution waited for that one any more"
    assert instance.release(execution_of(0, instance), time.monotonic()) is not None
    assert instance.grow() == [], "that one was not even started"


def test_an_instance_grows_no_further_than_it_may_and_no_further_than_is_asked_for() -> None:
    instance = filled(first=4, most=6, waiting=20)
    for _ in range(4):
        end_execution(instance)
    assert len(instance.grow()) == 2
    assert instance.limit == 6
    other = filled(first=4, most=64, waiting=6)
    for _ in range(4):
        end_execution(other)
    assert len(other.grow()) == 2
    assert (other.limit, other.has_waiting) == (6, False)


def test_where_there_is_no_room_an_instance_goes_back_to_its_first_slots() -> None:
    instance = filled(first=4, most=64, waiting=60)
    for _ in range(4):
        end_execution(instance)
    assert len(instance.grow()) == 4
    for _ in range(10):
        instance.shrink()
    assert instance.limit == 4
    assert [end_execution(instance) for _ in range(4)] == 4 * [None], "the slots that are too many"
    assert end_execution(instance) is not None


def test_slots_that_are_not_used_are_given_up() -> None:
    instance = filled(first=4, most=64, waiting=60)
    while instance.limit < 64:
        for _ in range(instance.limit):
            end_execution(instance)
        if not instance.grow():
            break
    grown, used = instance.limit, instance.limit
    assert grown > 4
    while end_execution(instance) is not None or used > 1:
        used -= 1
    assert instance.limit <= grown // 2 + 1


# ---------------------------------------------------------------- whether there is room


def test_a_process_whose_threads_wait_has_room() -> None:
    room = Room()
    assert all(room.record(late=0.0002, cores=0.3) for _ in range(100))


def test_one_late_check_changes_little() -> None:
    room = Room()
    assert not room.record(late=0.02, cores=0.0)
    assert room.record(late=0.0, cores=0.0)


@pytest.mark.parametrize(("late", "cores"), [(LATE_SECONDS, 0.1), (0.0, BUSY_CORES), (0.02, 1.0)])
def test_a_process_that_computes_has_no_room(late: float, cores: float) -> None:
    """Not even at a check that happens to be on time."""
    room = Room()
    for _ in range(2 * AVERAGED):
        assert not room.record(late, cores)
    assert not room.record(late=0.0, cores=0.0)


# ---------------------------------------------------------------- a dispatcher


def test_sixty_four_that_wait_are_under_way_at_once() -> None:
    gate, sink = Gate(), Sink()
    instance = instance_of(16, 128, gate)
    with working(32, 256) as dispatcher:
        for number in range(800):
            execution = execution_of(number, instance)
            execution.sink = sink
            dispatcher.submit(execution)
        assert eventually(lambda: len(gate.begun) == 16)

        def some_end_and_more_begin() -> bool:
            gate.let_through(4)
            return dispatcher.progress().busy >= 64

        assert eventually(some_end_and_more_begin)
        assert dispatcher.progress().workers > 32
        gate.let_through(800)
        assert eventually(lambda: len(sink.ended) == 800)


def test_executions_that_hang_take_no_more_than_the_first_slots() -> None:
    hanging, other = Gate(), Gate()
    with working(4, 64) as dispatcher:
        hangs, waits = instance_of(2, 32, hanging), instance_of(2, 32, other)
        for number in range(20):
            dispatcher.submit(execution_of(number, hangs, seconds=0.0 if number >= 2 else SECONDS))
        for number in range(20):
            dispatcher.submit(execution_of(number, waits))
        for _ in range(20):
            other.let_through(1)
        assert eventually(lambda: len(other.begun) == 20)
        assert eventually(lambda: dispatcher.progress().finished == 20)
        assert len(hanging.begun) == 2
        hanging.let_through(20)


def test_threads_come_for_instances_that_need_more_than_there_are() -> None:
    gates = [Gate() for _ in range(6)]
    with working(4, 64) as dispatcher:
        for gate in gates:
            instance = instance_of(2, 2, gate)
            for number in range(2):
                dispatcher.submit(execution_of(number, instance))
        assert eventually(lambda: sum(len(gate.begun) for gate in gates) == 12), "four threads and a reserve of one"
        assert dispatcher.progress().busy == 12
        for gate in gates:
            gate.let_through(2)


def test_what_computes_gets_no_more_slots() -> None:
    """As long as the process has no room, however many executions end in time."""
    with working(4, 64) as dispatcher:
        instance = filled(first=2, most=32, waiting=10)
        growth = dispatcher.growth
        growth.stop()  # this test looks itself
        growth.watch(instance)
        for _ in range(4):
            assert end_execution(instance) is not None
            growth.adjust(room=False)
        assert instance.limit == 2
        assert dispatcher.progress().workers == 4
