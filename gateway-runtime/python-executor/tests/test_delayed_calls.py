"""What is done later is done in order, in one thread."""

import threading

from gatewright_executor.running.delayed_calls import DelayedCalls


def test_the_sooner_is_called_first_whatever_came_first() -> None:
    delayed, called, all_called = DelayedCalls(), list[tuple[str, str]](), threading.Event()

    def note(what: str) -> None:
        called.append((what, threading.current_thread().name))

    def note_last() -> None:
        note("last")
        all_called.set()

    delayed.schedule(0.2, note_last)
    delayed.schedule(0.05, lambda: note("second"))
    delayed.schedule(0.0, lambda: note("first"))
    assert all_called.wait(10)
    assert called == [(what, "delayed-calls") for what in ("first", "second", "last")]
