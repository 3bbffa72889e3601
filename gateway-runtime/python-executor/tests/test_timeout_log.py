"""Log lines of executions that exceed their time limit: the limit, their line, and what delayed them."""

import logging
import re
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from gatewright.policy import PolicyMetadata
from gatewright_executor.running.instance import Instance
from gatewright_executor.running.loops import Loops
from gatewright_executor.running.timeout_log import COUNTED_SECONDS, TimeoutLog
from gatewright_executor.testing import (
    SECONDS,
    Clock,
    Engine,
    configuration,
    eventually,
    request_execution,
    response_execution,
    timed_out,
)

Start = Callable[..., Engine]
FETCHES = """
    import asyncio, of_test, threading
    gate = threading.Event()

    {start} on_request(ctx, params):
        {wait}fetch("key")

    {start} fetch(name):
        of_test.begun.set(); {wait}{slowly}

    {start} on_response(ctx, params):
        gate.set()
"""
SYNC = {"start": "def", "wait": "", "slowly": "gate.wait(30)"}
ASYNC = {"start": "async def", "wait": "await ", "slowly": "asyncio.sleep(30)"}


@pytest.fixture(autouse=True)
def begun(of_test: ModuleType) -> threading.Event:
    """It is set once a policy fetches."""
    of_test.begun = begun = threading.Event()  # type: ignore[attr-defined]
    return begun


def lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if "timed out" in record.message]


def one_line(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    assert eventually(lambda: bool(lines(caplog)))
    (record,) = lines(caplog)
    return record


def start_execution(engine: Engine) -> None:
    """One execution, with a time of 2 s."""
    wanted = configuration(1, "fetches:v1.0.0")
    wanted.api_name = "orders-v1"
    engine.send(configure=[wanted])
    engine.wait(lambda: engine.statuses.get(1))
    engine.send(request_execution(1, seconds=2))
    engine.wait(lambda: engine.health().executions_started == 1)


@pytest.mark.parametrize("form", [SYNC, ASYNC], ids=["sync", "async"])
def test_the_line_where_it_waits(
    start_engine: Start, clock: Clock, form: dict[str, str], caplog: pytest.LogCaptureFixture, begun: threading.Event
) -> None:
    engine = start_engine(clock=clock, fetches=FETCHES.format(**form))
    start_execution(engine)
    assert begun.wait(SECONDS)
    clock.move(2.5)
    engine.send(late=[request_execution(1, seconds=2)])
    record = one_line(caplog)
    assert re.match(r"on_request timed out: no answer after 2\.500 s of 2\.000 s; it is at ", record.message)
    assert record.message.endswith("fetches.py:9")
    assert engine.located(1) == ("fetches.py", 9)
    assert record.fields == {"api": "orders-v1", "operation": "GET /orders/{id}"}  # type: ignore[attr-defined]
    trace = str(record.trace)  # type: ignore[attr-defined]
    assert re.search(r"fetches\.py\", line 6, in on_request\n.*\n  File .*fetches\.py\", line 9, in fetch\n", trace)
    assert "gatewright_executor" not in trace
    engine.send(response_execution(9))


@pytest.mark.parametrize("form", [SYNC, ASYNC], ids=["sync", "async"])
def test_an_execution_that_ended_at_the_last_moment(
    start_engine: Start, clock: Clock, form: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    engine = start_engine(
        clock=clock, fetches=FETCHES.format(**{**form, "slowly": "None" if form is SYNC else "asyncio.sleep(0)"})
    )
    start_execution(engine)
    engine.action(1)
    engine.send(late=[request_execution(1, seconds=2)])
    assert "it ended just after its deadline" in one_line(caplog).message
    assert engine.located(1) == ("", 0)


def test_an_execution_that_had_not_begun(start_engine: Start, caplog: pytest.LogCaptureFixture) -> None:
    engine = start_engine(fetches=FETCHES.format(**SYNC))
    engine.configure(1, "fetches:v1.0.0", max_concurrency=1)
    engine.send(request_execution(1), request_execution(2, seconds=30))
    engine.wait(lambda: engine.health().executions_started == 1)
    engine.send(late=[request_execution(2, seconds=30)])
    assert "of 30.000 s; it had not begun, and waited for a slot or a thread" in one_line(caplog).message


def test_a_second_line_is_logged_too(
    start_engine: Start, caplog: pytest.LogCaptureFixture, of_test: ModuleType
) -> None:
    of_test.both = both = threading.Barrier(3)  # type: ignore[attr-defined]
    waits = """
        import of_test, threading
        gate = threading.Event()

        def on_request(ctx, params):
            if ctx.path == "/orders/1":
                of_test.both.wait(30); gate.wait(30)
            of_test.both.wait(30); gate.wait(30)

        def on_response(ctx, params):
            gate.set()
    """
    engine = start_engine(waits=waits)
    engine.configure(1, "waits:v1.0.0", max_concurrency=2)
    elsewhere = request_execution(2, seconds=30)
    elsewhere.path = b"/elsewhere"
    engine.send(request_execution(1, seconds=30), elsewhere)
    both.wait(SECONDS)
    engine.send(late=[request_execution(1, seconds=30), request_execution(2, seconds=30)])
    assert [engine.located(number) for number in (1, 2)] == [("waits.py", 7), ("waits.py", 8)]
    assert len(lines(caplog)) == 2
    engine.send(response_execution(9))


def test_of_many_the_first_is_logged_and_the_others_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    later: list[tuple[float, Callable[[], object]]] = []

    def schedule(seconds: float, function: Callable[[], object]) -> None:
        later.append((seconds, function))

    timeouts = TimeoutLog(list, Loops(lambda _execution: None), Clock(), schedule)
    instances = [Instance(PolicyMetadata(name, "v1.0.0"), {}) for name in ("fetches", "reads")]
    for instance in instances:
        for number in range(20):
            timeouts.record(timed_out(request_execution(number)), instance, None)
    assert len(lines(caplog)) == 2, "of each instance one"
    assert [seconds for seconds, _ in later] == [COUNTED_SECONDS] * 2
    later.pop(0)[1]()
    assert lines(caplog)[2].message == "19 more executions of policy fetches:v1.0.0 timed out in 10 s"
    timeouts.record(timed_out(request_execution(50)), instances[0], None)
    assert len(lines(caplog)) == 4, "the next one is logged again"
    later.pop()[1]()
    assert len(lines(caplog)) == 4, "there were no others"


def test_executions_cancelled_in_time_are_not_logged(
    start_engine: Start, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    engine = start_engine(clock=clock, fetches=FETCHES.format(**ASYNC))
    start_execution(engine)
    engine.send(cancel=[1])
    assert eventually(lambda: engine.health().executions_finished == 1)
    assert not lines(caplog)


def test_a_late_execution_names_what_blocked_its_loop(
    start_engine: Start, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    noticed = tmp_path / "noticed"
    blocks = f"""
        import pathlib, time

        async def on_request(ctx, params):
            while not pathlib.Path({str(noticed)!r}).exists():
                time.sleep(0.01)
    """
    engine = start_engine(blocks=blocks, fetches=FETCHES.format(**ASYNC))
    engine.configure(1, "fetches:v1.0.0")
    engine.configure(2, "blocks:v1.0.0")
    victim = request_execution(1)
    engine.send(victim, request_execution(2, 2))
    assert eventually(lambda: "policy blocks:v1.0.0 blocks the event loop" in caplog.text)
    noticed.touch()
    engine.action(2)
    engine.send(late=[victim])
    assert re.search(r"; policy blocks:v1\.0\.0 blocked the event loop for [0-9]+\.[0-9]", one_line(caplog).message)
