import asyncio
import importlib
import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gatewright import metrics, testing
from gatewright.metrics import MAX_METRICS, Counter, Gauge, Histogram, MetricError, MetricSnapshot, Registry
from hypothesis import given
from hypothesis import strategies as st

Serve = Callable[[str], None]
RULES = Path(__file__).parents[3] / "conformance" / "metrics.json"


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Each test has its own."""
    own = Registry()
    monkeypatch.setattr(metrics, "registry", own)
    monkeypatch.setattr(testing, "registry", own)
    return own


@pytest.fixture
def serve(registry: Registry) -> Serve:
    """Metrics are those of a gateway from here on, of the policy that is named."""
    return lambda policy: registry.serve(lambda: policy)


def collected(registry: Registry, name: str) -> MetricSnapshot:
    (found,) = [metric for metric in registry.collect()[1] if metric.name == name]
    return found


def test_a_counter_counts() -> None:
    plain = Counter("seen_total", "Requests.")
    plain.inc()
    plain.inc(2.5)
    assert plain.value() == 3.5
    labelled = Counter("refused_total", "Requests refused.", ["reason", "status"])
    labelled.inc(reason="expired", status=401)
    labelled.inc(2, status="401", reason="expired")
    labelled.labels(reason="none", status=401).inc()
    assert labelled.value(reason="expired", status=401) == 3
    assert labelled.value(reason="none", status="401") == 1
    assert labelled.value(reason="other", status="401") == 0


def test_a_gauge_goes_up_and_down() -> None:
    gauge = Gauge("keys", "Keys that are known.", ["kind"])
    gauge.set(7, kind="a")
    gauge.inc(kind="a")
    gauge.dec(3, kind="a")
    gauge.labels(kind="b").set(-1)
    assert (gauge.value(kind="a"), gauge.value(kind="b"), gauge.value(kind="c")) == (5, -1, 0)


def test_a_histogram_counts_by_buckets(registry: Registry) -> None:
    sizes = Histogram("sizes_bytes", "Sizes.", ["kind"], buckets=[1, 10, 100])
    for value in (0, 1, 2, 10, 11, 1000):
        sizes.observe(value, kind="a")
    assert (sizes.count(kind="a"), sizes.sum(kind="a"), sizes.count(kind="b")) == (6, 1024, 0)
    (sample,) = collected(registry, "sizes_bytes").samples
    assert sample.buckets == (2, 2, 1, 1)


def test_time_is_observed_whatever_becomes_of_it() -> None:
    took = Histogram("call_seconds", "Calls.", ["to"])
    with took.time(to="a"):
        pass
    with pytest.raises(ZeroDivisionError), took.labels(to="a").time():
        _ = 1 / 0
    assert took.count(to="a") == 2
    assert 0 < took.sum(to="a") < 10

    async def call() -> None:
        with took.time(to="b"):
            await asyncio.sleep(0.01)

    asyncio.run(call())
    assert took.sum(to="b") >= 0.009


BAD_DEFINITIONS = {
    'Counter("Seen_total", "x")': "expected a name of a metric, small letters, digits and _",
    'Counter("a-b_total", "x")': "expected a name of a metric",
    'Counter("a" * 95 + "_total", "x")': "100 characters at most",
    'Counter("seen", "x")': "expected the name of a counter to end with _total; call it seen_total",
    'Gauge("seen_total", "x")': "does not end with _total",
    'Histogram("x_bucket", "x")': "does not end with _bucket",
    'Gauge("x_count", "x")': "does not end with _count",
    'Gauge("keys", " ")': "documentation: expected a sentence",
    'Gauge("keys", "x" * 4097)': "documentation: expected at most 4096 bytes, got 4097",
    'Gauge("keys", "\\ud800")': "documentation: expected text in Unicode",
    'Gauge("keys", "x", "abc")': "labels: expected a list of names, got 'abc'",
    'Gauge("keys", "x", [1])': "labels: expected a list of names",
    'Gauge("keys", "x", ["A"])': "labels: expected a name of a label, small letters",
    'Gauge("keys", "x", ["__a"])': "labels: expected a name of a label",
    'Gauge("keys", "x", ["policy"])': "expected another name than policy: the gateway sets it itself",
    'Gauge("keys", "x", ["le"])': "expected another name than le",
    'Gauge("keys", "x", ["a", "a"])': "each once, got a, a",
    'Gauge("keys", "x", [f"a{n}" for n in range(11)])': "expected at most 10",
    'Gauge("keys", "x", max_label_sets=0)': "max_label_sets: expected a whole number from 1 to 10000, got 0",
    'Gauge("keys", "x", max_label_sets=True)': "max_label_sets: expected a whole number",
    'Histogram("x_seconds", "x", buckets=[])': "buckets: expected 1 to 100 upper bounds",
    'Histogram("x_seconds", "x", buckets=[1, 1])': "each finite and larger than the one before, got 1, 1",
    'Histogram("x_seconds", "x", buckets=[1, float("inf")])': "got 1, inf",
    'Histogram("x_seconds", "x", buckets=[float("nan")])': "got nan",
    'Histogram("x_seconds", "x", buckets="abc")': "expected a list of numbers, got 'abc'",
}


@pytest.mark.parametrize("definition", BAD_DEFINITIONS)
@pytest.mark.parametrize("is_serving", [False, True])
def test_an_invalid_metric_is_refused(definition: str, is_serving: bool, serve: Serve) -> None:
    if is_serving:
        serve("a:v1.0.0")
    with pytest.raises(MetricError) as caught:
        eval(definition)  # noqa: S307
    assert BAD_DEFINITIONS[definition] in str(caught.value)


@pytest.mark.parametrize("rule", json.loads(RULES.read_text()), ids=str)
def test_the_rules_are_those_of_the_go_sdk(rule: dict[str, Any]) -> None:
    make: Any = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}[rule["kind"]]
    more = {"buckets": rule["buckets"]} if "buckets" in rule else {}
    if rule["ok"]:
        make(rule["name"], "x", rule["labels"], **more)
    else:
        with pytest.raises(MetricError):
            make(rule["name"], "x", rule["labels"], **more)


def test_made_again_it_is_the_same_one() -> None:
    first = Counter("seen_total", "Requests.", ["a"])
    first.inc(a="1")
    again = Counter("seen_total", "Said otherwise.", ["a"])
    assert again is first
    for other in (["b"], []):
        with pytest.raises(MetricError, match="first made, a counter with the labels a; got a different counter"):
            Counter("seen_total", "x", other)
    Histogram("x_seconds", "x", buckets=[1, 2])
    with pytest.raises(MetricError, match="with the labels none and the buckets 1, 2; got a different histogram"):
        Histogram("x_seconds", "x", buckets=[1, 3])
    with pytest.raises(MetricError, match="first made, a histogram"):
        Gauge("x_seconds", "x")


def test_two_policies_have_metrics_of_one_name(registry: Registry, serve: Serve) -> None:
    serve("a:v1.0.0")
    Counter("seen_total", "x").inc()
    serve("b:v1.0.0")
    Counter("seen_total", "x", ["kind"]).inc(2, kind="k")
    found = {metric.policy: [sample.value for sample in metric.samples] for metric in registry.collect()[1]}
    assert found == {"a:v1.0.0": [1], "b:v1.0.0": [2]}


def test_a_metric_made_outside_any_policy(serve: Serve) -> None:
    serve("")
    with pytest.raises(
        MetricError, match="made when the policy's module is imported, or in prepare, got it made elsewhere"
    ):
        Gauge("keys", "x")


def test_a_policy_has_so_many_metrics(serve: Serve) -> None:
    serve("a:v1.0.0")
    for number in range(MAX_METRICS):
        Gauge(f"keys{number}", "x")
    assert Gauge("keys0", "x") is Gauge("keys0", "x")
    with pytest.raises(MetricError, match="at most 200 metrics of one policy"):
        Gauge("more", "x")
    serve("b:v1.0.0")
    Gauge("more", "x")


BAD_OBSERVATIONS: dict[str, str] = {
    "counter.inc(-1, a='x')": "expected a finite number from 0, for a counter only grows, got -1",
    "counter.inc(float('nan'), a='x')": "for a counter only grows, got nan",
    "counter.inc(float('inf'), a='x')": "got inf",
    "counter.inc(10**400, a='x')": "got 1000",
    "counter.inc('2', a='x')": "got '2'",
    "counter.inc(None, a='x')": "got None",
    "counter.inc()": "expected the labels a, got none",
    "counter.inc(b='x')": "expected the labels a, got b",
    "counter.inc(a='x', b='x')": "expected the labels a, got a, b",
    "counter.inc(a=None)": "a: expected text or a whole number, got NoneType",
    "counter.inc(a=[])": "a: expected text or a whole number, got list",
    "counter.inc(a='x' * 257)": "a: expected at most 256 characters, got 257",
    "counter.inc(a='\\udc80')": "a: expected text in Unicode",
    "gauge.set(float('nan'))": "expected a finite number, got nan",
    "gauge.inc(float('-inf'))": "expected a finite number, got -inf",
    "gauge.dec('x')": "expected a finite number, got 'x'",
    "gauge.set(1, a='x')": "expected the labels none, got a",
    "histogram.observe(float('nan'))": "expected a finite number, got nan",
    "histogram.observe('x')": "expected a finite number, got 'x'",
}


def _metrics() -> dict[str, Any]:
    return {
        "counter": Counter("seen_total", "x", ["a"]),
        "gauge": Gauge("keys", "x"),
        "histogram": Histogram("x_seconds", "x"),
    }


@pytest.mark.parametrize("observation", BAD_OBSERVATIONS)
def test_an_invalid_observation_is_an_error_in_tests(observation: str) -> None:
    with pytest.raises(MetricError) as caught:
        eval(observation, _metrics())  # noqa: S307
    assert BAD_OBSERVATIONS[observation] in str(caught.value)


@pytest.mark.parametrize("observation", BAD_OBSERVATIONS)
def test_in_a_gateway_an_invalid_observation_is_counted_and_logged_once(
    observation: str, registry: Registry, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    serve("a:v1.0.0")
    made = _metrics()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            eval(observation, made)  # noqa: S307
    assert len(caplog.records) == 1
    assert BAD_OBSERVATIONS[observation] in caplog.text
    assert sum(metric.refused for metric in registry.collect()[1]) == 3
    assert all(sample.value == 0 for metric in registry.collect()[1] for sample in metric.samples)


def test_label_sets_are_bounded(registry: Registry, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    serve("a:v1.0.0")
    counter = Counter("seen_total", "x", ["path"], max_label_sets=3)
    kept = counter.labels(path="0")
    for number in range(10):
        counter.inc(path=str(number))
    surplus = counter.labels(path="5")
    surplus.inc()
    kept.inc()
    snapshot = collected(registry, "seen_total")
    assert {sample.label_values: sample.value for sample in snapshot.samples} == {("0",): 2, ("1",): 1, ("2",): 1}
    assert snapshot.refused == 8
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "metric seen_total has 3 sets of label values, and drops all others"
    ]


def test_only_what_has_changed_is_collected(registry: Registry) -> None:
    counter, gauge = Counter("one_total", "x"), Gauge("two", "x")
    version, all_of_it = registry.collect()
    assert {metric.name for metric in all_of_it} == {"one_total", "two"}
    assert registry.collect(version) == (version, [])
    gauge.set(1)
    later, changed = registry.collect(version)
    assert later > version
    assert [metric.name for metric in changed] == ["two"]
    counter.inc()
    assert {metric.name for metric in registry.collect(version)[1]} == {"one_total", "two"}
    assert {metric.name for metric in registry.collect()[1]} == {"one_total", "two"}


def test_threads_lose_nothing() -> None:
    counter = Counter("seen_total", "x", ["a"])
    histogram = Histogram("x_seconds", "x")

    def count() -> None:
        for number in range(5000):
            counter.inc(a=str(number % 7))
            histogram.observe(0.001)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counter.value(a=str(number)) for number in range(7)) == 20_000
    assert histogram.count() == 20_000


@given(st.lists(st.tuples(st.sampled_from(["0", "1", 0, 1, True]), st.integers(0, 9)), max_size=30))
def test_a_label_is_its_text(observed: list[tuple[str | int, int]]) -> None:
    expected: dict[str, int] = {}
    gauge = Gauge("given", "x", ["a"])
    gauge.reset()
    for value, amount in observed:
        gauge.inc(amount, a=value)
        expected[str(value)] = expected.get(str(value), 0) + amount
    assert all(gauge.value(a=text) == amount for text, amount in expected.items())


POLICY = """
from sdk.metrics import Counter, Histogram
SEEN = Counter("seen_total", "Requests.", ["method"])
def prepare(params):
    return Histogram("look_up_seconds", "Look-ups.")
def on_request(ctx, params):
    SEEN.inc(method=ctx.method)
    with ctx.prepared.time():
        return None
"""


def test_a_policys_metrics_are_read_in_its_test(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text(POLICY)
    policy = testing.load_policy(str(tmp_path / "test_policy.py"))
    with testing.prepared(policy) as made:
        policy.on_request(testing.request("PUT", prepared=made), testing.params())
    assert policy.SEEN.value(method="PUT") == 1
    assert testing.metric(policy, "look_up_seconds").count() == 1
    with pytest.raises(KeyError, match="a metric of the policy, look_up_seconds, seen_total, got other"):
        testing.metric(policy, "other")
    testing.reset_metrics(policy)
    assert policy.SEEN.value(method="PUT") == testing.metric(policy, "look_up_seconds").count() == 0


def test_a_policy_that_is_loaded_anew_counts_from_0_and_may_have_other_labels(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text(POLICY)
    first = testing.load_policy(str(tmp_path / "test_policy.py"))
    first.SEEN.inc(method="GET")
    (tmp_path / "policy.py").write_text(POLICY.replace('["method"]', '["verb"]').replace("method=", "verb="))
    again = testing.load_policy(str(tmp_path / "test_policy.py"))
    assert again.SEEN.value(verb="GET") == 0
    again.SEEN.inc(verb="GET")
    assert testing.metric(first, "seen_total").value(method="GET") == 1, "expected that of a test file's own module"


def test_policies_of_one_build_that_are_imported_without_a_gateway_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the builder's check imports them, one after the other in one process."""
    for name, label in (("one", "a"), ("two", "b")):
        (tmp_path / "built" / name).mkdir(parents=True)
        source = f'from sdk.metrics import Counter\nSEEN = Counter("seen_total", "x", ["{label}"])\n'
        (tmp_path / "built" / name / "policy.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert all(importlib.import_module(f"built.{name}.policy").SEEN for name in ("one", "two"))
