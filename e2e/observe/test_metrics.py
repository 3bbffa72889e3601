"""The metrics of a node are what its clients have seen: of each operation, policy, phase and failure."""

from __future__ import annotations

import bisect
import gzip
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from e2e.kit.certificates import authority
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, fresh_name, running
from e2e.kit.listening import free_port, write
from e2e.kit.markdown import page
from e2e.kit.scraping import Scrape, address, scrape, scrape_open_metrics
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(180)
GO = attach("add-headers", {"requestHeaders": [{"name": "X-Go", "value": "1"}], "responseHeaders": []})
PYTHON = attach("add-python-header", {"headerName": "X-Python", "headerValue": "1"})
GO_NAME, PYTHON_NAME = "add-headers:v1.0.0", "add-python-header:v1.0.0"
ENVOY_OWN = "gatewright"
"""Envoy's name for the listeners of a Gateway."""


@pytest.fixture(scope="module")
def own_gateway(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that only these tests use."""
    folder = tmp_path_factory.mktemp("metrics")
    with running(build, folder, "--py.hung-seconds", "1") as gateway:
        yield gateway


def count_executions(scrape_result: Scrape, name: str, outcome: str = "ok", **labels: str) -> float:
    return scrape_result.value("gatewright_executions_total", api=name, outcome=outcome, **labels)


def scrape_after(gateway: Gateway, name: str, count: int) -> Scrape:
    """Scrapes once so many exchanges of the API have ended: a client has its answer a moment before."""
    eventually(
        f"{count} exchanges of {name} have ended",
        lambda: scrape(gateway).value("gatewright_exchanges_total", api=name) >= count,
        30,
    )
    return scrape(gateway)


def test_counts_are_those_of_the_clients(own_gateway: Gateway, upstream: Upstream) -> None:
    operations = [{"method": "GET", "path": "/fast"}, {"method": "GET", "path": "/slow"}]
    operations[1]["policies"] = [attach("sleep", {"seconds": 0.15})]  # type: ignore[assignment]
    name = fresh_name("counted")
    own_gateway.deploy(api(name, upstream.url, [GO, PYTHON], operations))
    before = scrape(own_gateway)
    paths = ["/slow" if number % 10 == 0 else "/fast" for number in range(300)]
    durations(own_gateway, [f"/{name}{path}" for path in paths])
    metrics = scrape_after(own_gateway, name, len(paths))
    for path, count in (("/fast", 270), ("/slow", 30)):
        labels = {"api": name, "operation": f"GET {path}"}
        assert metrics.value("gatewright_exchanges_total", result="completed", **labels) == count
        assert metrics.value("gatewright_exchange_duration_seconds_count", **labels) == count
        for policy in (GO_NAME, PYTHON_NAME):
            for phase in ("request", "response"):
                executed_labels = {**labels, "policy": policy, "phase": phase}
                assert metrics.value("gatewright_executions_total", outcome="ok", **executed_labels) == count
                if policy == GO_NAME:
                    assert metrics.value("gatewright_execution_work_seconds_count", **executed_labels) == count
                else:
                    assert metrics.value("gatewright_execution_waiting_seconds_count", **executed_labels) == count
    assert count_executions(metrics, name) == 300 * 4 + 30
    assert metrics.value("gatewright_executions_total", api=name) == 300 * 4 + 30
    through = "envoy_http_downstream_rq_total"
    envoy = {"envoy_http_conn_manager_prefix": ENVOY_OWN}
    assert metrics.value(through, **envoy) - before.value(through, **envoy) == len(paths)


SECONDS_OF_POLICY = {"fast": 0.06, "slow": 0.3}


def durations(gateway: Gateway, paths: list[str]) -> list[float]:
    """Seconds that each request took, by four clients at once."""

    def ask(path: str) -> float:
        begin = time.monotonic()
        assert client.get(path).status_code == 200
        return time.monotonic() - begin

    with httpx.Client(base_url=gateway.url, timeout=30) as client, ThreadPoolExecutor(4) as clients:
        return list(clients.map(ask, paths))


def test_quantiles_are_those_of_the_clients(own_gateway: Gateway, upstream: Upstream) -> None:
    """The quantile lies in the bucket of the clients' quantile, or beside it: a client sees its connection, too. A
    policy takes most of the time, so that a busy machine makes no difference."""
    operations: list[Json] = [{"method": "GET", "path": f"/{name}"} for name in SECONDS_OF_POLICY]
    for operation, seconds in zip(operations, SECONDS_OF_POLICY.values(), strict=True):
        operation["policies"] = [attach("sleep", {"seconds": seconds})]
    name = fresh_name("quantiles")
    own_gateway.deploy(api(name, upstream.url, [GO, PYTHON], operations))
    took = durations(own_gateway, [f"/{name}/{'slow' if number % 10 == 0 else 'fast'}" for number in range(200)])
    metrics = scrape_after(own_gateway, name, len(took))
    histogram = "gatewright_exchange_duration_seconds"
    bounds = metrics.bounds(histogram)
    assert len(bounds) == 15
    for quantile in (0.5, 0.99):
        index = bisect.bisect_left(bounds, sorted(took)[int(quantile * len(took))])
        assert 0 <= index - metrics.quantile(histogram, quantile, bounds, api=name) <= 1


def test_bodies_are_counted(own_gateway: Gateway, upstream: Upstream) -> None:
    own_gateway.deploy(api("bodied", upstream.url, [attach("body-length")]))
    for size in (1, 1000, 200_000):
        assert httpx.post(f"{own_gateway.url}/bodied/x", content=b"x" * size).status_code == 200
    metrics = scrape_after(own_gateway, "bodied", 3)
    assert metrics.value("gatewright_body_bytes_total", api="bodied", direction="request") == 201_001


def test_both_formats_have_the_same_values(own_gateway: Gateway, upstream: Upstream) -> None:
    own_gateway.deploy(api("formats", upstream.url, [GO, PYTHON]))
    assert httpx.get(f"{own_gateway.url}/formats/x").status_code == 200
    scrape_after(own_gateway, "formats", 1)

    def both() -> tuple[Scrape, Scrape]:
        return scrape(own_gateway), scrape_open_metrics(own_gateway)

    def have_the_same_series() -> bool:  # Envoy may make one between the two, such as that of a first connection
        text, metrics = both()
        return text.sample_names() == metrics.sample_names()

    eventually("both have the same series", have_the_same_series)
    text, metrics = both()
    expected = {"gatewright_executions_total", "envoy_http_downstream_rq_xx", "gatewright_generation"}
    assert expected <= metrics.sample_names()
    assert count_executions(metrics, "formats") == count_executions(text, "formats") == 4


def test_envoys_metrics_are_those_chosen(own_gateway: Gateway, upstream: Upstream) -> None:
    """Chosen metrics of each kind are there; others, such as the bytes of every cluster, are not."""
    own_gateway.deploy(api("through", upstream.url))
    assert httpx.get(f"{own_gateway.url}/through/x").status_code == 200
    expected = {
        "envoy_http_downstream_rq_total", "envoy_http_downstream_rq_xx", "envoy_http_downstream_rq_time_bucket",
        "envoy_cluster_upstream_rq_total", "envoy_cluster_upstream_rq_xx", "envoy_cluster_upstream_rq_time_bucket",
        "envoy_cluster_membership_healthy", "envoy_listener_downstream_cx_total", "envoy_server_memory_allocated",
        "envoy_overload_envoy_resource_monitors_fixed_heap_pressure",
    }  # fmt: skip

    eventually(
        "all are exposed", lambda: expected <= scrape(own_gateway).sample_names()
    )  # histograms are exposed some seconds later
    assert (
        not {"envoy_cluster_upstream_cx_rx_bytes_total", "envoy_cluster_manager_cds_version"}
        & scrape(own_gateway).sample_names()
    )


FAILURES: dict[str, tuple[Json, Json, int]] = {
    "timeout": (attach("sleep", {"seconds": 2.5}, timeout="100ms"), {}, 504),
    "exception": (attach("misbehave", {"when": "request", "how": "raise"}), {}, 500),
    "badAction": (attach("misbehave", {"when": "request", "how": "string"}), {}, 500),
    "crashed": (attach("faulty", {"how": "exit"}), {}, 503),
    "bodyTooLarge": (attach("body-length", maxBodyBytes=10), {"content": b"x" * 11}, 413),
    "badBody": (
        attach("body-length"),
        {"content": gzip.compress(b"x")[:-9], "headers": {"content-encoding": "gzip"}},
        415,
    ),
}
"""Class → the attachments, the request, the status of the answer."""


@pytest.mark.parametrize("failure", FAILURES)
def test_failures_are_counted_by_their_class(own_gateway: Gateway, upstream: Upstream, failure: str) -> None:
    attached, request, status = FAILURES[failure]
    name = f"fails-{failure.lower()}"
    own_gateway.deploy(api(name, upstream.url, [attached]))
    assert httpx.post(f"{own_gateway.url}/{name}/x", timeout=30, **request).status_code == status
    metrics = scrape_after(own_gateway, name, 1)
    assert count_executions(metrics, name, failure, phase="request") == 1
    assert metrics.value("gatewright_executions_total", api=name) == 1
    assert metrics.value("gatewright_exchanges_total", api=name, result="completed") == 1


def test_failures_that_the_exchange_survives_are_counted_too(own_gateway: Gateway, upstream: Upstream) -> None:
    raises = attach("misbehave", {"when": "request", "how": "raise"}, onError="continue")
    own_gateway.deploy(api("goes-on", upstream.url, [raises]))
    assert httpx.get(f"{own_gateway.url}/goes-on/x").status_code == 200
    metrics = scrape_after(own_gateway, "goes-on", 1)
    assert count_executions(metrics, "goes-on", "exception", phase="request") == 1
    assert count_executions(metrics, "goes-on", phase="response") == 1
    assert metrics.value("gatewright_executions_continued_total", api="goes-on") == 1


def test_shed_requests_are_counted(own_gateway: Gateway, upstream: Upstream) -> None:
    """One request holds the only slot; the queue behind it has no room."""
    sleeping = attach("sleep", {"seconds": 3}, timeout="20s", maxConcurrency=1)
    own_gateway.deploy(api("shed", upstream.url, [sleeping]))

    def ask(_: int) -> int:
        return httpx.get(f"{own_gateway.url}/shed/x", timeout=60).status_code

    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(ask, range(16)))
    metrics = scrape_after(own_gateway, "shed", 16)
    assert count_executions(metrics, "shed", "overloaded") == answers.count(503) > 0
    assert count_executions(metrics, "shed") == answers.count(200) > 0


def test_a_client_that_goes_away_is_counted(own_gateway: Gateway, upstream: Upstream) -> None:
    own_gateway.deploy(api("leaves", upstream.url, [attach("sleep", {"seconds": 2}, timeout="20s")]))
    with socket.create_connection(("127.0.0.1", own_gateway.port)) as client:
        client.sendall(b"GET /leaves/x HTTP/1.1\r\nhost: a\r\n\r\n")
        eventually("the policy runs", lambda: own_gateway.is_busy("leaves"))
    metrics = scrape_after(own_gateway, "leaves", 1)
    assert metrics.value("gatewright_exchanges_total", api="leaves", result="cancelled") == 1
    assert count_executions(metrics, "leaves", "cancelled") == 1


def unavailable(gateway: Gateway, name: str) -> bool:
    """Whether one more request has found no executor, or one before."""
    assert httpx.get(f"{gateway.url}/{name}/x").status_code == 503
    return count_executions(scrape(gateway), name, "unavailable") > 0


def test_counts_outlive_the_executor_and_its_absence_is_counted(own_gateway: Gateway, upstream: Upstream) -> None:
    """A paused supervisor restarts no executor. Envoy cannot be scraped then either; all other metrics are exposed."""
    gateway, name = own_gateway, fresh_name("outlives")
    gateway.deploy(api(name, upstream.url, [PYTHON]))
    for _ in range(5):
        assert httpx.get(f"{gateway.url}/{name}/x").status_code == 200
    assert count_executions(scrape_after(gateway, name, 5), name) == 10
    eventually("one executor runs", lambda: len(gateway.executors()) == 1)
    (executor,) = gateway.executors()
    os.kill(gateway.process.pid, signal.SIGSTOP)
    try:
        gateway.kill(executor["name"])
        eventually("the engine knows that no executor runs", lambda: unavailable(gateway, name), 30)
        metrics = scrape(gateway)
        assert count_executions(metrics, name) == 10
        assert metrics.value("gatewright_metrics_source_up", source="envoy") == 0
        failing = json.loads(gateway.admin("engine", "/stats"))["metricsFailing"]
        assert failing == dict.fromkeys(("envoy", "supervisor"), "no answer within 1s")
    finally:
        os.kill(gateway.process.pid, signal.SIGCONT)
    eventually("it is back", lambda: httpx.get(f"{gateway.url}/{name}/x").status_code == 200, 30)
    eventually("all of it is counted", lambda: count_executions(scrape(gateway), name) == 12)
    assert scrape(gateway).value("gatewright_metrics_source_up", source="envoy") == 1
    assert "metricsFailing" not in json.loads(gateway.admin("engine", "/stats"))


@pytest.mark.slow("the chains before are kept for half a minute")
def test_the_series_of_a_deleted_api_disappear(own_gateway: Gateway, upstream: Upstream) -> None:
    own_gateway.deploy(api("goes", upstream.url, [GO]))
    assert httpx.get(f"{own_gateway.url}/goes/x").status_code == 200
    assert count_executions(scrape_after(own_gateway, "goes", 1), "goes") == 2
    with own_gateway.controller() as client:
        assert client.delete("/v1/apis/goes").status_code in (200, 204)

    address_of_metrics = f"http://{address(own_gateway)}/metrics"
    assert 'api="goes"' in httpx.get(address_of_metrics).text
    eventually("its series are gone", lambda: 'api="goes"' not in httpx.get(address_of_metrics).text, 90)


@pytest.fixture(scope="module")
def listing_gateway(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with few series, listeners with TLS (one of them with a damaged certificate), an access log of the
    clients' identities, and an export of its state."""
    folder = tmp_path_factory.mktemp("listing")
    signer = authority(folder)
    (chain, key), (damaged, its_key) = signer.issue("web", "127.0.0.1"), signer.issue("damaged", "127.0.0.1")
    damaged.write_text("hello")
    https = {"name": "https", "port": free_port(), "protocol": "https", "tls": {"certificates": ["web"]}}
    closed = {"name": "closed", "port": free_port(), "protocol": "https", "tls": {"certificates": ["damaged"]}}
    fields = {"path": "path", "user": "identitySubject", "by": "identityIssuer", "how": "identityMethod"}
    spec = {
        "certificates": {
            "web": {"certificateFile": str(chain), "keyFile": str(key)},
            "damaged": {"certificateFile": str(damaged), "keyFile": str(its_key)},
        },
        "accessLog": {"fields": fields},
        "metrics": {"maxSeries": MOST_SERIES},
    }
    file = write(folder / "gateway.yaml", {"name": "http"}, https, closed, **spec)
    options = ("--gateway", str(file), "--py.hung-seconds", "1", "--py.workers", "64", "--pe.quarantine-deaths", "1")
    state_key = folder / "state-key.pem"
    subprocess.run(["gatewright", "state", "key", "-o", str(state_key)], check=True, capture_output=True)
    export = "--state-key", str(state_key), "--state-export", str(folder / "exported")
    with running(build, folder / "state", *options, *export) as gateway:
        yield gateway


MOST_SERIES = 100


def test_more_operations_than_series_stay_within_the_bound(listing_gateway: Gateway, upstream: Upstream) -> None:
    gateway, operations = listing_gateway, 3 * MOST_SERIES
    attached_operations = [{"method": "GET", "path": f"/{number}"} for number in range(operations // 2)]
    names = fresh_name("first"), fresh_name("second")
    for name in names:
        gateway.deploy(api(name, upstream.url, [GO], attached_operations))
    before = scrape(gateway)
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        for number in range(operations):
            assert client.get(f"/{names[number % 2]}/{number // 2}").status_code == 200
    exchanges = "gatewright_exchanges_total"
    expected = before.value(exchanges) + operations
    eventually("all are counted", lambda: scrape(gateway).value(exchanges) >= expected, 30)
    metrics = scrape(gateway)
    for name, count in {
        exchanges: operations,
        "gatewright_exchange_duration_seconds_count": operations,
        "gatewright_executions_total": 2 * operations,
        "gatewright_execution_work_seconds_count": 2 * operations,
    }.items():
        samples = list(metrics.samples(name))
        assert len(samples) <= MOST_SERIES, name
        assert sum(sample.value for sample in samples) - before.value(name) == count, name
        assert metrics.value(name, api="other", operation="other") > 0, name


ROW = re.compile(r"^\| `(gatewright_\w+)` \|([^|]*)\| (counter|gauge|histogram)\b", re.MULTILINE)


def documented_metrics() -> dict[str, tuple[str, set[str]]]:
    """Name → type and labels."""
    rows = ROW.findall(page("docs/reference/metrics.md"))
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, labels, kind in rows if name not in ELSEWHERE}


ELSEWHERE = {
    "gatewright_executor_recycled_total",
    "gatewright_metric_observations_refused_total",
    "gatewright_plan_exchanges_total",
    *(
        f"gatewright_controller_gateway_api_{name}"
        for name in ("leader", "last_sync_timestamp_seconds", "objects", "refused_documents", "status_writes_total")
    ),
}
"""Metrics without series in the gateway of that test: see test_policy_metrics.py, internal/policymetrics,
e2e/policies/test_consumers.py and the controller's tests/kubernetes/test_metrics.py."""


def exposed_metrics(scrape_result: Scrape) -> dict[str, tuple[str, set[str]]]:
    """The metrics that a gateway exposes, in the same form, without those that its policies count."""
    names: dict[str, tuple[str, set[str]]] = {}
    for family in scrape_result.families.values():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        if name.startswith("gatewright_") and not name.startswith("gatewright_policy_llm_"):
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            names[name] = (family.type, labels)
    return names


@pytest.mark.slow("a gateway that has been through all that has metrics")
def test_the_page_lists_the_metrics_of_a_gateway(listing_gateway: Gateway, upstream: Upstream) -> None:
    """Every event has happened there that a metric needs to be exposed."""
    gateway = listing_gateway
    gateway.deploy(api("lists", upstream.url, [GO, PYTHON, attach("body-length")]))
    assert httpx.post(f"{gateway.url}/lists/x", content=b"x").status_code == 200
    goes_on = attach("misbehave", {"when": "request", "how": "raise"}, onError="continue")
    gateway.deploy(api("goes-on", upstream.url, [goes_on]))
    assert httpx.get(f"{gateway.url}/goes-on/x").status_code == 200
    gateway.deploy(api("skips", upstream.url, [GO | {"when": 'request.method == "PUT"'}]))
    assert httpx.get(f"{gateway.url}/skips/x").status_code == 200
    gateway.deploy(api("shadowed", upstream.url, [attach("body-length", mode="shadow")]))
    assert httpx.post(f"{gateway.url}/shadowed/x", content=b"x").status_code == 200
    gateway.deploy(api("identifies", upstream.url, [attach("identify")], [{"method": "GET", "path": "/{user}"}]))
    assert httpx.get(f"{gateway.url}/identifies/ann").status_code == 200
    eventually("the access log has the line", lambda: gateway.access_records("identifies"))
    (line,) = gateway.access_records("identifies")
    assert (line["user"], line["by"], line["how"]) == ("ann", "the path", "path")
    gateway.deploy(api("crashes", upstream.url, [attach("faulty", {"how": "exit"})]))
    assert httpx.get(f"{gateway.url}/crashes/x").status_code == 503
    gateway.deploy(api("hangs", upstream.url, [attach("sleep", {"seconds": 60}, timeout="100ms")]))
    assert httpx.get(f"{gateway.url}/hangs/x").status_code == 504
    assert httpx.get(f"{gateway.url}/nowhere").status_code == 404
    eventually("all of it is told", lambda: documented_metrics().keys() <= exposed_metrics(scrape(gateway)).keys(), 30)
    assert exposed_metrics(scrape(gateway)) == documented_metrics()
