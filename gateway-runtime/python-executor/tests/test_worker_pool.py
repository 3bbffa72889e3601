"""Worker threads: each execution runs once, on as many threads as there may be."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from gatewright.policy import PolicyMetadata
from gatewright_executor.running.instance import Execution, Instance
from gatewright_executor.running.worker import Worker
from gatewright_executor.running.worker_pool import WorkerPool
from gatewright_executor.testing import eventually, request_execution
from hypothesis import given, settings
from hypothesis import strategies as st

SECONDS = 30.0  # that anything waits here: longer than eventually does


class NoRunner:
    def claim(self, _execution: Execution) -> bool:
        return True

    def deliver(self, _execution: Execution, _action: bytes | None) -> None: ...

    def flush(self) -> None: ...

    def abort(self) -> None: ...


INSTANCE = Instance(PolicyMetadata("p", "v1.0.0", "orders", "v1.0"), {})
WAITS = 1 << 20  # executions from this number on wait for the gate


class Work:
    """The work of a pool: it records which executions ran, and in which threads."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun: list[int] = []
        self.ran: list[int] = []
        self.threads: set[int] = set()

    def run(self, call: Execution, _worker: Worker) -> None:
        self.begun.append(call.id)
        self.threads.add(threading.get_ident())
        if call.id >= WAITS:
            self.gate.wait(SECONDS)
        self.ran.append(call.id)


def execution_of(number: int) -> Execution:
    return Execution(request_execution(number), INSTANCE, time.monotonic() + SECONDS, NoRunner())


@contextmanager
def working(size: int, most: int = 0, idle_seconds: float = SECONDS) -> Iterator[tuple[WorkerPool, Work]]:
    work = Work()
    pool = WorkerPool(size, work.run, most, idle_seconds)
    pool.start()
    try:
        yield pool, work
    finally:
        work.gate.set()
        pool.stop()


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 5), waiting=st.integers(0, 8), quick=st.integers(0, 30), submitters=st.integers(1, 3))
def test_each_runs_once_as_long_as_one_thread_is_free(size: int, waiting: int, quick: int, submitters: int) -> None:
    waiting = min(waiting, size - 1)
    with working(size) as (pool, work):

        def submit(first: int) -> None:
            for number in range(first, waiting + quick, submitters):
                pool.submit(execution_of(WAITS + number if number < waiting else number))

        threads = [threading.Thread(target=submit, args=(submitter,)) for submitter in range(submitters)]
        for thread in threads:
            thread.start()
        assert eventually(lambda: len(work.ran) == quick and len(work.begun) == waiting + quick)
        work.gate.set()
        assert eventually(lambda: len(work.ran) == waiting + quick)
        assert len({*work.ran}) == waiting + quick
        assert pool.backlog == 0


def test_a_stopped_pool_starts_nothing_more() -> None:
    work = Work()
    pool = WorkerPool(1, work.run)
    pool.start()
    pool.submit(execution_of(WAITS))
    assert eventually(lambda: work.begun == [WAITS])
    pool.submit(execution_of(1))
    pool.stop()
    work.gate.set()
    assert eventually(lambda: work.ran == [WAITS])
    assert pool.backlog == 1


def test_there_come_as_many_threads_as_are_needed_and_no_more_than_may_be() -> None:
    with working(2, most=4) as (pool, work):
        for number in range(10):
            pool.submit(execution_of(WAITS + number))
        assert eventually(lambda: len(work.begun) == 2)
        assert pool.is_short
        pool.grow()
        pool.grow()
        assert eventually(lambda: len(work.begun) == 4)
        assert (pool.grown, pool.is_short) == (2, False)
        work.gate.set()
        assert eventually(lambda: len(work.ran) == 10)


@pytest.fixture
def no_more_threads() -> Iterator[Callable[[], None]]:
    """From its call on no thread can be started: each would need a stack larger than there are addresses."""
    before = threading.stack_size()

    def refuse() -> None:
        threading.stack_size(1 << 47)

    yield refuse
    threading.stack_size(before)


def test_where_the_system_allows_no_more_threads_it_goes_on_with_those_it_has(
    no_more_threads: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    with working(1, most=4) as (pool, work):
        for number in range(3):
            pool.submit(execution_of(WAITS + number))
        assert eventually(lambda: len(work.begun) == 1)
        no_more_threads()
        pool.grow()
        pool.grow()
        assert (pool.grown, pool.is_short) == (0, False)
        assert caplog.messages == ["no more than 1 threads for executions could be started: can't start new thread"]
        work.gate.set()
        assert eventually(lambda: len(work.ran) == 3)


def test_threads_that_are_not_needed_any_more_go_and_what_they_did_is_remembered() -> None:
    with working(2, most=40, idle_seconds=0.001) as (pool, work):
        for number in range(40):
            pool.submit(execution_of(WAITS + number))
        assert eventually(lambda: len(work.begun) == 2)
        pool.grow()
        assert eventually(lambda: len(work.begun) == 40)
        for worker in pool.workers:
            worker.finished += 1
        work.gate.set()
        assert eventually(lambda: pool.grown == 0)
        assert sum(worker.finished for worker in pool.workers) == 41  # and one for those that had gone before
        for number in range(100):
            pool.submit(execution_of(number))
        assert eventually(lambda: len(work.ran) == 140)


@settings(max_examples=20, deadline=None)
@given(size=st.integers(1, 3), rounds=st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_each_runs_once_while_threads_come_and_go(size: int, rounds: list[int]) -> None:
    with working(size, most=size + 8, idle_seconds=0.0005) as (pool, work):
        work.gate.set()
        for number, count in enumerate(rounds):
            for index in range(count):
                pool.submit(execution_of(WAITS + 100 * number + index))
            pool.grow()
        assert eventually(lambda: len(work.ran) == sum(rounds))
        assert len({*work.ran}) == sum(rounds)
        assert eventually(lambda: pool.grown == 0)


def test_no_execution_is_left_to_a_thread_that_wakes_none() -> None:
    """A thread that finds no other to wake is held there, while another becomes idle and a third submits, and leaves
    the waking to the first."""
    held = list[str]()
    with working(1) as (pool, work):
        pool.submit(execution_of(WAITS))
        assert eventually(lambda: work.begun == [WAITS])

        def hold(frame: FrameType, event: str, argument: object) -> Any:
            if frame.f_code.co_name != "_wake_one":
                return None
            if event == "return" and argument is False and not held:
                held.append("here")
                work.gate.set()
                assert eventually(lambda: work.ran == [WAITS, 1] and pool.idle == 1)
                submitting = threading.Thread(target=pool.submit, args=[execution_of(2)])
                submitting.start()
                submitting.join()
            return hold

        sys.settrace(hold)
        try:
            pool.submit(execution_of(1))
        finally:
            sys.settrace(None)
        assert held
        assert eventually(lambda: work.ran == [WAITS, 1, 2])
