"""setup(): what the instances of a policy share in a process, from before the first of them to after the last."""

import itertools
import json
import logging
import time
from collections.abc import Callable

import pytest
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.running.limits import Limits
from gatewright_executor.testing import Engine, configuration, eventually, request_execution, response_execution

Start = Callable[..., Engine]
FORMS = {
    "returns": "def setup():\n    made.append(1)\n    return made",
    "yields": "def setup():\n    made.append(1)\n    yield made\n    made.append('closed')",
    "async returns": "async def setup():\n    asyncio.get_running_loop()\n    made.append(1)\n    return made",
    "async yields": (
        "async def setup():\n    async with asyncio.timeout(60):\n        made.append(1)\n        yield made\n"
        "    made.append('closed')"
    ),
}
HOOKS = """
import asyncio
made = []
async def on_request(ctx, params):
    assert ctx.shared is made
def on_response(ctx, params):
    ctx.metadata["made"] = made
    assert ctx.shared is ctx.request.shared is made
"""
WATCH = """
import sys
def on_response(ctx, params):
    ctx.metadata["made"] = [m for n, m in list(sys.modules.items()) if n.endswith(".shares")][-1].made
"""


def made(engine: Engine, instance: int, number: int) -> list[object]:
    """The policy's list `made`, asked of an instance."""
    found: list[object] = json.loads(engine.execute(response_execution(number, instance)).metadata_set)["made"]
    return found


def status(engine: Engine, instance: int) -> pb.InstanceStatus:
    """The status of an instance, once it has one."""
    return engine.wait(lambda: engine.statuses.get(instance))


@pytest.mark.parametrize("form", FORMS)
def test_it_is_made_once_for_all_instances_and_closed_after_the_last(start_engine: Start, form: str) -> None:
    prepare = "\ndef prepare(params, shared):\n    assert shared is made\n    yield\n    made.append('instance')\n"
    engine = start_engine(shares=HOOKS + FORMS[form] + prepare, watch=WATCH)
    engine.configure(9, "watch:v1.0.0")
    for number in (1, 2, 3):
        assert not engine.configure(number, "shares:v1.0.0").HasField("failure")
        assert engine.execute(request_execution(number, number)) == pb.Action(id=number)
        assert made(engine, number, 10 + number) == [1]
    closed = ["closed"] if "yields" in form else []
    engine.send(close=[1, 2])
    assert eventually(lambda: made(engine, 9, 100 + len(engine.frames)) == [1, "instance", "instance"])
    engine.send(close=[3])
    assert eventually(lambda: made(engine, 9, 100 + len(engine.frames)) == [1, *["instance"] * 3, *closed])
    numbers = itertools.count(20)

    def begins_anew() -> bool:
        """An instance that comes while the last one is still being closed shares its setup."""
        number = next(numbers)
        engine.configure(number, "shares:v1.0.0")
        engine.send(close=[number])
        return made(engine, 9, 1000 + number).count(1) == 2

    assert eventually(begins_anew)


def test_instances_that_come_at_once_wait_for_one_setup(start_engine: Start) -> None:
    source = HOOKS + "import time\ndef setup():\n    time.sleep(0.2)\n    made.append(1)\n    return made\n"
    engine = start_engine(shares=source)
    engine.send(configure=[configuration(number, "shares:v1.0.0") for number in range(1, 9)])
    engine.wait(lambda: len(engine.statuses) == 8)
    assert not any(status.HasField("failure") for status in engine.statuses.values())
    assert made(engine, 8, 1) == [1]


def test_a_setup_is_shared_by_instances_with_the_same_system_parameters(start_engine: Start) -> None:
    source = """
        made = []
        def setup(system_params):
            made.append(system_params["region"])
            yield system_params["region"]
            made.append("closed " + system_params["region"])
        def prepare(params, shared, metadata):
            assert shared == metadata.system_params["region"]
        def on_response(ctx, params):
            ctx.metadata["made"] = [ctx.shared, *made]
    """
    engine = start_engine(shares=source)
    for number, region in enumerate(("eu", "us", "eu"), 1):
        wanted = configuration(number, "shares:v1.0.0")
        wanted.system_parameters = json.dumps({"region": region}).encode()
        engine.send(configure=[wanted])
        assert not status(engine, number).HasField("failure")
    assert made(engine, 2, 1) == ["us", "eu", "us"]
    engine.send(close=[2])
    assert eventually(lambda: made(engine, 3, 100 + len(engine.frames)) == ["eu", "eu", "us", "closed us"])


@pytest.mark.parametrize("start", ["def", "async def"])
def test_a_setup_that_fails_is_tried_again_for_the_next_instance(
    start_engine: Start, start: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    source = HOOKS + (
        f"tries = []\n{start} setup():\n    tries.append(1)\n    if len(tries) == 1: raise ValueError('no model')\n"
        "    return made\ndef prepare(params): return len(tries)\n"
    )
    engine = start_engine(shares=source)
    failure = engine.configure(1, "shares:v1.0.0").failure
    assert (failure.failure_class, failure.hook, failure.policy) == (
        pb.FAILURE_CLASS_EXCEPTION,
        "setup",
        "shares:v1.0.0",
    )
    assert "ValueError: no model (" in failure.message
    assert "shares.py:" in failure.message
    assert [record.getMessage() for record in caplog.records] == [f"setup failed: {failure.message}"]
    assert not engine.configure(2, "shares:v1.0.0").HasField("failure")
    assert engine.execute(request_execution(1, 2)) == pb.Action(id=1)


@pytest.mark.parametrize(("start", "wait"), [("def", "gate.wait(20)"), ("async def", "await asyncio.sleep(20)")])
def test_its_time_is_that_of_prepare(start_engine: Start, start: str, wait: str) -> None:
    source = HOOKS + (
        f"import threading\ngate = threading.Event()\n{start} setup():\n    made.append('late')\n    {wait}\n"
        "    yield\n    made.append('closed')\n"
    )
    engine = start_engine(shares=source, watch=WATCH, opens="import sys\ndef on_request(ctx, params):\n"
                 "    [m for n, m in list(sys.modules.items()) if n.endswith('.shares')][-1].gate.set()\n")  # fmt: skip
    engine.send(configure=[configuration(number, "shares:v1.0.0", prepare_timeout_ms=50) for number in (1, 2)])
    for number in (1, 2):
        failure = status(engine, number).failure
        assert (failure.failure_class, failure.hook) == (pb.FAILURE_CLASS_TIMEOUT, "setup")
        assert "expected setup to return within 0.05 s, it still runs" in failure.message
    engine.configure(9, "watch:v1.0.0")
    engine.configure(8, "opens:v1.0.0")
    engine.execute(request_execution(1, 8))  # it may go on now
    ended = ["closed"] if start == "def" else []  # an async one is cancelled before its yield
    runs = len([name for name in made(engine, 9, 2) if name == "late"])
    assert eventually(lambda: made(engine, 9, 100 + len(engine.frames)).count("closed") == runs * len(ended))


def test_a_prepare_that_fails_leaves_what_is_shared_to_the_others(start_engine: Start) -> None:
    source = HOOKS + FORMS["yields"] + "\ndef prepare(params):\n    return params['a']\n"
    engine = start_engine(shares=source, watch=WATCH)
    engine.configure(9, "watch:v1.0.0")
    assert engine.configure(1, "shares:v1.0.0").failure.hook == "prepare"
    assert not engine.configure(2, "shares:v1.0.0", {"a": 1}).HasField("failure")
    assert made(engine, 2, 1) == [1]
    engine.send(close=[1])
    assert made(engine, 2, 2) == [1]
    engine.send(close=[2])
    assert eventually(lambda: made(engine, 9, 100 + len(engine.frames)) == [1, "closed"])


def test_tasks_of_an_async_setup_outlive_an_instance_and_end_with_the_last(start_engine: Start) -> None:
    source = """
        import asyncio
        made = []
        async def poll():
            try:
                await asyncio.sleep(3600)
            finally:
                made.append("task ended")
        async def setup():
            return asyncio.create_task(poll())
        async def on_request(ctx, params):
            await asyncio.sleep(0)
            assert not ctx.shared.done()
    """
    engine = start_engine(shares=source, watch=WATCH)
    engine.configure(9, "watch:v1.0.0")
    for number in (1, 2):
        engine.configure(number, "shares:v1.0.0")
    engine.send(close=[1])
    assert engine.execute(request_execution(1, 2)) == pb.Action(id=1)
    assert made(engine, 9, 2) == []
    engine.send(close=[2])
    assert eventually(lambda: made(engine, 9, 100 + len(engine.frames)) == ["task ended"])


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("def setup(params): pass", r"expected a function setup\(\) or setup\(system_params\), got setup\(params\)"),
        ("setup = 7", r"expected a function setup\(\) or setup\(system_params\), got int"),
    ],
)
def test_an_invalid_setup_is_refused(start_engine: Start, source: str, sentence: str) -> None:
    engine = start_engine(shares=f"{source}\ndef on_request(ctx, params): pass")
    with pytest.raises(AssertionError, match=sentence):
        raise AssertionError(engine.hello.policies[0].failure.message)


@pytest.mark.parametrize(("body", "sentence"), [("if False: yield", "without a yield"), ("yield\n yield", "again")])
def test_a_yield_too_few_or_too_many(
    start_engine: Start, body: str, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    engine = start_engine(shares=f"def setup():\n {body}\ndef on_request(ctx, params): pass")
    engine.configure(1, "shares:v1.0.0")
    engine.send(close=[1])
    assert eventually(lambda: "expected setup to yield once" in caplog.text)
    assert sentence in caplog.text


def test_tasks_of_a_setup_that_fails_end(start_engine: Start) -> None:
    source = """
        import asyncio
        made, tasks = [], []
        async def poll():
            try:
                await asyncio.sleep(3600)
            finally:
                made.append("task ended")
        async def setup():
            tasks.append(asyncio.create_task(poll()))
            await asyncio.sleep(0)
            raise ValueError("no model")
        def on_request(ctx, params):
            pass
    """
    engine = start_engine(shares=source, watch=WATCH)
    engine.configure(9, "watch:v1.0.0")
    assert engine.configure(1, "shares:v1.0.0").failure.hook == "setup"
    assert eventually(lambda: made(engine, 9, 100 + len(engine.frames)) == ["task ended"])


@pytest.mark.parametrize("limits", [Limits(last_seconds=0.01)])
@pytest.mark.parametrize("start", ["def", "async def"])
def test_an_instance_that_is_closed_long_before_it_is_ready(start_engine: Start, start: str) -> None:
    wait = "gate.wait(30)" if start == "def" else "while not gate.is_set(): await asyncio.sleep(0.01)"
    source = HOOKS + (
        f"import threading\ngate = threading.Event()\n{start} setup():\n    made.append('begun')\n    {wait}\n"
        "    yield made\n    made.append('setup closed')\n"
        "def prepare(params):\n    yield\n    made.append('prepare closed')\n"
    )
    engine = start_engine(shares=source, watch=WATCH, opens="import sys\ndef on_request(ctx, params):\n"
                 "    [m for n, m in list(sys.modules.items()) if n.endswith('.shares')][-1].gate.set()\n")  # fmt: skip
    engine.configure(9, "watch:v1.0.0")
    engine.configure(8, "opens:v1.0.0")
    engine.send(configure=[configuration(1, "shares:v1.0.0", prepare_timeout_ms=60_000)])
    assert eventually(lambda: made(engine, 9, 100 + len(engine.frames)) == ["begun"])
    engine.send(close=[1])
    engine.send(configure=[configuration(2, "shares:v1.0.0", prepare_timeout_ms=60_000)])
    time.sleep(0.2)  # many times `last_seconds`
    engine.execute(request_execution(1, 8))  # it may go on now
    assert not status(engine, 2).HasField("failure")
    engine.send(close=[2])
    ended = ["begun", "prepare closed", "prepare closed", "setup closed"]
    assert eventually(lambda: made(engine, 9, 100 + len(engine.frames)) == ended)
