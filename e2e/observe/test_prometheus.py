"""A real Prometheus scrapes a gateway under load and through every fault that an alert is for: what deploy/ asks of it
has answers, alerts fire, and figures are those that the load generator counted."""

from __future__ import annotations

import math
import re
import shlex
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.kit.gateway import eventually
from e2e.kit.listening import free_port
from e2e.kit.markdown import PAGES, blocks, page
from e2e.kit.pebble import program
from e2e.kit.places import ROOT
from e2e.kit.policy_project import PolicyProject
from e2e.kit.prometheus import deployed
from e2e.kit.prometheus.server import prometheus, wait_for
from e2e.kit.upstream import Upstream
from e2e.observe import watched, watched_policies
from e2e.observe.watched import Faults, Watched

pytestmark = pytest.mark.timeout(1800)  # where Prometheus has to be compiled first
NATIVE_ONLY = {"always_scrape_classic_histograms": False}
TEXT = {
    "scrape_native_histograms": False,
    "always_scrape_classic_histograms": False,
    "scrape_protocols": ["PrometheusText0.0.4"],
}
JOBS = ("gatewright", "gatewright-native", "gatewright-text")
OWN = {
    "job": "gatewright",
    "counter": "gatewright_policy_seen_total",
    "histogram": "gatewright_policy_pause_seconds",
    "gauge": "gatewright_policy_latest_pause_seconds",
}
WINDOW = "1m"
NATIVE_FACTOR = 1.1
MEASURING_SECONDS = 0.002
"""The most by which the executor's clock may exceed the policy's own, which it includes."""


@pytest.fixture(scope="module")
def watched_node(tool: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Runs the load and the faults once, for all tests."""
    folder = tmp_path_factory.mktemp("watched")
    project = PolicyProject(folder, "e2e-prometheus", go=("log-message", "add-headers"))
    watched_policies.write(project)
    with Upstream() as upstream, watched.gateway_with_tls(folder, project) as (gateway, admin):
        config = deployed.configuration(folder, admin, native=NATIVE_ONLY, text=TEXT)
        with prometheus(folder, config) as server:
            watched_gateway = Watched(gateway, server, [], [], time.time())
            watched.deploy(gateway, upstream)
            watched_gateway.counted = watched.count(gateway, tool)
            watched_gateway.paced = watched.pace(gateway)
            wait_until_scraped(watched_gateway)
            watched_gateway.calm = time.time()
            Faults(gateway, server, upstream, project, tool).run()
            (folder / "log").write_text("\n".join(gateway.log))
            gateway.stop()
            eventually("the node's end is noticed", lambda: "GatewrightNodeDown" in watched.firing(server), 60)
            watched_gateway.ended = time.time()
            yield watched_gateway


def wait_until_scraped(watched_gateway: Watched) -> None:
    """Waits until Prometheus has the last of the counted requests in each job, and the policy's own counts, which the
    engine collects once a second."""
    sent = len(watched_gateway.counted) + len(watched_gateway.paced)
    exchanges = f"sum by (job) (gatewright_exchanges_total) >= {sent}"
    executed = 'sum by (job) (gatewright_executions_total{policy="paced:v1.0.0", phase="request", outcome="ok"})'
    condition = f"sum by (job) (gatewright_policy_seen_total) == {executed}"
    wait_for(watched_gateway.prometheus, exchanges, len(JOBS))
    wait_for(watched_gateway.prometheus, condition, len(JOBS))


# ------------------------------------------------------------------ what deploy/ asks


def queries_without_data(watched_node: Watched, **choices: str) -> list[str]:
    """The queries of the dashboard that have had no answer in all the time."""
    empty_queries = [
        query
        for query in deployed.queries(OWN | {"__rate_interval": WINDOW} | choices)
        if not watched_node.prometheus.query_range(query.expression, watched_node.started, watched_node.ended, 1.0)
    ]
    return [f"{query.panel}, {query.legend}: {query.expression}" for query in empty_queries]


def test_every_query_of_the_dashboard_returns_data(watched_node: Watched) -> None:
    assert queries_without_data(watched_node) == []


@pytest.mark.parametrize("job", ["gatewright-native", "gatewright-text"])
def test_the_dashboard_works_with_native_or_classic_histograms_alone(watched_node: Watched, job: str) -> None:
    histogram = {} if job == "gatewright-text" else {"histogram": OWN["histogram"]}
    assert queries_without_data(watched_node, job=job, **histogram) == []
    classic = watched_node.prometheus.query_range(
        f'gatewright_execution_work_seconds_bucket{{job="{job}"}}', watched_node.started, watched_node.ended, 1.0
    )
    assert bool(classic) is (job == "gatewright-text")


def test_every_rule_is_evaluated_and_records_something(watched_node: Watched) -> None:
    rules = watched_node.prometheus.rules()
    assert {rule["name"] for rule in rules} == {
        rule.get("record") or rule["alert"] for rule in [*deployed.recordings(), *deployed.alerts()]
    }
    assert [rule for rule in rules if rule["health"] != "ok" or rule.get("lastError")] == []
    recorded = [rule["record"] for rule in deployed.recordings()]
    empty = [
        name
        for name in recorded
        if not watched_node.prometheus.query_range(name, watched_node.started, watched_node.ended, 1.0)
    ]
    assert empty == []


def test_every_alert_fires_where_its_fault_is(watched_node: Watched) -> None:
    query = 'max by (alertname, severity) (max_over_time(ALERTS{alertstate="firing", job=~"gatewright|"}[1h]))'
    fired = {series.labels["alertname"]: series.labels["severity"] for series in watched_node.prometheus.query(query)}
    assert fired == {rule["alert"]: rule["labels"]["severity"] for rule in deployed.alerts()}


def test_alerts_name_their_api_policy_or_target(watched_node: Watched) -> None:
    query = 'max by (alertname, api, policy, component, name) (max_over_time(ALERTS{alertstate="firing"}[1h]))'
    about = {
        (series.labels["alertname"], *(series.labels.get(key, "") for key in ("api", "policy", "component", "name")))
        for series in watched_node.prometheus.query(query)
    }
    for alert in (
        ("GatewrightPolicyFails", "failing", "fails:v1.0.0", "", ""),
        ("GatewrightPolicyQuarantined", "crashing", "crashes:v1.0.0", "", ""),
        ("GatewrightOverloaded", "slow", "slow:v1.0.0", "", ""),
        ("GatewrightPolicySlow", "slow", "slow:v1.0.0", "", ""),
        ("GatewrightExecutionsHang", "", "hangs:v1.0.0", "", ""),
        ("GatewrightUpstreamFails", "away", "", "", ""),
        ("GatewrightProcessDown", "", "", "controller", ""),
        ("GatewrightCertificateEndsToday", "", "", "", watched.CERTIFICATE),
    ):
        assert alert in about
    innocent = {"go", "paced", "measured", "passing"}
    of_the_machine = {"GatewrightPolicyWaits", "GatewrightPolicySlow"}  # a busy machine delays every policy
    allowed = {"GatewrightPolicyFails", *of_the_machine}
    assert not [(alert, api) for alert, api, *_ in about if api in innocent and alert not in allowed]


# ------------------------------------------------------------------ figures


def value_at(watched_node: Watched, query: str) -> float:
    """The value of a query after the counted requests and before the faults."""
    return watched_node.prometheus.value(query, watched_node.calm)


def test_exchanges_are_those_that_the_load_generator_counted(watched_node: Watched) -> None:
    requests = Counter(answer.flow for answer in watched_node.counted) + Counter({"measured": len(watched_node.paced)})
    assert requests == {"go": 400, "paced": 200, "failing": 200, "measured": len(watched.PAUSES)}
    for job in JOBS:
        for api, number in requests.items():
            labels = f'job="{job}", api="{api}", result="completed"'
            assert value_at(watched_node, f"sum(gatewright_exchanges_total{{{labels}}})") == number


OUTCOMES = {200: "ok", 500: "exception", 503: "overloaded"}
"""An answer shows the outcome of its one execution; on a busy machine some are refused."""


@pytest.mark.parametrize("api", ["go", "paced", "failing"])
def test_executions_are_those_of_the_answers(watched_node: Watched, api: str) -> None:
    answers = Counter(OUTCOMES[answer.status] for answer in watched_node.counted if answer.flow == api)
    assert answers["exception" if api == "failing" else "ok"] > 100
    query = f'sum by (phase, outcome) (gatewright_executions_total{{job="gatewright", api="{api}"}})'
    executions = {
        (series.labels["phase"], series.labels["outcome"]): series.value
        for series in watched_node.prometheus.query(query, watched_node.calm)
    }
    last = "request" if api == "failing" else "response"
    for outcome in ("exception", "overloaded"):
        assert executions.get(("request", outcome), 0) + executions.get(("response", outcome), 0) == answers[outcome]
    assert executions.get((last, "ok"), 0) == answers["ok"]
    assert sum(value for (phase, _), value in executions.items() if phase == "request") == answers.total()


def test_statuses_are_those_of_the_answers(watched_node: Watched) -> None:
    answers = Counter(f"{answer.status // 100}" for answer in watched_node.counted) + Counter(
        {"2": len(watched_node.paced)}
    )
    query = 'sum by (envoy_response_code_class) (envoy_http_downstream_rq_xx{job="gatewright"})'
    exchanges = {
        series.labels["envoy_response_code_class"]: series.value
        for series in watched_node.prometheus.query(query, watched_node.calm)
    }
    assert exchanges == answers


def test_a_policys_own_counter_has_the_number_of_its_requests(watched_node: Watched) -> None:
    query = 'sum by (policy, kind) (gatewright_policy_seen_total{job="gatewright"})'
    counts = {
        (series.labels["policy"], series.labels["kind"]): series.value
        for series in watched_node.prometheus.query(query, watched_node.calm)
    }
    executed = 'gatewright_executions_total{job="gatewright", api="paced", phase="request", outcome="ok"}'
    quick = value_at(watched_node, f"sum({executed})")
    assert counts == {("paced:v1.0.0", "quick"): quick, ("paced:v1.0.0", "slow"): len(watched_node.paced)}
    assert value_at(watched_node, 'sum(gatewright_policy_pause_seconds_count{job="gatewright"})') == quick + len(
        watched_node.paced
    )
    pauses = sum(watched.PAUSES)
    assert value_at(watched_node, 'sum(gatewright_policy_pause_seconds_sum{job="gatewright"})') == pytest.approx(pauses)


SHARES = (0.5, 0.85, 0.97)


def test_quantiles_of_work_lie_in_the_bucket_that_the_policy_itself_measured(watched_node: Watched) -> None:
    bounds = bucket_bounds(watched_node, "gatewright_execution_work_seconds_bucket")
    labels = 'api="measured", phase="request"'
    for share in SHARES:
        exact = quantile([request.worked for request in watched_node.paced], share)
        classic = f'sum by (le) (gatewright_execution_work_seconds_bucket{{job="gatewright", {labels}}})'
        low, high = bucket_of(exact, bounds)
        assert low <= value_at(watched_node, f"histogram_quantile({share}, {classic})") <= high, (share, exact)
        native = f'sum(gatewright_execution_work_seconds{{job="gatewright-native", {labels}}})'
        estimate = value_at(watched_node, f"histogram_quantile({share}, {native})")
        assert exact / NATIVE_FACTOR <= estimate <= exact * NATIVE_FACTOR + MEASURING_SECONDS, (share, exact)


def quantile(values: list[float], share: float) -> float:
    """As Prometheus ranks: the first value that so many do not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def bucket_bounds(watched_node: Watched, metric: str) -> list[float]:
    buckets = watched_node.prometheus.query(f"group by (le) ({metric})", watched_node.calm)
    return sorted(float(bucket.labels["le"]) for bucket in buckets)


def bucket_of(value: float, bounds: list[float]) -> tuple[float, float]:
    above = next(index for index, bound in enumerate(bounds) if value <= bound)
    return (bounds[above - 1] if above else 0.0), bounds[above]


@pytest.mark.parametrize("api", ["go", "paced", "measured"])
def test_quantiles_of_exchanges_are_those_of_clients_within_a_bucket(watched_node: Watched, api: str) -> None:
    """A client's clock has the way to Envoy and back in it, so that the engine's quantile is never above its bucket."""
    bounds = bucket_bounds(watched_node, "gatewright_exchange_duration_seconds_bucket")
    metric = f'gatewright_exchange_duration_seconds_bucket{{job="gatewright", api="{api}"}}'
    took = [request.took for request in watched_node.paced] if api == "measured" else []
    took += [answer.took for answer in watched_node.counted if answer.flow == api]
    for share in SHARES:
        exact = quantile(took, share)
        low, high = bucket_of(exact, bounds)
        low, _ = bucket_of(low, bounds)
        assert low <= value_at(watched_node, f"histogram_quantile({share}, sum by (le) ({metric}))") <= high, (
            share,
            exact,
        )


# ------------------------------------------------------------------ docs/how-to/alerts-that-matter.md


PAGE = page("docs/how-to/alerts-that-matter.md")


def test_every_alert_has_its_section() -> None:
    anchors = {heading.lower() for heading in re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)}
    for rule in deployed.alerts():
        path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert (ROOT / path).read_text() == PAGE
        assert anchor in anchors
        assert f"`{rule['alert']}`" in PAGE or rule["alert"].lower() == anchor
        assert rule["annotations"].keys() == {"summary", "description", "action", "runbook_url"}
    assert len(anchors) == len({rule["annotations"]["runbook_url"] for rule in deployed.alerts()})


def test_every_query_of_the_page_returns_data(watched_node: Watched) -> None:
    queries = blocks(PAGE, "promql")
    assert len(queries) > 10
    empty = [
        query
        for query in queries
        if not watched_node.prometheus.query_range(query, watched_node.started, watched_node.ended, 1.0)
    ]
    assert empty == []


def test_the_commands_of_the_page_run(watched_node: Watched, tmp_path: Path) -> None:
    (setup, firing) = blocks(PAGE, "sh")
    check, start = setup.splitlines()
    assert "SUCCESS" in run(check)
    listen, data = f"--web.listen-address=127.0.0.1:{free_port()}", f"--storage.tsdb.path={tmp_path}"
    command = start.replace("--web.listen-address=127.0.0.1:9095", f"{listen} {data}")
    with subprocess.Popen(
        [program("prometheus"), *shlex.split(command)[1:]], cwd=ROOT, stderr=subprocess.PIPE
    ) as server:
        assert server.stderr
        assert any(b"Server is ready" in line for line in server.stderr)
        server.kill()
    assert "GatewrightNodeDown" in run(firing.strip().replace("http://127.0.0.1:9095", watched_node.prometheus.url))


def run(command: str) -> str:
    """The output of a promtool command, run in the repository."""
    words = shlex.split(command)
    assert words[0] == "promtool"
    result = subprocess.run([program("promtool"), *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


# ------------------------------------------------------------------ files


def test_promtool_accepts_the_configuration_and_the_rules() -> None:
    assert "SUCCESS" in run("promtool check config --lint=all --lint-fatal deploy/prometheus/prometheus.yaml")


def test_shown_configurations_are_valid_for_prometheus(tmp_path: Path) -> None:
    configurations = [
        block for path in PAGES for block in blocks(path.read_text(), "yaml") if "scrape_configs:" in block
    ]
    assert configurations
    for index, block in enumerate(configurations):
        (tmp_path / f"{index}.yaml").write_text(block)
        assert "SUCCESS" in run(f"promtool check config {tmp_path / f'{index}.yaml'}")


def test_unit_tests_of_the_rules_pass() -> None:
    assert "SUCCESS" in run("promtool test rules deploy/prometheus/rules/tests.yaml")


def test_every_alert_has_a_test_of_its_own() -> None:
    tests = (deployed.RULES / "tests.yaml").read_text()
    expected = re.findall(r"ALERTS\{alertname=\"(\w+)\", alertstate=\"firing\", severity", tests)
    assert set(expected) == {rule["alert"] for rule in deployed.alerts()}
