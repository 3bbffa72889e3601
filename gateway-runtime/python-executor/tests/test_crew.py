"""Worker threads: each execution runs, whoever is away; and there are always as many of them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gatewright_executor.crew import Crew, Place
from gatewright_executor.instance import Call, Instance
from gatewright_executor.testing import come_true, request_execution
from gatewright_executor.worker import Worker
from hypothesis import given, settings
from hypothesis import strategies as st
from sdk.policy import PolicyMetadata

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
def working(size: int) -> Iterator[tuple[Crew, Work]]:
    work = Work()
    crew = Crew(size, work.run)
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
