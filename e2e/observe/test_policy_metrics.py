"""Metrics of a policy's own through a whole gateway: over its processes, a recycle, a reload and a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from e2e.kit.engine_differences import differs_in_envoy
from e2e.kit.gateway import Gateway, api, attach, eventually, running
from e2e.kit.markdown import blocks, page
from e2e.kit.policy_project import PolicyProject
from e2e.kit.scraping import address, scrape
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(240)
COUNTS = """\
import time
from sdk.metrics import Counter, Gauge, Histogram

SEEN = Counter("seen_total", "Requests.", ["method"])
SIZES = Histogram("sizes", "What was asked for.", buckets=[1, 10])

def prepare(params):
    return Gauge("prepared", "Processes that have answered.")

def on_request(ctx, params):
    time.sleep(0.005)  # so that those that come at once go to several processes
    ctx.prepared.set(1)
    SEEN.inc(method=ctx.method)
    SIZES.observe(5)
"""
MODE = "processingMode: {requestHeaderMode: PROCESS}\n"
COUNTED = {"policy": "counts:v1.0.0"}
REQUESTS = 40


class Client:
    """Asks two APIs that attach the policy, several requests at a time, and knows how many it has asked in all."""

    def __init__(self, gateway: Gateway, upstream: Upstream) -> None:
        self.gateway, self.upstream, self.sent = gateway, upstream, 0
        for name in ("one", "two"):
            gateway.deploy(api(name, upstream.url, [attach("counts")]))

    def ask(self, count: int = REQUESTS, method: str = "GET") -> None:
        with httpx.Client() as client, ThreadPoolExecutor(8) as threads:
            urls = [f"{self.gateway.url}/{('one', 'two')[number % 2]}/x" for number in range(count)]
            assert {answer.status_code for answer in threads.map(lambda url: client.request(method, url), urls)} == {
                200
            }
        self.sent += count

    def value(self, name: str, **labels: str) -> float:
        """The value of a metric of the policy in a scrape."""
        return scrape(self.gateway).value(f"gatewright_policy_{name}", **COUNTED, **labels)

    def all_are_counted(self) -> None:
        """Every request once, within the second that it may take, and no other."""
        eventually("all are counted", lambda: self.value("seen_total") >= self.sent, 30)
        assert self.value("seen_total") == self.value("sizes_count") == self.sent

    def restarts(self) -> float:
        return scrape(self.gateway).value("gatewright_process_restarts_total", component="python-executor")

    def pids(self) -> set[int]:
        return {executor["pid"] for executor in self.gateway.executors()}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> PolicyProject:
    policies = PolicyProject(tmp_path_factory.mktemp("project"), "e2e-policy-metrics")
    policies.write_policy("counts", COUNTS, more=MODE)
    policies.write_policy("key-counts", POLICY, more=MODE, test_policy_py=TEST)
    return policies


PAGE = page("docs/how-to/policy-metrics.md")
POLICY, TEST = blocks(PAGE, "python")


@pytest.fixture(scope="module")
def counting_gateway(project: PolicyProject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(None, tmp_path_factory.mktemp("state"), *project.arguments, "--executors", "2") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def client(counting_gateway: Gateway) -> Iterator[Client]:
    with Upstream() as upstream:
        counting_gateway.deploy(api("keys", upstream.url, [attach("key-counts")]))
        yield Client(counting_gateway, upstream)


def test_metrics_of_policies_are_exposed(client: Client) -> None:
    client.ask(6)
    client.ask(4, "POST")
    client.all_are_counted()
    assert client.value("seen_total", method="POST") == 4
    assert client.value("sizes_bucket", le="1") == 0
    assert client.value("sizes_bucket", le="10") == client.sent


def test_counters_are_sums_over_processes_and_gauges_of_live_ones(client: Client) -> None:
    """A killed executor takes its share of a gauge along; its counts stay."""

    def both() -> bool:
        client.ask()
        return client.value("prepared") == 2

    eventually("both processes have set the gauge", both, 60)
    client.all_are_counted()
    victim, before = min(client.pids()), client.restarts()
    os.kill(victim, signal.SIGKILL)
    eventually("its gauge is gone", lambda: client.value("prepared") == 1, 30)
    eventually("another one is there", lambda: len(client.pids() - {victim}) == 2, 30)
    assert client.restarts() == before + 1
    client.all_are_counted()
    client.ask()
    client.all_are_counted()


def test_a_reload_loses_nothing(client: Client, project: PolicyProject) -> None:
    """The processes that leave are asked a last time: what they counted just before is there."""
    before = client.pids()
    client.ask()
    project.write_policy("counts", COUNTS + "\n# changed\n", more=MODE)
    result = client.gateway.reload()
    assert result.returncode == 0, result.stderr
    client.ask()
    eventually("the old processes are gone", lambda: not before & client.pids(), 30)
    client.all_are_counted()
    assert scrape(client.gateway).value("gatewright_reloads_total", result="reloaded") == 1


def test_an_invalid_metric_is_refused(client: Client, project: PolicyProject) -> None:
    project.write_policy("counts", COUNTS.replace('"seen_total"', '"seen"'), more=MODE)
    result = client.gateway.reload()
    project.write_policy("counts", COUNTS, more=MODE)
    assert result.returncode == 1
    assert "error: counts-v1.0.0/policy.py" in result.stderr
    assert "expected the name of a counter to end with _total; call it seen_total" in result.stderr
    client.ask()
    client.all_are_counted()
    assert scrape(client.gateway).value("gatewright_reloads_total", result="refused") == 1


def test_a_recycle_loses_nothing(project: PolicyProject, tmp_path_factory: pytest.TempPathFactory) -> None:
    state = tmp_path_factory.mktemp("recycled")
    with running(None, state, *project.arguments, "--recycle-executions", "100") as gateway, Upstream() as upstream:
        client = Client(gateway, upstream)
        first = client.pids()
        client.ask(100)

        def replaced() -> bool:
            client.ask(8)
            return not first & client.pids()

        eventually("another process serves", replaced, 60)
        client.ask()
        client.all_are_counted()

        def recycled() -> float:
            return scrape(gateway).value("gatewright_executor_recycled_total", reason="executions", group="default")

        eventually("the recycling is counted", lambda: recycled() >= 1, 30)


def test_the_shown_policy_counts_as_documented(client: Client) -> None:
    for headers in ({"x-api-key": "k-2"}, {}, {}):
        assert httpx.get(f"{client.gateway.url}/keys/x", headers=headers).status_code == 401
    (lines,) = [block.splitlines() for block in blocks(PAGE, "text")]
    kinds: set[str] = set()

    def all_are_exposed() -> bool:
        kinds.update(httpx.get(f"http://{address(client.gateway)}/metrics").text.splitlines())
        return set(lines) <= kinds

    eventually("the page's lines are exposed", all_are_exposed, 30)


def test_the_shown_test_of_metrics_passes(project: PolicyProject) -> None:
    folder = project.folder / "key-counts-v1.0.0"
    result = subprocess.run([sys.executable, "-m", "pytest", "-q", folder], capture_output=True, text=True, cwd=folder)
    assert result.returncode == 0, result.stdout
    assert "1 passed" in result.stdout


@differs_in_envoy("The engine's memory is part of Envoy's: `gatewright_process_memory_bytes` of `policy-engine` is 0.")
def test_the_nodes_metrics_include_those_of_policies(client: Client) -> None:
    metrics = scrape(client.gateway)
    sources = {sample.labels["source"]: sample.value for sample in metrics.samples("gatewright_metrics_source_up")}
    assert sources == {"envoy": 1, "supervisor": 1, "controller": 1}
    assert metrics.value("gatewright_process_up", component="python-executor") == 2
    assert metrics.value("gatewright_process_up", component="envoy") == 1
    assert metrics.value("gatewright_process_memory_bytes", component="policy-engine") > 1 << 20
    assert metrics.value("gatewright_controller_apis", state="deployed") == 3
    assert metrics.value("gatewright_controller_nodes") == 1
    assert metrics.value("gatewright_controller_requests_total", route="/v1/apis", method="POST", status="201") == 3
    components = {sample.labels["component"] for sample in metrics.samples("gatewright_build_info")}
    assert components >= {"supervisor", "controller"}
