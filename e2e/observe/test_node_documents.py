"""The documents of a node are the same through the controller and at its own sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from e2e.kit.gateway import Gateway, api, attach, eventually, fresh_name
from e2e.kit.scraping import Scrape, scrape
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(120)
PYTHON = attach("add-python-header", {"headerName": "X-Python", "headerValue": "1"})


@pytest.fixture
def management(gateway: Gateway) -> Iterator[httpx.Client]:
    with gateway.controller() as client:
        yield client


def only_node(management: httpx.Client) -> str:
    (node,) = management.get("/v1/nodes").json()["nodes"]
    assert node["documents"] == ["chains", "clusters", "metrics", "notes", "stats"]
    assert management.get(f"/v1/nodes/{node['id']}").json() == node
    return f"/v1/nodes/{node['id']}"


def test_documents_are_those_of_the_node(gateway: Gateway, management: httpx.Client, upstream: Upstream) -> None:
    name = fresh_name("documents")
    gateway.deploy(api(name, upstream.url, [PYTHON]))
    for _ in range(7):
        assert httpx.get(f"{gateway.url}/{name}/x").status_code == 200
    node = only_node(management)

    def node_metrics() -> Scrape:
        answer = management.get(f"{node}/metrics")
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
        return Scrape(answer.text)

    names = ("gatewright_exchanges_total", "gatewright_executions_total")
    eventually("all are counted", lambda: node_metrics().value("gatewright_exchanges_total", api=name) == 7)
    own = scrape(gateway)
    totals = node_metrics()
    assert totals.families.keys() == own.families.keys()
    assert [totals.value(metric, api=name) for metric in names] == [7, 14]
    assert [own.value(metric, api=name) for metric in names] == [7, 14]
    for source in ("envoy", "supervisor", "controller"):
        assert totals.value("gatewright_metrics_source_up", source=source) == 1

    def executed() -> list[tuple[str, int]]:
        """A document may be a second old: an earlier test has requested it, too."""
        stats = management.get(f"{node}/stats").json()
        assert stats.keys() == json.loads(gateway.admin("engine", "/stats")).keys()
        policies = stats["policies"]
        return [(policy["policy"], policy["executions"]) for policy in policies if policy["api"] == name]

    eventually("its executions are in the document", executed, 10)
    assert {policy for policy, _ in executed()} == {"add-python-header:v1.0.0"}
    assert sum(executions for _, executions in executed()) == 14
    for kind in ("chains", "clusters"):
        document = management.get(f"{node}/{kind}").json()
        assert document == json.loads(gateway.admin("engine", f"/{kind}"))
        assert name in json.dumps(document)
    assert name not in json.dumps(management.get(f"{node}/notes").json())
    gateway.remove(name)


def test_many_readers_cost_the_node_as_much_as_one(management: httpx.Client) -> None:
    node = only_node(management)
    before = management.get(f"{node}/stats").json()

    def ask(_: int) -> bytes:
        return management.get(f"{node}/stats").content

    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(ask, range(64)))
    assert len(set(answers)) < 64, "expected answers to be shared"
    assert all(json.loads(answer)["node"]["revision"] >= before["node"]["revision"] for answer in answers)


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/nodes/nobody", 404), ("/v1/nodes/nobody/stats", 404), ("/v1/nodes/nobody/metrics", 404)],
)
def test_an_unknown_node_is_a_404(management: httpx.Client, path: str, status: int) -> None:
    answer = management.get(path)
    assert (answer.status_code, "no node nobody is connected" in answer.json()["detail"]) == (status, True)


def test_requests_without_the_token_are_refused(management: httpx.Client) -> None:
    address = f"{str(management.base_url).rstrip('/')}{only_node(management)}"
    for name in ("", "/metrics", "/stats", "/chains", "/clusters", "/notes"):
        assert httpx.get(f"{address}{name}").status_code == 401
