"""prepare(params), and the deprecated get_policy."""

from collections.abc import Callable

import pytest
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.testing import Engine, configuration, request_execution

Start = Callable[..., Engine]
PREPARED = """
    import threading, time
    from gatewright.policy import UpstreamRequestModifications
    calls = []

    def prepare(params):
        calls.append(threading.current_thread().name)
        return {"upper": params["value"].upper(), "thread": calls[0], "calls": len(calls)}

    def on_request(ctx, params):
        return UpstreamRequestModifications(set_headers={key: str(value) for key, value in ctx.prepared.items()})
"""


def test_what_prepare_returns_is_there_and_made_once(start_engine: Start) -> None:
    engine = start_engine(ready=PREPARED)
    assert not engine.configure(1, "ready:v1.0.0", {"value": "abc"}).HasField("failure")
    for number in (1, 2):
        assert (
            engine.execute(request_execution(number)).set_headers
            == b"upper\0ABC\0thread\0prepare ready:v1.0.0\0calls\x001\0"
        )


def test_executions_wait_until_it_is_done(start_engine: Start) -> None:
    source = """
        import threading
        gate = threading.Event()
        def prepare(params):
            assert gate.wait(30)
            return "x"
        def on_request(ctx, params):
            assert ctx.prepared == "x"
        def on_response(ctx, params): pass
    """
    engine = start_engine(gated=source, opens="import sys\ndef on_request(ctx, params):\n opened(sys.modules)\n"
                 "def opened(m):\n [m[n].gate.set() for n in list(m) if n.endswith('.gated')]")  # fmt: skip
    engine.send(request_execution(1), configure=[configuration(1, "gated:v1.0.0")])
    engine.configure(2, "opens:v1.0.0")
    assert engine.actions == []
    assert 1 not in engine.statuses
    engine.execute(request_execution(2, 2))
    assert engine.action(1) == pb.Action(id=1)
    assert not engine.statuses[1].HasField("failure")


@pytest.mark.parametrize(
    ("prepare", "failure_class", "sentence"),
    [
        ("raise ValueError('no key')", pb.FAILURE_CLASS_EXCEPTION, "ValueError: no key ("),
        ("raise SystemExit(2)", pb.FAILURE_CLASS_EXCEPTION, "SystemExit: 2 ("),
        ("params['a'] = 1", pb.FAILURE_CLASS_EXCEPTION, "this dict is read-only"),
        (
            "threading.Event().wait(30)",
            pb.FAILURE_CLASS_TIMEOUT,
            "expected prepare to return within 0.02 s, it still runs",
        ),
    ],
)
def test_executions_of_an_instance_that_fails_to_prepare_are_not_started(
    start_engine: Start, prepare: str, failure_class: int, sentence: str
) -> None:
    source = f"import threading\ndef prepare(params):\n    {prepare}\ndef on_request(ctx, params): pass"
    engine = start_engine(fails=source)
    limit = 20 if failure_class == pb.FAILURE_CLASS_TIMEOUT else 60_000
    engine.send(request_execution(1), configure=[configuration(1, "fails:v1.0.0", prepare_timeout_ms=limit)])
    failure = engine.wait(lambda: engine.statuses.get(1)).failure
    assert (failure.failure_class, failure.policy, failure.hook) == (failure_class, "fails:v1.0.0", "prepare")
    assert sentence in failure.message
    for action in (engine.action(1), engine.execute(request_execution(2))):
        assert action.failure.failure_class == pb.FAILURE_CLASS_UNAVAILABLE  # it was not started
        assert failure.message in action.failure.message


def test_an_async_prepare_runs_on_the_loop_of_its_requests(start_engine: Start) -> None:
    source = """
        import asyncio
        async def prepare(params):
            await asyncio.sleep(0)
            return asyncio.get_running_loop()
        async def on_request(ctx, params):
            assert ctx.prepared is asyncio.get_running_loop()
    """
    engine = start_engine(loop=source)
    assert not engine.configure(1, "loop:v1.0.0").HasField("failure")
    assert engine.execute(request_execution(1)) == pb.Action(id=1)


def test_many_slow_preparations_do_not_count_against_each_other(start_engine: Start) -> None:
    engine = start_engine(slow="import time\ndef prepare(params): time.sleep(0.05)\ndef on_request(ctx, params): pass")
    engine.send(configure=[configuration(number, "slow:v1.0.0", prepare_timeout_ms=5000) for number in range(1, 13)])
    engine.wait(lambda: len(engine.statuses) == 12)
    assert not any(status.HasField("failure") for status in engine.statuses.values())


LEGACY = """
    from gatewright.policy import Policy, UpstreamRequestModifications

    class Old(Policy):
        made = 0

        def __init__(self, metadata, params):
            Old.made += 1
            self.text = f"{metadata.policy_name} {metadata.policy_version} {params['value']} {Old.made}"

        def on_request(self, ctx, params):
            return UpstreamRequestModifications(set_headers={"x-old": self.text})

    def get_policy(metadata, params):
        return Old(metadata, params)
"""


def test_the_deprecated_class_still_runs(start_engine: Start) -> None:
    with pytest.warns(DeprecationWarning, match=r"policy old:v1\.0\.0 uses get_policy.*old\.py:14\)"):
        engine = start_engine(old=LEGACY)
    assert (engine.hello.policies[0].on_request, engine.hello.policies[0].on_response) == (True, True)
    engine.configure(1, "old:v1.0.0", {"value": "v"})
    for number in (1, 2):
        assert engine.execute(request_execution(number)).set_headers == b"x-old\0old v1.0.0 v 1\0"


def test_a_get_policy_that_makes_no_policy(start_engine: Start) -> None:
    with pytest.warns(DeprecationWarning, match="uses get_policy"):
        engine = start_engine(old="def get_policy(metadata, params): return 7")
    failure = engine.configure(1, "old:v1.0.0").failure
    assert (failure.failure_class, failure.hook) == (pb.FAILURE_CLASS_BAD_ACTION, "get_policy")
    assert "expected get_policy to return a Policy, got int 7" in failure.message


def test_functions_win_over_get_policy(start_engine: Start) -> None:
    engine = start_engine(
        both="def on_request(ctx, params): pass\ndef get_policy(metadata, params): raise AssertionError"
    )
    engine.configure(1, "both:v1.0.0")
    assert engine.execute(request_execution(1)) == pb.Action(id=1)
