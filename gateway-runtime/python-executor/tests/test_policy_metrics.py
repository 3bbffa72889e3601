"""Metrics of policies by sdk.metrics, as the engine collects them, and their work time."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from gatewright import metrics
from gatewright.metrics import Registry
from gatewright_executor import logs
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.testing import Engine, piece, request_execution, request_stream, response_execution

COUNTS = """
    from sdk.metrics import Counter, Gauge, Histogram

    SEEN = Counter("seen_total", "Requests.", ["method"])
    SIZES = Histogram("sizes_bytes", "Sizes.", buckets=[1, 10])

    def prepare(params):
        return Gauge("prepared", "Attachments.")

    def on_request(ctx, params):
        SEEN.inc(method=ctx.method)
        ctx.prepared.inc()
        SIZES.observe(5)
        if ctx.method == "BAD":
            SEEN.inc(-1, method="BAD")
"""


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Metrics as main sets them up."""
    own = Registry()
    own.serve(logs.running_policy)
    monkeypatch.setattr(metrics, "registry", own)
    return own


def values(response: pb.CollectMetricsResponse) -> dict[tuple[str, ...], float]:
    return {
        (metric.policy, metric.name, *sample.label_values): sample.value
        for metric in response.metrics
        for sample in metric.samples
    }


def test_metrics_are_collected(start_engine: Callable[..., Engine]) -> None:
    engine = start_engine(counts=COUNTS, other=COUNTS)
    for instance, policy in enumerate(("counts", "counts", "other"), 1):  # two attachments of one policy
        engine.configure(instance, f"{policy}:v1.0.0")
        engine.execute(request_execution(instance, instance))
    first = engine.collect_metrics()
    assert values(first) == {
        ("counts:v1.0.0", "seen_total", "GET"): 2,
        ("counts:v1.0.0", "prepared"): 2,
        ("counts:v1.0.0", "sizes_bytes"): 10,
        ("other:v1.0.0", "seen_total", "GET"): 1,
        ("other:v1.0.0", "prepared"): 1,
        ("other:v1.0.0", "sizes_bytes"): 5,
    }
    (sizes,) = [metric for metric in first.metrics if (metric.policy, metric.name) == ("counts:v1.0.0", "sizes_bytes")]
    assert sizes.kind == pb.PolicyMetric.KIND_HISTOGRAM
    assert (sizes.help, [*sizes.bounds], [*sizes.samples[0].buckets]) == ("Sizes.", [1, 10], [0, 2, 0])
    assert first.process
    again = engine.collect_metrics(first.version)
    assert (again.version, again.process, [*again.metrics]) == (first.version, first.process, [])
    engine.execute(request_execution(9, 3))
    changed = engine.collect_metrics(first.version)
    assert {metric.policy for metric in changed.metrics} == {"other:v1.0.0"}


def test_an_observation_that_is_wrong_fails_no_request(start_engine: Callable[..., Engine]) -> None:
    engine = start_engine(counts=COUNTS)
    engine.configure(1, "counts:v1.0.0")
    wrong = request_execution(1)
    wrong.method = b"BAD"
    assert not engine.execute(wrong).HasField("failure")
    (seen,) = [metric for metric in engine.collect_metrics().metrics if metric.name == "seen_total"]
    assert (seen.samples[0].value, seen.refused) == (1, 1)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('from sdk.metrics import Counter\nCounter("seen", "x")\ndef on_request(ctx, params): ...', "end with _total"),
        (
            'import threading\nfrom sdk.metrics import Gauge\nmade = []\n'
            'def make():\n    try: Gauge("keys", "x")\n    except ValueError as error: made.append(error)\n'
            'thread = threading.Thread(target=make)\nthread.start()\nthread.join()\nraise made[0]\n',
            "in prepare, got it made elsewhere",
        ),
    ],
)  # fmt: skip
def test_an_invalid_metric_refuses_the_policy(source: str, message: str, start_engine: Callable[..., Engine]) -> None:
    (loaded,) = start_engine(broken=source).hello.policies
    assert message in loaded.failure.message


WORKS = """
    import asyncio, time

    def on_request(ctx, params):
        time.sleep(0.02)
        if ctx.method == "BAD":
            raise ValueError

    async def on_response(ctx, params):
        await asyncio.sleep(0.02)

    async def on_request_stream(ctx, chunks, params):
        async for chunk in chunks:
            time.sleep(0.02)
            yield chunk
"""


def test_each_action_says_how_long_its_policy_worked(start_engine: Callable[..., Engine]) -> None:
    engine = start_engine(works=WORKS)
    engine.configure(1, "works:v1.0.0")
    engine.execute(request_execution(1))
    bad = request_execution(2)
    bad.method = b"BAD"
    assert engine.execute(bad).HasField("failure")
    engine.execute(response_execution(3))
    for number in (1, 2, 3):
        assert 20_000 <= engine.work_us[number] < 10_000_000


def test_the_work_time_of_a_stream_leaves_out_its_waits(start_engine: Callable[..., Engine]) -> None:
    """A stream that waits does not work: its work time lies outside of the waits, which are measured here."""
    engine = start_engine(works=WORKS)
    engine.configure(1, "works:v1.0.0")
    stream = request_stream(1)
    stream.timeout_us = 9_000_000
    began, waited = time.monotonic(), 0.0
    engine.send(stream)
    for number in range(1, 3):
        rests(engine)
        since = time.monotonic()
        time.sleep(0.1)
        waited += time.monotonic() - since
        engine.send(pieces=[piece(1, b"a")])
        received(engine, number)
    engine.send(pieces=[piece(1, last=True)])
    engine.action(1)
    assert 0.04 <= engine.work_us[1] / 1e6 <= time.monotonic() - began - waited


def rests(engine: Engine) -> None:
    """Returns once no stream is at work, and one has begun."""
    engine.wait(lambda: (health := engine.health()).executions_started and not health.oldest_execution_policy)


def received(engine: Engine, size: int) -> None:
    engine.wait(lambda: len(engine.yielded(1)) == size)


def test_an_execution_that_is_not_started_has_not_worked(start_engine: Callable[..., Engine]) -> None:
    engine = start_engine(works=WORKS)
    engine.configure(1, "works:v1.0.0")
    late = request_execution(1)
    late.timeout_us = 0
    assert engine.execute(late).failure.failure_class == pb.FAILURE_CLASS_TIMEOUT
    assert engine.work_us[1] == 0
