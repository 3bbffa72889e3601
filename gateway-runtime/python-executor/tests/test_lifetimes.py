"""Instances are closed: once, after their last execution, with the tasks that were made for them."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.running.limits import Limits
from gatewright_executor.server import Server
from gatewright_executor.testing import Engine, configuration, eventually, request_execution, response_execution

Start = Callable[..., Engine]
TELLS = """
    def on_response(ctx, params):
        ctx.metadata["seen"] = seen
"""
FORMS = {
    "returns": "def prepare(params): return params['a']\ndef close(prepared): seen.append(prepared)",
    "yields": "def prepare(params):\n    yield params['a']\n    seen.append(params['a'])",
    "async returns": "async def prepare(params): return params['a']\nasync def close(prepared): seen.append(prepared)",
    "async yields": "async def prepare(params):\n    yield params['a']\n    seen.append(params['a'])",
    "async, closed by a plain one": (
        "async def prepare(params): return params['a']\ndef close(prepared):\n"
        "    asyncio.get_running_loop()\n    seen.append(prepared)"
    ),
    "plain, closed by an async one": (
        "def prepare(params): return params['a']\nasync def close(prepared):\n"
        "    asyncio.get_running_loop()\n    seen.append(prepared)"
    ),
    "for an instance": (
        "def prepare(params, metadata):\n    yield params['a']\n"
        "    seen.append([metadata.policy_name, metadata.policy_version, metadata.api_name, metadata.api_version,"
        " metadata.operation, metadata.system_params['region']])"
    ),
}
START = "import asyncio\nseen = []\ndef on_request(ctx, params): seen.append(['called with', ctx.prepared])\n"


def seen(engine: Engine, instance: int, number: int) -> object:
    """The policy's list `seen`, asked of an instance that still runs."""
    return json.loads(engine.execute(response_execution(number, instance)).metadata_set or b"{}").get("seen", [])


@pytest.mark.parametrize("form", FORMS)
def test_what_prepare_makes_is_closed_once(start_engine: Start, form: str) -> None:
    source = START + FORMS[form] + "\ndef on_response(ctx, params): ctx.metadata['seen'] = seen\n"
    engine = start_engine(policy=source)
    wanted = configuration(1, "policy:v1.0.0", {"a": 7})
    wanted.api_name, wanted.api_version, wanted.operation = "orders-v1", "v1.0", "GET /{id}"
    wanted.system_parameters = b'{"region": "eu"}'
    engine.configure(2, "policy:v1.0.0", {"a": 8})
    engine.send(configure=[wanted])
    engine.execute(request_execution(1))
    engine.send(close=[1])
    closed = 7 if form != "for an instance" else ["policy", "v1.0.0", "orders-v1", "v1.0", "GET /{id}", "eu"]
    assert eventually(lambda: seen(engine, 2, 100 + len(engine.frames)) == [["called with", 7], closed])
    engine.send(close=[1])
    assert seen(engine, 2, 99) == [["called with", 7], closed]


def test_it_is_closed_after_its_last_execution(start_engine: Start) -> None:
    source = """
        import threading
        seen, gate = [], threading.Event()
        def prepare(params):
            yield None
            seen.append("closed")
        def on_request(ctx, params):
            gate.wait(30)
            seen.append("ended")
        def on_response(ctx, params):
            if "x-go" in ctx.headers:
                gate.set()
            ctx.metadata["seen"] = seen
    """
    engine = start_engine(policy=source)
    engine.configure(1, "policy:v1.0.0")
    engine.configure(2, "policy:v1.0.0")
    engine.send(request_execution(1))
    engine.wait(lambda: engine.health().workers_busy == 1)
    engine.send(close=[1])
    assert seen(engine, 2, 2) == []
    engine.send(response_execution(3, 2, {"x-go": "1"}))
    assert eventually(lambda: seen(engine, 2, 100 + len(engine.frames)) == ["ended", "closed"])


def test_executions_of_the_frame_that_closes_it_come_before(start_engine: Start) -> None:
    source = START + FORMS["yields"] + "\ndef on_response(ctx, params): ctx.metadata['seen'] = seen\n"
    engine = start_engine(policy=source)
    engine.configure(1, "policy:v1.0.0", {"a": 7})
    engine.configure(2, "policy:v1.0.0", {"a": 8})
    engine.send(*map(request_execution, range(10)), close=[1])
    assert eventually(lambda: len(seen(engine, 2, 100 + len(engine.frames))) == 11)  # type: ignore[arg-type]
    assert seen(engine, 2, 99)[-1] == 7  # type: ignore[index]


POLLS = """
    import asyncio
    running, ended = [], []

    async def poll(name):
        running.append(name)
        try:
            await asyncio.sleep(3600)
        finally:
            running.remove(name)
            ended.append(name)

    async def nested(name):
        asyncio.create_task(poll(name + " below"))
        await poll(name)

    async def prepare(params):
        return asyncio.create_task(nested(params["name"]))

    async def on_request(ctx, params):
        kept.append(asyncio.create_task(poll("of a request")))

    def on_response(ctx, params):
        ctx.metadata["seen"] = [sorted(running), sorted(ended)]
    kept = []
"""


def test_tasks_end_with_their_instance(start_engine: Start) -> None:
    engine = start_engine(policy=POLLS)
    engine.configure(1, "policy:v1.0.0", {"name": "one"})
    engine.configure(2, "policy:v1.0.0", {"name": "two"})
    engine.execute(request_execution(1))
    engine.send(close=[1])
    left, gone = ["two", "two below"], ["of a request", "one", "one below"]
    assert eventually(lambda: seen(engine, 2, 100 + len(engine.frames)) == [left, gone])


def test_tasks_of_the_deprecated_class_end_with_their_instance(start_engine: Start) -> None:
    source = (
        POLLS.split("    async def prepare")[0]
        + """
    from gatewright.policy import Policy

    class Old(Policy):
        async def on_request(self, ctx, params):
            kept.append(asyncio.create_task(poll("of a request")))

        def on_response(self, ctx, params):
            ctx.metadata["seen"] = [sorted(running), sorted(ended)]

    def get_policy(metadata, params):
        return Old()
    kept = []
"""
    )
    with pytest.warns(DeprecationWarning, match="uses get_policy"):
        engine = start_engine(policy=source)
    engine.configure(1, "policy:v1.0.0")
    engine.configure(2, "policy:v1.0.0")
    engine.execute(request_execution(1))
    engine.send(close=[1])
    assert eventually(lambda: seen(engine, 2, 100 + len(engine.frames)) == [[], ["of a request"]])


def test_tasks_of_a_prepare_that_failed_end_with_their_instance(start_engine: Start) -> None:
    """A node repeats the configuration: each try would leave one more task."""
    source = (
        POLLS.split("    async def prepare")[0]
        + """
    async def prepare(params):
        kept.append(asyncio.create_task(poll("of one that failed")))
        await asyncio.sleep(0)
        assert not params

    def on_request(ctx, params): pass

    def on_response(ctx, params):
        ctx.metadata["seen"] = [sorted(running), sorted(ended)]
    kept = []
"""
    )
    engine = start_engine(policy=source)
    assert engine.configure(1, "policy:v1.0.0", {"fails": True}).HasField("failure")
    engine.configure(2, "policy:v1.0.0")
    assert seen(engine, 2, 99) == [2 * ["of one that failed"], []]
    engine.send(close=[1])
    assert eventually(
        lambda: seen(engine, 2, 100 + len(engine.frames)) == [["of one that failed"], ["of one that failed"]]
    )


def test_one_instance_after_the_other_leaves_one_task(start_engine: Start) -> None:
    engine = start_engine(policy=POLLS)
    for number in range(1, 22):
        engine.configure(number, "policy:v1.0.0", {"name": str(number)})
        if number > 1:
            engine.send(close=[number - 1])
    assert eventually(lambda: seen(engine, 21, 100 + len(engine.frames))[0] == ["21", "21 below"])  # type: ignore[index]


def test_a_task_group_around_the_yield(start_engine: Start, caplog: pytest.LogCaptureFixture) -> None:
    source = """
        import asyncio
        seen = []
        async def poll(params):
            await asyncio.sleep(0 if params["fails"] else 3600)
            raise ValueError("the poll")
        async def prepare(params):
            async with asyncio.TaskGroup() as group:
                task = group.create_task(poll(params))
                yield "x"
                task.cancel()
            seen.append("closed")
        async def on_request(ctx, params):
            assert ctx.prepared == "x"
        def on_response(ctx, params):
            ctx.metadata["seen"] = seen
    """
    engine = start_engine(policy=source)
    engine.configure(1, "policy:v1.0.0", {"fails": False})
    engine.configure(2, "policy:v1.0.0", {"fails": True})
    assert engine.execute(request_execution(1)) == pb.Action(id=1)
    assert eventually(lambda: "prepare failed after its yield" in caplog.text)
    assert "the poll" in caplog.text
    assert engine.execute(request_execution(2, 2)) == pb.Action(id=2)
    engine.send(close=[1, 2])
    engine.configure(3, "policy:v1.0.0", {"fails": False})
    assert eventually(lambda: seen(engine, 3, 100 + len(engine.frames)) == ["closed"])


@pytest.mark.parametrize("start", ["def", "async def"])
def test_a_close_that_fails_is_logged_once(start_engine: Start, start: str, caplog: pytest.LogCaptureFixture) -> None:
    source = f"{start} prepare(params):\n    yield 1\n    raise ValueError('no end')\ndef on_request(ctx, params): pass"
    engine = start_engine(policy=source)
    engine.configure(1, "policy:v1.0.0")
    engine.send(close=[1])
    assert eventually(lambda: "close failed: ValueError: no end" in caplog.text)
    assert "policy.py:3" in caplog.text
    engine.configure(2, "policy:v1.0.0")
    assert caplog.text.count("close failed") == 1


@pytest.mark.parametrize("limits", [Limits(close_seconds=1.0)])  # by when it has begun
def test_a_close_that_hangs_is_left_to_itself(start_engine: Start, caplog: pytest.LogCaptureFixture) -> None:
    source = """
        import asyncio
        seen = []
        async def prepare(params):
            yield 1
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
        def on_request(ctx, params): pass
        def on_response(ctx, params): ctx.metadata["seen"] = seen
    """
    engine = start_engine(policy=source)
    engine.configure(1, "policy:v1.0.0")
    engine.configure(2, "policy:v1.0.0")
    engine.send(close=[1])
    assert eventually(lambda: seen(engine, 2, 100 + len(engine.frames)) == ["cancelled"])
    assert eventually(lambda: "expected policy:v1.0.0 to be closed within 1 s" in caplog.text)


@pytest.mark.parametrize("start", ["def", "async def"])
def test_what_is_prepared_too_late_is_closed(start_engine: Start, start: str) -> None:
    source = f"""
        import asyncio, threading
        seen, gate = [], threading.Event()
        {start} prepare(params):
            if params:
                gate.wait(30)
            yield 1
            seen.append("closed")
        def on_request(ctx, params): gate.set()
        def on_response(ctx, params): ctx.metadata["seen"] = seen
    """
    engine = start_engine(policy=source)
    engine.configure(2, "policy:v1.0.0")
    assert engine.configure(1, "policy:v1.0.0", {"late": 1}, prepare_timeout_ms=20).HasField("failure")
    engine.execute(request_execution(1, 2))
    if start == "def":  # an async one is cancelled, and makes nothing
        assert eventually(lambda: seen(engine, 2, 100 + len(engine.frames)) == ["closed"])
    else:
        assert seen(engine, 2, 99) == []


def test_what_was_closed_before_it_was_prepared_holds_no_stop_up(
    load: Callable[..., object], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = """
        import threading
        seen, gate = [], threading.Event()
        def prepare(params):
            if params:
                gate.wait(30)
            yield 1
            seen.append("closed")
        def on_request(ctx, params): gate.set()
        def on_response(ctx, params): ctx.metadata["seen"] = seen
    """
    server = Server(load(policy=source), 2)  # type: ignore[arg-type]
    server.start(tmp_path / "own.sock")
    with Engine(tmp_path / "own.sock") as engine:
        engine.configure(2, "policy:v1.0.0")
        assert engine.configure(1, "policy:v1.0.0", {"late": 1}, prepare_timeout_ms=20).HasField("failure")
        engine.send(close=[1])
        engine.execute(request_execution(1, 2))
        assert eventually(lambda: seen(engine, 2, 100 + len(engine.frames)) == ["closed"])
        server.stop(5)
    assert "the process ends" not in caplog.text


def test_an_async_prepare_that_takes_too_long_is_cancelled(start_engine: Start) -> None:
    source = """
        import asyncio
        seen = []
        async def prepare(params):
            try:
                await asyncio.sleep(3600 if params else 0)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise
        def on_request(ctx, params): pass
        def on_response(ctx, params): ctx.metadata["seen"] = seen
    """
    engine = start_engine(policy=source)
    engine.configure(2, "policy:v1.0.0")
    failure = engine.configure(1, "policy:v1.0.0", {"late": 1}, prepare_timeout_ms=1000).failure  # by when it has begun
    assert failure.failure_class == pb.FAILURE_CLASS_TIMEOUT
    assert "more time by prepareTimeout" in failure.message
    assert eventually(lambda: seen(engine, 2, 100 + len(engine.frames)) == ["cancelled"])


WRITES = """
    from pathlib import Path
    {start} prepare(params):
        yield 1
        Path(params["file"]).write_text("closed")
    def on_request(ctx, params): pass
"""


@pytest.mark.parametrize("start", ["def", "async def"])
def test_they_are_closed_when_their_stream_ends(start_engine: Start, start: str, tmp_path: Path) -> None:
    engine = start_engine(policy=WRITES.format(start=start))
    engine.configure(1, "policy:v1.0.0", {"file": str(tmp_path / "closed")})
    engine.half_close()
    assert eventually((tmp_path / "closed").exists)


@pytest.mark.parametrize("start", ["def", "async def"])
def test_they_are_closed_when_the_process_stops(load: Callable[..., object], start: str, tmp_path: Path) -> None:
    server = Server(load(policy=WRITES.format(start=start)), 2)  # type: ignore[arg-type]
    server.start(tmp_path / "own.sock")
    with Engine(tmp_path / "own.sock") as engine:
        engine.configure(1, "policy:v1.0.0", {"file": str(tmp_path / "closed")})
        server.stop(5)
        assert (tmp_path / "closed").read_text() == "closed"


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            "def prepare(params): pass\ndef close(a, b): pass",
            r"expected a function close\(prepared\), got close\(a, b\)",
        ),
        ("def close(prepared): pass", r"expected prepare\(params\) beside close\(prepared\)"),
        ("def prepare(params): yield\ndef close(prepared): pass", "or a prepare that yields, got both"),
        (
            "def prepare(params, about): pass",
            r"prepare\(params\) or prepare\(params, metadata, shared\), got prepare\(params, about\)",
        ),
        ("def prepare(): pass", r"prepare\(params\) or prepare\(params, metadata, shared\), got prepare\(\)"),
        ("def prepare(params): pass\ndef close(prepared): yield", "to return an action, got a generator"),
    ],
)
def test_an_invalid_prepare_or_close_is_refused(
    load: Callable[..., dict[str, object]], source: str, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    load(policy=f"{source}\ndef on_request(ctx, params): pass")
    assert eventually(lambda: "policy not loaded" in caplog.text)
    assert __import__("re").search(sentence, caplog.text)


@pytest.mark.parametrize("start", ["def", "async def"])
def test_a_prepare_without_its_yield(start_engine: Start, start: str) -> None:
    engine = start_engine(policy=f"\n{start} prepare(params):\n    if params: yield\ndef on_request(ctx, params): pass")
    failure = engine.configure(1, "policy:v1.0.0").failure
    assert "expected prepare to yield once, it ended without a yield" in failure.message
    assert "policy.py:2)" in failure.message


# ------------------------------------------------------------------ what sdk.background repeats

REPEATS = {
    "a thread": """
    def prepare(params):
        with every(0.001, lambda: work(params), name="work", at_once=False):
            yield None
""",
    "a task": """
    async def prepare(params):
        async def work_later(): work(params)
        async with every(0.001, work_later, name="work", at_once=False):
            yield None
""",
}
REPEATED = """
    from sdk.background import every
    runs = {"one": 0, "two": 0}

    def work(params):
        runs[params["name"]] += 1
        if runs[params["name"]] == 1:
            raise OSError("away")

    def on_response(ctx, params):
        ctx.metadata["seen"] = runs
"""


@pytest.mark.parametrize("form", REPEATS)
def test_what_is_repeated_ends_with_its_instance(
    start_engine: Start, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = start_engine(policy=REPEATED + REPEATS[form])
    engine.configure(1, "policy:v1.0.0", {"name": "one"})
    engine.configure(2, "policy:v1.0.0", {"name": "two"})

    def runs() -> dict[str, int]:
        counts = seen(engine, 2, 100 + len(engine.frames))
        assert isinstance(counts, dict)
        return counts

    assert eventually(lambda: min(runs().values()) > 2)
    engine.send(close=[1])
    assert eventually(lambda: (before := runs())["one"] == runs()["one"] and before["two"] < runs()["two"])
    assert "work failed (1 in a row) and will be retried: OSError: away" in caplog.text
