"""The pages of nodes, and the overview: what they say is how the gateway is, loud where something is wrong."""

from __future__ import annotations

import functools
import re

import httpx
import pytest
from playwright.sync_api import Page, Request, expect

from e2e.inspector.accessibility import check_looks
from e2e.inspector.chromium import WIDE
from e2e.inspector.conftest import Looking, Pretended
from e2e.inspector.lone_controller import LoneController
from e2e.inspector.pages import figure, show, table, trouble_titles, wait_for_charts
from e2e.inspector.pretended_node import PretendedNode
from e2e.inspector.sample import ask_each
from e2e.inspector.sample_documents import UNWELL, llm_metrics, unwell, well
from e2e.inspector.screenshots import Screenshots
from e2e.kit.gateway import Gateway, eventually
from e2e.kit.scraping import scrape

pytestmark = pytest.mark.timeout(240)


# ---------------------------------------------------------------- a node that is well


def test_a_nodes_documents_are_shown(page: Page, gateway: Gateway) -> None:
    ask_each(gateway)
    with gateway.controller() as client:
        node = client.get("/v1/nodes/node-1").json()
        stats = client.get("/v1/nodes/node-1/stats").json()
    show(page, "#/nodes")
    line = table(page, "Nodes").get_by_role("row").filter(has=page.get_by_role("link", name="node-1"))
    cells = line.locator("th, td")
    served, (executor,) = len(node["apis"]), stats["executors"]
    expect(cells.nth(2)).to_have_text(node["engineVersion"])
    expect(cells.nth(4)).to_have_text(re.compile(rf"^{served} of \d+$"))
    expect(cells.nth(5)).to_have_text("1")
    expect(cells.nth(6)).to_have_text(re.compile(rf"^\d+ of {executor['workers']}$"))
    expect(cells.nth(10)).to_have_text("1")
    page.get_by_role("link", name="node-1").last.click()
    expect(page).to_have_url(re.compile("#/nodes/node-1$"))
    group = table(page, "Executors of group default")
    expect(group.get_by_role("row").nth(1)).to_contain_text(f"pid {gateway.executors()[0]['pid']}")
    expect(figure(page, "APIs served")).to_contain_text(re.compile(rf"^{served} of \d+"))
    expect(page.get_by_text(f"http://{stats['listener']}/metrics")).to_be_visible()
    for api in node["apis"]:
        expect(table(page, "APIs").get_by_role("row").filter(has_text=api["name"]).first).to_contain_text("deployed")
    processes = table(page, "Processes")
    for component in ("supervisor", "controller", "python-executor", "policy-engine", "envoy"):
        expect(processes.get_by_role("row").filter(has_text=component)).to_contain_text(re.compile("ready.*MiB"))
    expect(table(page, "Policies of the build").get_by_role("row")).to_have_count(len(node["policies"]) + 1)


def test_the_overview_counts_exchanges(page: Page, gateway: Gateway) -> None:
    """Requests and errors as a client sees them, while it sends them."""
    show(page, "#/")
    expect(table(page, "APIs")).to_be_visible()
    wait_for_charts(page)
    before = scrape(gateway)
    names = ("envoy_http_downstream_rq_total", "envoy_http_downstream_rq_xx")

    def counted() -> tuple[float, float]:
        now = scrape(gateway)
        failed = {"envoy_response_code_class": "5"}
        return now.value(names[0]) - before.value(names[0]), now.value(names[1], **failed) - before.value(
            names[1], **failed
        )

    chart = page.get_by_role("slider", name="Requests")
    with httpx.Client(base_url=gateway.url) as client:
        statuses = [client.get(path).status_code for _ in range(20) for path in ("/plain/x", "/broken/x")]
    assert statuses == [200, 500] * 20
    eventually("Envoy has counted them", lambda: counted() == (40, 20))
    expect(figure(page, "Errors")).to_contain_text(re.compile(r"^50 %"), timeout=30_000)
    expect(figure(page, "Requests")).to_contain_text(re.compile(r"^[1-9]\d*(\.\d+)?/s"))
    expect(figure(page, "p95")).to_contain_text(re.compile(r"^[\d.]+ ms"), timeout=30_000)
    expect(figure(page, "APIs")).to_contain_text(re.compile(r"^(\d+) of \1"))
    row = table(page, "APIs").get_by_role("row").filter(has=page.get_by_role("link", name="broken", exact=True))
    expect(row).to_contain_text(re.compile(r"deployed.*/broken.*/s"))
    expect(chart).to_have_attribute("aria-valuetext", re.compile("all .*/s, 5xx .*/s"))


MINUTE = 60_000
"""In ms, of the page's clock."""


def test_hidden_pages_send_no_requests(page: Page, gateway: Gateway) -> None:
    requests: list[str] = []

    def note(request: Request) -> None:
        requests.append(request.url)

    page.on("request", note)
    page.clock.install()
    show(page, "#/nodes/node-1")

    def asks() -> bool:
        page.wait_for_timeout(50)
        return sum(url.endswith("/metrics") for url in requests) >= 2

    eventually("it looks", asks, 30)
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    page.wait_for_load_state("networkidle")
    requests.clear()
    page.clock.run_for(MINUTE)
    page.wait_for_load_state("networkidle")
    assert [url for url in requests if "/v1/" in url] == []
    page.evaluate(hide, False)
    eventually("it looks again", asks, 30)
    page.goto(f"{page.url.split('#')[0]}#/no-such-page")
    expect(page.get_by_role("heading", name="Page not found")).to_be_visible()
    page.wait_for_load_state("networkidle")
    requests.clear()
    page.clock.run_for(MINUTE)
    page.wait_for_load_state("networkidle")
    assert [url for url in requests if "/nodes" in url] == []
    with gateway.controller() as client:
        assert client.get("/healthz").status_code == 200


# ---------------------------------------------------------------- one that is not


def test_all_troubles_are_shown_the_worst_first(pretend: Pretended, lone_controller: LoneController) -> None:
    """Including that a node sends no documents."""
    page, node = pretend(WIDE, unwell(), {"plain": "Envoy: no such regex"})
    show(page, "#/")
    expect(page.locator(".troubles")).to_be_visible()
    assert trouble_titles(page) == ["API plain is rejected", *UNWELL]
    expect(page.locator(".troubles")).to_contain_text("pretended: Envoy: no such regex")
    show(page, "#/nodes")
    expect(page.locator(".troubles")).to_be_visible()
    assert trouble_titles(page) == UNWELL
    expect(table(page, "Nodes").get_by_role("row").nth(1)).to_contain_text("17 problems")
    show(page, "#/nodes/pretended")
    expect(table(page, "Certificates").get_by_role("row").filter(has_text="web")).to_contain_text("expired")
    expect(table(page, "Executors of group models")).to_contain_text("not connected")
    expect(table(page, "APIs").get_by_role("row").nth(1)).to_contain_text("Envoy: no such regex")
    node.documents |= well()
    expect(page.get_by_text("This node has no problems.")).to_be_visible()
    expect(page.locator(".troubles")).to_have_count(0)
    with PretendedNode(lone_controller, "silent", {}, {}).connected():
        show(page, "#/nodes")
        expect(page.locator(".troubles")).to_contain_text("Node silent does not report its state")
        expect(page.locator(".troubles")).to_contain_text("update the node to the controller's version")
        show(page, "#/nodes/silent")
        expect(table(page, "APIs").get_by_role("row")).to_have_count(8)


# ---------------------------------------------------------------- for everybody


FRAGMENTS = {"overview": "#/", "nodes": "#/nodes", "node": "#/nodes/pretended"}


@pytest.mark.parametrize("name", FRAGMENTS)
@pytest.mark.parametrize("how", ["well", "unwell"])
def test_the_pages_are_for_everybody(show_node: Looking, screenshot: Screenshots, how: str, name: str) -> None:
    page = show_node(WIDE, well() if how == "well" else unwell())
    show(page, FRAGMENTS[name])
    expect(page.locator("table:visible").first).to_be_visible()
    wait_for_charts(page)
    check_looks(page, functools.partial(screenshot, page, f"{name}-{how}", mask=[page.locator(".horizontal")]))


def test_tokens_and_cost_by_model_and_team(show_node: Looking, screenshot: Screenshots) -> None:
    documents = well()
    page = show_node(WIDE, documents | {"metrics": documents["metrics"] + llm_metrics()})
    page.get_by_role("link", name="tokens and cost by model and team").click()
    models, teams = (table(page, f"By {label}").get_by_role("row") for label in ("model", "team"))
    expect(models.nth(1)).to_have_text(re.compile("^gpt-4o-2024-08-06 *6.635 *2,254,000"))
    expect(models.nth(2)).to_have_text(re.compile("^house-model-7b *unknown *91,100"))
    expect(teams.nth(2)).to_contain_text("1.13, and 40 answers of unknown price")
    expect(teams.nth(3)).to_contain_text("no team")
    check_looks(page, functools.partial(screenshot, page, "models"))


def test_a_node_without_llm_usage_shows_nothing_of_models(show_node: Looking) -> None:
    page = show_node(WIDE, well())
    expect(table(page, "Nodes")).to_be_visible()
    expect(page.get_by_text("language models")).to_have_count(0)
    show(page, "#/models")
    expect(page.get_by_text("No node counts requests to language models")).to_be_visible()
