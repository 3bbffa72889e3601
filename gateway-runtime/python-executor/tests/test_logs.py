import io
import json
import logging
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import TypeAlias

import grpc
import pytest
from gatewright_executor import logs, policy_threads
from gatewright_executor.testing import Engine, request_execution, response_execution

Start = Callable[..., Engine]


Lines: TypeAlias = Callable[[], list[dict[str, str]]]


@pytest.fixture
def set_up() -> Iterator[Callable[[], Lines]]:
    """Sets the log up as the executor does, and gives a function that reads it. To be called in the test: only then
    pytest has put its own sys.stdout in place."""
    root = logging.getLogger()
    handlers, level, stream = root.handlers, root.level, io.StringIO()
    before: dict[str, object] = {}

    def set_up() -> Lines:
        root.handlers = []
        before.update(stdout=sys.stdout, stderr=sys.stderr)
        logs.set_up("info", stream)
        return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]

    yield set_up
    vars(sys).update(before)
    logging.captureWarnings(False)
    root.handlers = handlers
    root.setLevel(level)


def test_the_level_changes_while_it_runs(start_engine: Start, set_up: Callable[[], Lines]) -> None:
    engine, lines = start_engine(quiet="def on_request(ctx, params): ..."), set_up()
    logging.getLogger("policy").debug("before")
    engine.set_log_level("debug")
    logging.getLogger("policy").debug("after")
    engine.set_log_level("error")
    logging.getLogger("policy").warning("silent")
    with pytest.raises(grpc.RpcError, match="expected one of debug, info, warning, error, got 'loud'"):
        engine.set_log_level("loud")
    logging.getLogger("policy").error("said")
    assert [line["message"] for line in lines() if line["logger"] == "policy"] == ["after", "said"]


SPEAKS = """
    import logging, sys
    log = logging.getLogger("mine")
    print("while imported")

    def prepare(params):
        print("while prepared")

    def on_request(ctx, params):
        print("one", 2)
        print("two\\nthree", end="")
        print("oops", file=sys.stderr)
        log.warning("careful %d", 1)
        log.debug("not at this level")

    async def on_response(ctx, params):
        print("from a coroutine")
        raise LookupError(5)
"""


def test_lines_of_a_traced_execution_name_its_trace_and_span(set_up: Callable[[], Lines], start_engine: Start) -> None:
    lines = set_up()
    engine = start_engine(speaks=SPEAKS)
    engine.configure(1, "speaks:v1.0.0")
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    engine.execute(request_execution(7, traceparent=f"00-{trace}-{span}-01"))
    engine.execute(request_execution(8))
    failing = response_execution(9)
    failing.traceparent = f"00-{trace}-{span}-01".encode()
    engine.execute(failing)
    of = {
        number: {(line.get("traceId"), line.get("spanId")) for line in lines() if line.get("requestId") == number}
        for number in ("request-7", "request-8", "request-9")
    }
    assert of == {"request-7": {(trace, span)}, "request-8": {(None, None)}, "request-9": {(trace, span)}}
    assert all("traceId" not in line for line in lines() if "requestId" not in line)


def test_what_a_policy_prints_and_logs_is_tied_to_it(set_up: Callable[[], Lines], start_engine: Start) -> None:
    lines = set_up()
    engine = start_engine(speaks=SPEAKS)
    engine.configure(1, "speaks:v1.0.0")
    engine.execute(request_execution(7))
    engine.execute(response_execution(8))
    logging.getLogger("host").info("not a policy's")
    found = [(line["message"], line["level"], line["logger"], line.get("requestId")) for line in lines()]
    assert found == [
        ("while imported", "info", "stdout", None),
        ("while prepared", "info", "stdout", None),
        ("one 2", "info", "stdout", "request-7"),
        ("two", "info", "stdout", "request-7"),
        ("threeoops", "warning", "stderr", "request-7"),
        ("careful 1", "warning", "mine", "request-7"),
        ("from a coroutine", "info", "stdout", "request-8"),
        (found[7][0], "error", "gatewright_executor.running.execution", "request-8"),
        ("not a policy's", "info", "host", None),
    ]
    assert found[7][0].startswith("on_response failed: LookupError: 5")
    assert {line.get("policy") for line in lines()[:-1]} == {"speaks:v1.0.0"}
    assert "policy" not in lines()[-1]
    assert {line["component"] for line in lines()} == {"python-executor"}
    assert all(line["time"].endswith("Z") for line in lines())


@pytest.mark.parametrize("text", ["a" * 100_000, "\U0001f600" * 9_000, "\n".join(["b"] * 2)])
def test_what_is_too_long_for_a_line_is_cut_and_stays_tied(
    set_up: Callable[[], Lines], start_engine: Start, text: str
) -> None:
    lines = set_up()
    engine = start_engine(long=f"def on_request(ctx, params):\n    print({text!r})\n    raise KeyError({text!r})")
    engine.configure(1, "long:v1.0.0")
    engine.execute(request_execution(7))
    own = [line for line in lines() if line.get("requestId") == "request-7"]
    assert {line["policy"] for line in own} == {"long:v1.0.0"}
    assert "error" in own[-1]
    assert all(len(json.dumps(line)) <= 60_000 for line in own)
    if len(text) > 100:
        assert own[0]["message"].startswith(text[:1000])
        assert own[0]["message"].endswith(" characters cut]")


def test_what_the_engine_logs_of_an_action_is_not_logged_twice(
    set_up: Callable[[], Lines], start_engine: Start
) -> None:
    lines = set_up()
    engine = start_engine(returns="def on_request(ctx, params):\n    return 5")
    engine.configure(1, "returns:v1.0.0")
    engine.execute(request_execution(7))
    assert [line for line in lines() if line["level"] == "error"] == []


def test_a_traceback_has_the_policys_frames_only(set_up: Callable[[], Lines], start_engine: Start) -> None:
    lines = set_up()
    engine = start_engine(raises="def on_request(ctx, params):\n    inner()\ndef inner():\n    raise KeyError('x')")
    engine.configure(1, "raises:v1.0.0")
    engine.execute(request_execution(1))
    line = lines()[-1]
    assert (line["policy"], line["requestId"], line["level"]) == ("raises:v1.0.0", "request-1", "error")
    assert line["error"].count("File ") == 2
    assert "execution.py" not in line["error"]
    assert line["error"].endswith("KeyError: 'x'")


def test_an_unfinished_line_goes_out_with_its_execution(set_up: Callable[[], Lines], start_engine: Start) -> None:
    lines = set_up()
    engine = start_engine(partial="def on_request(ctx, params): print(ctx.path, end='')")
    engine.configure(1, "partial:v1.0.0")
    engine.execute(request_execution(1))
    assert [line["message"] for line in lines()] == ["/orders/1"]


def test_warnings_and_exceptions_of_the_executor_are_lines_too(set_up: Callable[[], Lines]) -> None:
    lines = set_up()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old\nways", stacklevel=1)
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("host").exception("it failed")
    warned, failed = lines()
    assert "old\nways" in warned["message"]
    assert failed["error"].endswith("ValueError: no")


BEGINNING = re.compile(
    r'\{"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z","level":"(debug|info|warning|error)",'
    r'"component":"python-executor","message":"'
)


def test_every_line_has_the_form_of_all_log_lines(set_up: Callable[[], Lines]) -> None:
    """The supervisor passes these lines on unchanged; a library may define its own levels."""
    set_up()
    formatter, levels = logs.JsonFormatter(), list[str]()
    for number in (5, 10, 15, 20, 25, 30, 40, 45, 50):
        record = logging.LogRecord("mine", number, "p.py", 1, 'say "it"\n%s', ("x" * 70_000,), None)
        line = formatter.format(record)
        assert BEGINNING.match(line)
        assert len(line) < 64 * 1024
        levels.append(json.loads(line)["level"])
    assert levels == ["debug", "debug", "debug", "info", "info", "warning", "error", "error", "error"]


def test_printed_lines_cannot_forge_fields(set_up: Callable[[], Lines]) -> None:
    lines = set_up()
    print('{"time":"2001-01-01T00:00:00.000Z","level":"error","component":"envoy","message":"forged"}')
    (line,) = lines()
    assert (line["component"], line["level"], line["time"] > "2020") == ("python-executor", "info", True)
    assert "forged" in line["message"]


STARTS = """
    import asyncio, gc, threading

    tasks = []

    def work():
        print("in the thread", end="")
        raise LookupError("no\\nprice")

    def on_request(ctx, params):
        thread = threading.Thread(target=work, name="prices")
        thread.start()
        thread.join()

    async def fails():
        raise LookupError("no task")

    async def on_response(ctx, params):
        if tasks:  # of a request before
            tasks.clear()
            gc.collect()
            return
        tasks.append(asyncio.create_task(fails()))
        while not tasks[0].done():
            await asyncio.sleep(0)
"""


@pytest.fixture
def policy_threads_set_up() -> Iterator[None]:
    before = threading.Thread.start, threading.excepthook
    policy_threads.set_up()
    yield
    threading.Thread.start, threading.excepthook = before  # type: ignore[method-assign]


@pytest.mark.usefixtures("policy_threads_set_up")
def test_an_exception_of_a_policys_own_thread_or_task_is_one_record_with_its_policy_and_request(
    set_up: Callable[[], Lines], start_engine: Start
) -> None:
    lines = set_up()
    engine = start_engine(starts=STARTS)
    engine.configure(1, "starts:v1.0.0")
    engine.execute(request_execution(7))
    engine.execute(response_execution(8))
    engine.execute(response_execution(9))
    own = [line for line in lines() if line.get("policy") == "starts:v1.0.0"]
    assert [(line["message"].splitlines()[0], line["requestId"]) for line in own] == [
        ("in the thread", "request-7"),
        ("the thread prices has ended with LookupError: no", "request-7"),
        ("Task exception was never retrieved", "request-8"),
    ]
    assert own[1]["error"].splitlines()[-2:] == ["LookupError: no", "price"]
    assert "in work" in own[1]["error"]
    assert own[2]["error"].endswith("LookupError: no task")
    assert not [line for line in lines() if line["logger"] == "stderr"]


@pytest.mark.usefixtures("policy_threads_set_up")
def test_a_thread_that_no_policy_started_belongs_to_no_policy(set_up: Callable[[], Lines]) -> None:
    lines = set_up()

    def fail() -> None:
        raise ValueError("mine")

    def leave() -> None:
        raise SystemExit(1)

    for work in (fail, leave):
        thread = threading.Thread(target=work, name="own")
        thread.start()
        thread.join()
    (line,) = lines()
    assert (line["message"], "policy" in line) == ("the thread own has ended with ValueError: mine", False)
