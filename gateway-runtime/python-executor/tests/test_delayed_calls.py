"""Delayed calls run in order, in one thread."""

import threading

from gatewright_executor.running.delayed_calls import DelayedCalls
from gatewright_executor.testing import SECONDS, Clock, eventually


def test_the_sooner_is_called_first_whatever_came_first() -> None:
    clock = Clock()
    delayed, called, all_called = DelayedCalls(clock), list[tuple[str, str]](), threading.Event()

    def note(what: str) -> None:
        called.append((what, threading.current_thread().name))

    def note_last() -> None:
        note("last")
        all_called.set()

    delayed.schedule(3000, lambda: note("third"))
    delayed.schedule(2000, lambda: note("second"))
    delayed.schedule(0, lambda: note("first"))
    assert eventually(lambda: len(called) == 1)
    clock.move(5000)
    delayed.schedule(0, note_last)
    assert all_called.wait(SECONDS)
    assert called == [(name, "delayed-calls") for name in ("first", "second", "third", "last")]
