from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any

import pytest
from gatewright import background, clock, testing
from gatewright.background import Every, Fresh, NotReadyError, every


class Work:
    """Counts its runs; fails as long as `failing`."""

    def __init__(self) -> None:
        self.runs = 0
        self.failing = False
        self.ran = threading.Event()

    def __call__(self) -> int:
        self.runs += 1
        self.ran.set()
        if self.failing:
            raise OSError("away")
        return self.runs

    async def again(self) -> int:
        await asyncio.sleep(0)
        return self()


# ------------------------------------------------------------------ in a time that tests move


def test_it_runs_at_once_and_then_at_its_turns() -> None:
    work = Work()
    with testing.clock() as moved, every(30, work):
        assert work.runs == 1
        moved.advance(29)
        assert work.runs == 1
        moved.advance(1)
        assert work.runs == 2
        moved.advance(90)
        assert work.runs == 5
    moved.advance(1000)
    assert work.runs == 5


def test_what_fails_is_tried_sooner_and_sooner_is_never_later_than_its_turn(caplog: pytest.LogCaptureFixture) -> None:
    work = Work()
    work.failing = True
    turns: list[float] = []
    with testing.clock(0) as moved, every(10, work) as repeated, caplog.at_level(logging.INFO):
        for _ in range(40):
            before = work.runs
            moved.advance(1)
            turns += [moved.now()] * (work.runs - before)
        assert turns[:6] == [1, 3, 7, 15, 25, 35]  # 1, 2, 4, 8 s, then 10
        assert repeated.failures == 7
        work.failing = False
        moved.advance(10)
        assert repeated.failures == 0
    assert "Work failed (2 in a row) and will be retried: OSError: away" in caplog.text
    assert "works again, after 7 failures" in caplog.text


def test_what_is_required_fails_the_instance() -> None:
    work = Work()
    work.failing = True
    with testing.clock(), pytest.raises(OSError, match="away"), every(10, work, required=True):
        pass
    assert work.runs == 1


def test_without_at_once_the_first_run_waits_for_its_turn() -> None:
    work = Work()
    with testing.clock() as moved, every(10, work, at_once=False):
        assert work.runs == 0
        moved.advance(10)
        assert work.runs == 1


def test_run_soon_is_bounded() -> None:
    work = Work()
    with testing.clock() as moved, every(600, work) as repeated:
        assert repeated.run_soon()
        assert not repeated.run_soon()
        moved.advance(0)
        assert work.runs == 2
        moved.advance(59)
        assert not repeated.run_soon()
        moved.advance(1)
        assert repeated.run_soon()
        moved.advance(0)
        assert work.runs == 3
    assert not Every(1, work, name="", jitter=0, at_once=True, required=False).run_soon()


def test_runs_are_counted() -> None:
    work = Work()
    with testing.clock() as moved, every(10, work, name="read") as repeated:
        work.failing = True
        moved.advance(10)
        assert repeated.runs.value(work="read", outcome="ok") >= 1
        assert repeated.runs.value(work="read", outcome="failed") >= 1


def test_several_run_in_the_order_of_their_turns() -> None:
    order: list[str] = []
    with (
        testing.clock(0) as moved,
        every(3, lambda: order.append("three"), at_once=False),
        every(2, lambda: order.append("two"), at_once=False),
    ):
        moved.advance(5)
        assert order == ["two", "three", "two"]


async def _async_turns() -> None:
    work = Work()
    with testing.clock() as moved:
        async with every(10, work.again):
            assert work.runs == 1
            await moved.advance_async(25)
            assert work.runs == 3
            with pytest.raises(TypeError, match="advance_async"):
                moved.advance(10)
    with pytest.raises(TypeError, match="async with"), every(10, work.again):
        pass


def test_async_work() -> None:
    asyncio.run(_async_turns())


@pytest.mark.parametrize(("seconds", "jitter"), [(0, 0.1), (-1, 0.1), (float("nan"), 0.1), (1, 1.5), (1, -0.1)])
def test_bad_numbers(seconds: float, jitter: float) -> None:
    with pytest.raises(ValueError, match="expected seconds > 0 and jitter from 0 to 1"):
        every(seconds, Work(), jitter=jitter)


def test_waits_are_jittered_and_bounded() -> None:
    repeated = every(100, Work(), jitter=0.2)
    waits = [repeated.wait_seconds() for _ in range(500)]
    assert 80 <= min(waits) < 90
    assert 110 < max(waits) <= 120
    repeated.failures = 10_000
    assert all(80 <= repeated.wait_seconds() <= 100 for _ in range(100))


# ------------------------------------------------------------------ values


def test_a_fresh_value_stays_where_no_new_one_comes() -> None:
    work = Work()
    with testing.clock() as moved, Fresh(60, work) as value:
        assert (value.value, value.age) == (1, 0)
        moved.advance(60)
        assert value.value == 2
        work.failing = True
        moved.advance(100)
        assert (value.value, value.age) == (2, 100)
        work.failing = False
        assert value.refresh_soon()
        moved.advance(0)
        assert value.age == 0


def test_a_value_that_has_never_come_says_why() -> None:
    work = Work()
    work.failing = True
    with testing.clock() as moved, Fresh(60, work, name="keys") as value:
        assert value.age == float("inf")
        with pytest.raises(NotReadyError, match="keys has no value yet; the last try: OSError: away"):
            _ = value.value
        work.failing = False
        moved.advance(1)
        assert value.value == 2


async def _fresh_async() -> None:
    work = Work()
    with testing.clock() as moved:
        async with Fresh(60, work.again) as value:
            assert value.value == 1
            await moved.advance_async(60)
            assert value.value == 2


def test_a_fresh_value_by_async() -> None:
    asyncio.run(_fresh_async())


# ------------------------------------------------------------------ in real time


def test_a_thread_repeats_it_and_ends_with_it() -> None:
    work = Work()
    before = set(threading.enumerate())
    with every(3600, work) as repeated:
        (thread,) = (thread for thread in set(threading.enumerate()) - before if thread.name.startswith("every"))
        work.ran.clear()
        assert repeated.run_soon()
        assert work.ran.wait(30)
    thread.join(30)  # `with` waits for it, too, but no longer than END_SECONDS
    assert not thread.is_alive()


def test_real_turns() -> None:
    work = Work()
    with every(0.01, work):
        for _ in range(3):
            work.ran.clear()
            assert work.ran.wait(30)


async def _task() -> None:
    done = asyncio.Event()
    runs: list[int] = []

    async def work() -> None:
        runs.append(1)
        if len(runs) == 3:
            done.set()

    async with every(0.01, work):
        await asyncio.wait_for(done.wait(), 30)
    ended = len(runs)
    await asyncio.sleep(0)
    assert len(runs) == ended
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("every")]


def test_a_task_repeats_it_and_ends_with_it() -> None:
    asyncio.run(_task())


async def _cancelled_in_the_middle() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with every(0.001, work, at_once=False):
        await asyncio.wait_for(started.wait(), 30)
    assert cancelled.is_set()


def test_what_runs_when_it_ends_is_cancelled() -> None:
    asyncio.run(_cancelled_in_the_middle())


def test_a_thread_that_does_not_end_is_left_to_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "END_SECONDS", 0.05)
    started, go_on = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        go_on.wait(30)

    before = set(threading.enumerate())
    with every(0.001, work, at_once=False):
        assert started.wait(30)
    assert "no longer waiting for it" in caplog.text
    go_on.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(30)


def test_the_time_is_the_machines_unless_a_test_moves_it() -> None:
    assert abs(clock.now() - time.time()) < 60
    before = clock.monotonic()
    assert clock.monotonic() >= before
    with testing.clock(1000) as moved:
        assert (clock.now(), clock.monotonic()) == (1000, 1000)
        moved.advance(5)
        assert clock.now() == 1005
    assert clock.now() > 1_700_000_000


def test_in_a_policy() -> None:
    def prepare(params: dict[str, Any]) -> Any:
        with Fresh(60, lambda: params["value"]) as value:
            yield value

    module = type(testing)("module")
    module.prepare = prepare  # type: ignore[attr-defined]
    with testing.clock(), testing.prepared(module, testing.params(value=7)) as made:
        assert made.value == 7
