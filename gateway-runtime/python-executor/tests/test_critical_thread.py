"""Threads of the executor's own that fail: no other thread does their work, so the process asks to be replaced."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from gatewright_executor.critical_thread import CriticalThread
from gatewright_executor.grpc.protocol import GrpcConnection
from gatewright_executor.replacement import ReplacementNeeded
from gatewright_executor.running.flusher import Flusher
from gatewright_executor.running.instance import Execution
from gatewright_executor.testing import Engine, eventually, request_execution

pytestmark = pytest.mark.usefixtures("needed")
ADD = """
    def on_request(ctx, params):
        pass
"""


class Greedy:
    """A sink that has no memory to send with."""

    def claim(self, _execution: Execution) -> bool:
        return True

    def deliver(self, _execution: Execution, _action: bytes | None) -> None: ...

    def flush(self) -> None:
        raise MemoryError

    def abort(self) -> None: ...


def test_all_threads_but_those_of_policies_are_critical(start_engine: Callable[..., Engine]) -> None:
    others = {*threading.enumerate()}
    engine = start_engine(workers=2, add=ADD)
    engine.configure(1, "add:v1.0.0")
    assert engine.execute(request_execution(1)).id == 1
    ours = [thread.name for thread in {*threading.enumerate()} - others if isinstance(thread, CriticalThread)]
    assert {*ours} >= {"accept", "connection", "flusher", "stall-watchdog", "worker-0", "worker-1"}


def test_a_critical_thread_that_fails_asks_for_another_process(
    needed: ReplacementNeeded, caplog: pytest.LogCaptureFixture
) -> None:
    flusher = Flusher()
    flusher.start()
    flusher.flush_soon(Greedy())
    assert eventually(lambda: needed.thread_failed)
    assert eventually(lambda: "the thread flusher has failed" in caplog.text)


def test_a_connection_whose_reader_fails_ends_and_others_are_served(
    serve: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = serve(add=ADD)
    with monkeypatch.context() as broken, Engine(path) as engine:
        assert engine.hello

        def receive(_calls: GrpcConnection, _data: bytes) -> None:
            raise MemoryError

        broken.setattr(GrpcConnection, "receive", receive)
        engine.send(request_execution(1))
        assert eventually(lambda: engine.ended)
    with Engine(path) as next_one:
        next_one.configure(1, "add:v1.0.0")
        assert next_one.execute(request_execution(1)).id == 1
        assert next_one.health().thread_failed
