"""Worker threads: each execution runs, whoever is away; and there are always as many of them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from gatewright.policy import PolicyMetadata
from gatewright_executor import critical_thread
from gatewright_executor.running.instance import Call, Instance
from gatewright_executor.running.worker import Worker
from gatewright_executor.running.worker_pool import Crew, Place
from gatewright_executor.testing import come_true, request_execution
from hypothesis import given, settings
from hypothesis import strategies as st

SECONDS = 30.0  # that anything waits here: longer than come_true does


class Nobody:
    def begin(self, _call: Call) -> bool:
        return True

    def end(self, _call: Call, _action: bytes | None) -> None: ...

    def flush(self) -> None: ...


INSTANCE = Instance(PolicyMetadata("p", "v1.0.0", "orders", "v1.0"), {})
WAITS = 1 << 20  # calls from this number on wait for the gate


class Work:
    """What a crew runs: it notes which calls, and in which threads."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun: list[int] = []
        self.ran: list[int] = []
        self.threads: set[int] = set()

    def run(self, call: Call, _worker: Worker) -> None:
        self.begun.append(call.id)
        self.threads.add(threading.get_ident())
        if call.id >= WAITS:
            self.gate.wait(SECONDS)
        self.ran.append(call.id)


def call_of(number: int) -> Call:
    return Call(request_execution(number), INSTANCE, time.monotonic() + SECONDS, Nobody())


@contextmanager
def working(size: int, most: int = 0, idle_seconds: float = SECONDS) -> Iterator[tuple[Crew, Work]]:
    work = Work()
    crew = Crew(size, work.run, most, idle_seconds)
    crew.start()
    try:
        yield crew, work
    finally:
        work.gate.set()
        crew.stop()


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 5), waiting=st.integers(0, 8), quick=st.integers(0, 30), putters=st.integers(1, 3))
def test_each_runs_once_as_long_as_one_thread_is_free(size: int, waiting: int, quick: int, putters: int) -> None:
    waiting = min(waiting, size - 1)
    with working(size) as (crew, work):

        def put(one: int) -> None:
            for number in range(one, waiting + quick, putters):
                crew.put(call_of(WAITS + number if number < waiting else number))

        threads = [threading.Thread(target=put, args=(one,)) for one in range(putters)]
        for thread in threads:
            thread.start()
        assert come_true(lambda: len(work.ran) == quick and len(work.begun) == waiting + quick)
        work.gate.set()
        assert come_true(lambda: len(work.ran) == waiting + quick)
        assert len({*work.ran}) == waiting + quick
        assert crew.backlog == 0


def test_one_that_is_idle_is_lent_and_comes_back() -> None:
    with working(1) as (crew, work):
        lent, back = threading.Event(), threading.Event()

        def duty(_place: Place) -> bool:
            lent.set()
            back.wait(SECONDS)
            return True

        assert come_true(lambda: crew.lend(duty))
        assert lent.wait(SECONDS)
        assert not crew.lend(duty), "nobody is idle"
        crew.put(call_of(1))
        assert not work.ran
        back.set()
        assert come_true(lambda: work.ran == [1])


def test_none_is_lent_who_has_something_to_do() -> None:
    with working(1) as (crew, work):
        crew.put(call_of(WAITS))
        assert come_true(lambda: work.begun == [WAITS])
        assert not crew.lend(lambda _place: True)


def test_a_place_that_was_given_up_is_the_next_ones() -> None:
    with working(1) as (crew, work):
        away, gone = threading.Event(), threading.Event()

        def duty(place: Place) -> bool:
            crew.vacate(place)
            away.set()
            gone.wait(SECONDS)
            return False

        assert come_true(lambda: crew.lend(duty))
        assert away.wait(SECONDS)
        joined = threading.Thread(target=crew.join, daemon=True)
        joined.start()
        crew.put(call_of(1))
        assert come_true(lambda: work.ran == [1])
        assert work.threads == {joined.ident}
        gone.set()  # and its thread ends: there is no place for it
        crew.put(call_of(2))
        assert come_true(lambda: work.ran == [1, 2])
        assert work.threads == {joined.ident}


def test_who_finds_no_place_goes() -> None:
    with working(2) as (crew, _work):
        crew.join()


def test_a_stopped_crew_starts_nothing_more() -> None:
    work = Work()
    crew = Crew(1, work.run)
    crew.start()
    crew.put(call_of(WAITS))
    assert come_true(lambda: work.begun == [WAITS])
    crew.put(call_of(1))
    crew.stop()
    work.gate.set()
    assert come_true(lambda: work.ran == [WAITS])
    assert crew.backlog == 1


def test_there_come_as_many_threads_as_are_needed_and_no_more_than_may_be() -> None:
    with working(2, most=4) as (crew, work):
        for number in range(10):
            crew.put(call_of(WAITS + number))
        assert come_true(lambda: len(work.begun) == 2)
        assert crew.is_short
        crew.grow()
        crew.grow()
        assert come_true(lambda: len(work.begun) == 4)
        assert (crew.grown, crew.is_short) == (2, False)
        work.gate.set()
        assert come_true(lambda: len(work.ran) == 10)


def test_where_the_system_allows_no_more_threads_it_goes_on_with_those_it_has(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with working(1, most=4) as (crew, work):
        for number in range(3):
            crew.put(call_of(WAITS + number))
        assert come_true(lambda: len(work.begun) == 1)
        monkeypatch.setattr(critical_thread.Thread, "start", refused)
        crew.grow()
        crew.grow()
        assert (crew.grown, crew.is_short) == (0, False)
        assert caplog.messages == ["policies that wait have 1 threads and get no more: can't start new thread"]
        work.gate.set()
        assert come_true(lambda: len(work.ran) == 3)


def test_threads_that_are_not_needed_any_more_go_and_what_they_did_is_remembered() -> None:
    with working(2, most=40, idle_seconds=0.001) as (crew, work):
        for number in range(40):
            crew.put(call_of(WAITS + number))
        assert come_true(lambda: len(work.begun) == 2)
        crew.grow()
        assert come_true(lambda: len(work.begun) == 40)
        for worker in crew.workers:
            worker.finished += 1
        work.gate.set()
        assert come_true(lambda: crew.grown == 0)
        assert sum(worker.finished for worker in crew.workers) == 41  # and one for those that had gone before
        for number in range(100):
            crew.put(call_of(number))
        assert come_true(lambda: len(work.ran) == 140)


@settings(max_examples=20, deadline=None)
@given(size=st.integers(1, 3), rounds=st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_each_runs_once_while_threads_come_and_go(size: int, rounds: list[int]) -> None:
    with working(size, most=size + 8, idle_seconds=0.0005) as (crew, work):
        work.gate.set()
        for number, count in enumerate(rounds):
            for one in range(count):
                crew.put(call_of(WAITS + 100 * number + one))
            crew.grow()
        assert come_true(lambda: len(work.ran) == sum(rounds))
        assert len({*work.ran}) == sum(rounds)
        assert come_true(lambda: crew.grown == 0)
