"""Threads of the executor's own that fail: what they leave undone is nobody's, and another process is asked for."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from gatewright_executor import critical_thread
from gatewright_executor.grpc.protocol import Calls
from gatewright_executor.running.flusher import Sender
from gatewright_executor.running.instance import Call
from gatewright_executor.testing import Engine, come_true, request_execution

ADD = """
    def on_request(ctx, params):
        pass
"""


@pytest.fixture(autouse=True)
def failed(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Of this test alone."""
    event = threading.Event()
    monkeypatch.setattr(critical_thread, "failed", event)
    return event


class Greedy:
    """A caller that has no memory to send with."""

    def begin(self, _call: Call) -> bool:
        return True

    def end(self, _call: Call, _action: bytes | None) -> None: ...

    def flush(self) -> None:
        raise MemoryError


def test_all_threads_but_those_of_policies_are_vital(engine: Callable[..., Engine]) -> None:
    others = {*threading.enumerate()}
    one = engine(workers=2, add=ADD)
    one.configure(1, "add:v1.0.0")
    assert one.execute(request_execution(1)).id == 1
    ours = [thread.name for thread in {*threading.enumerate()} - others if isinstance(thread, critical_thread.Thread)]
    assert {*ours} >= {"accept", "connection", "sender", "watch", "worker-0", "worker-1"}


def test_one_that_fails_asks_for_another_process(failed: threading.Event, caplog: pytest.LogCaptureFixture) -> None:
    sender = Sender()
    sender.start()
    sender.leave(Greedy())
    assert failed.wait(10)
    assert come_true(lambda: "the thread sender has failed" in caplog.text)


def test_a_connection_whose_reader_fails_ends_and_others_are_served(
    serve: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = serve(add=ADD)
    with monkeypatch.context() as broken, Engine(path) as one:
        assert one.hello

        def receive(_calls: Calls, _data: bytes) -> None:
            raise MemoryError

        broken.setattr(Calls, "receive", receive)
        one.send(request_execution(1))
        assert come_true(lambda: one.ended)
    with Engine(path) as next_one:
        next_one.configure(1, "add:v1.0.0")
        assert next_one.execute(request_execution(1)).id == 1
        assert next_one.health().thread_failed
