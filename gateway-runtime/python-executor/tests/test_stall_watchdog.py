"""When the watchdog checks, and what it counts."""

import threading
from collections.abc import Iterator

import pytest
from gatewright_executor.running.stall_watchdog import RESTING_LOOKS, StallWatchdog
from gatewright_executor.running.worker import Worker
from gatewright_executor.testing import eventually


class Looked:
    """A runner that counts the watchdog's checks."""

    def __init__(self) -> None:
        self.worker, self.is_running, self.looks = Worker(), False, 0

    def check(self) -> None:
        self.looks += 1


@pytest.fixture
def watchdog() -> Iterator[StallWatchdog]:
    watchdog = StallWatchdog(look_seconds=0.0001)
    watchdog.start()
    yield watchdog
    watchdog.stop()


def test_it_sleeps_until_it_is_woken_and_again_when_nothing_runs(watchdog: StallWatchdog) -> None:
    runner = Looked()
    watchdog.watch(runner)
    assert runner.looks == 0
    watchdog.wake()
    assert eventually(lambda: not watchdog._awake.is_set())
    rested = runner.looks
    assert RESTING_LOOKS <= rested <= RESTING_LOOKS + 2
    watchdog.wake()
    assert eventually(lambda: runner.looks > rested)


def test_it_looks_on_while_something_runs(watchdog: StallWatchdog) -> None:
    runner = Looked()
    runner.is_running = True
    watchdog.watch(runner)
    watchdog.wake()
    assert eventually(lambda: runner.looks > 3 * RESTING_LOOKS)
    runner.is_running = False
    assert eventually(lambda: not watchdog._awake.is_set())


def test_it_no_longer_looks_at_what_is_unwatched(watchdog: StallWatchdog) -> None:
    here, gone = Looked(), Looked()
    here.is_running = True
    for runner in (here, gone):
        watchdog.watch(runner)
    watchdog.unwatch(gone)
    watchdog.wake()
    assert eventually(lambda: here.looks > 5)
    assert gone.looks == 0
    here.is_running = False


def test_executions_are_counted_once_whichever_worker_ends() -> None:
    watchdog, runner, stalled = StallWatchdog(), Looked(), Worker()

    def counted() -> tuple[int, int]:
        workers = watchdog.workers
        return sum(worker.started for worker in workers), sum(worker.finished for worker in workers)

    watchdog.watch(runner)
    runner.worker.started = runner.worker.finished = 3
    stalled.started, stalled.finished = 5, 4
    watchdog.note_stalled(stalled)
    assert counted() == (8, 7)
    stalled.finished = 5
    watchdog.note_stalled_ended(stalled)
    assert counted() == (8, 8)
    for _ in range(2):
        watchdog.unwatch(runner)
        assert counted() == (8, 8)


def test_it_stops_while_it_looks(watchdog: StallWatchdog) -> None:
    runner = Looked()
    runner.is_running = True
    watchdog.watch(runner)
    watchdog.wake()
    assert eventually(lambda: runner.looks > 0)
    watchdog.stop()
    assert eventually(lambda: not any(thread is watchdog._thread for thread in threading.enumerate()))
