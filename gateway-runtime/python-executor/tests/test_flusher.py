"""What a worker leaves to the flusher is sent, each sink once for all that it has."""

import threading

from gatewright_executor.running.flusher import Flusher
from gatewright_executor.running.instance import Execution
from gatewright_executor.testing import eventually


class Sink:
    def __init__(self, gate: threading.Event | None = None) -> None:
        self.flushes, self.gate, self.entered = 0, gate, threading.Event()

    def claim(self, _execution: Execution) -> bool:
        return True

    def deliver(self, _execution: Execution, _action: bytes | None) -> None: ...

    def flush(self) -> None:
        self.entered.set()
        if self.gate is not None:
            assert self.gate.wait(30)
        self.flushes += 1

    def abort(self) -> None: ...


def test_many_times_while_it_sends_are_one() -> None:
    flusher, gate = Flusher(), threading.Event()
    flusher.start()
    busy, other = Sink(gate), Sink()
    flusher.flush_soon(busy)
    assert busy.entered.wait(30)
    for _ in range(100):
        flusher.flush_soon(other)
    gate.set()
    assert eventually(lambda: other.flushes == 1)
    assert busy.flushes == 1
    flusher.flush_soon(other)
    assert eventually(lambda: other.flushes == 2)
    flusher.stop()


def test_what_is_there_when_it_stops_is_sent() -> None:
    flusher, sinks = Flusher(), [Sink() for _ in range(5)]
    for sink in sinks:
        flusher.flush_soon(sink)
    flusher.stop()
    flusher.start()
    assert eventually(lambda: not flusher._thread.is_alive())
    assert [sink.flushes for sink in sinks] == [1] * 5
