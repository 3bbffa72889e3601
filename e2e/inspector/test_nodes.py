"""The pages of nodes, and the overview: what they say is how the gateway is, loud where something is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, Request, expect

from e2e.inspector.accessibility import axe, keyboard, reflow
from e2e.inspector.chromium import LOOKS, WIDE, Look
from e2e.inspector.conftest import Looking, Open, Pretended, signed_in
from e2e.inspector.pages import show
from e2e.inspector.sample import ask_each
from e2e.inspector.sample_documents import UNWELL, unwell, well
from e2e.inspector.screenshots import Screenshots
from e2e.kit.gateway import Gateway, api, attach, eventually, fresh, running
from e2e.kit.scraping import scrape
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(240)


def figure(page: Page, name: str) -> Locator:
    return page.locator(".figures > div").filter(has=page.get_by_text(name, exact=True)).locator("dd")


def table(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def titles(page: Page) -> list[str]:
    return page.locator(".troubles h3").all_inner_texts()


def drawn(page: Page) -> None:
    """Charts have a first point."""
    for slider in page.get_by_role("slider").all():
        expect(slider).not_to_have_attribute("aria-valuetext", "nothing is measured yet")


# ---------------------------------------------------------------- a node that is well


def test_a_node_is_shown_as_it_is(page: Page, gateway: Gateway) -> None:
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
    for one in node["apis"]:
        expect(table(page, "APIs").get_by_role("row").filter(has_text=one["name"]).first).to_contain_text("deployed")
    processes = table(page, "Processes")
    for component in ("supervisor", "controller", "python-executor", "policy-engine", "envoy"):
        expect(processes.get_by_role("row").filter(has_text=component)).to_contain_text(re.compile("ready.*MiB"))
    expect(table(page, "Policies of its build").get_by_role("row")).to_have_count(len(node["policies"]) + 1)


def test_the_overview_counts_what_passes(page: Page, gateway: Gateway) -> None:
    """Requests and errors as a client sees them, while it sends them."""
    show(page, "#/")
    drawn(page)
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


def test_nothing_is_asked_once_another_page_is_shown_or_while_nobody_looks(page: Page, gateway: Gateway) -> None:
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    page.clock.install()
    show(page, "#/nodes/node-1")

    def asks() -> bool:
        page.wait_for_timeout(50)
        return sum(url.endswith("/metrics") for url in asked) >= 2

    eventually("it looks", asks, 30)
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    page.wait_for_load_state("networkidle")
    asked.clear()
    page.clock.run_for(MINUTE)
    page.wait_for_load_state("networkidle")
    assert [url for url in asked if "/v1/" in url] == []
    page.evaluate(hide, False)
    eventually("it looks again", asks, 30)
    page.goto(f"{page.url.split('#')[0]}#/no-such-page")
    expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()
    page.wait_for_load_state("networkidle")
    asked.clear()
    page.clock.run_for(MINUTE)
    page.wait_for_load_state("networkidle")
    assert [url for url in asked if "/nodes" in url] == []
    with gateway.controller() as client:
        assert client.get("/healthz").status_code == 200


# ---------------------------------------------------------------- one that is not


@pytest.fixture(scope="module")
def wounded(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that only these tests use, whose policies hang and crash."""
    options = ("--py.hung-seconds", "1", "--pe.quarantine-deaths", "2", "--node-id", "wounded")
    with running(build, tmp_path_factory.mktemp("wounded"), *options) as gateway:
        yield gateway


@pytest.fixture
def at_wounded(open_page: Open, wounded: Gateway) -> Page:
    return signed_in(open_page, WIDE, wounded)


def test_a_policy_that_hangs_is_named_everywhere(at_wounded: Page, wounded: Gateway, upstream: Upstream) -> None:
    wounded.deploy(api("hangs", upstream.url, [attach("sleep", {"seconds": 45}, timeout="100ms")]))
    assert httpx.get(f"{wounded.url}/hangs/x").status_code == 504
    said = re.compile(r"^sleep:v1\.0\.0 hangs in executor default \(pid \d+\) on wounded$")
    for fragment in ("#/", "#/nodes", "#/nodes/wounded"):
        show(at_wounded, fragment)
        expect(at_wounded.locator(".troubles").get_by_role("heading", name=said)).to_be_visible(timeout=30_000)
    row = table(at_wounded, "Hung executions").get_by_role("row").nth(1)
    expect(row).to_contain_text(re.compile(r"sleep:v1\.0\.0.*hangs.*1"))
    at_wounded.locator(".troubles").get_by_role("link", name=said).click()
    expect(at_wounded).to_have_url(re.compile("#/policies/sleep/v1.0.0$"))
    expect(at_wounded.get_by_role("alert")).to_contain_text("for API hangs on wounded: 1 execution runs on")


def test_a_crash_is_a_restart_and_several_are_a_quarantine(
    at_wounded: Page, wounded: Gateway, upstream: Upstream
) -> None:
    name = fresh("crashes")
    wounded.deploy(api(name, upstream.url, [attach("faulty", {"how": "exit"})]))
    show(at_wounded, "#/nodes/wounded")
    restarts = figure(at_wounded, "Restarts")
    expect(restarts).to_contain_text(re.compile(r"^\d"))
    before = int(re.findall(r"\d+", restarts.inner_text())[0])
    assert httpx.get(f"{wounded.url}/{name}/x").status_code == 503
    expect(restarts).to_contain_text(re.compile(rf"^{before + 1}\D"), timeout=30_000)
    row = table(at_wounded, "Processes").get_by_role("row").filter(has_text="python-executor")
    expect(row.locator("td").last).to_have_text(re.compile("^[1-9]"))
    expect(at_wounded.locator(".troubles")).to_contain_text("python-executor was restarted")

    def quarantined() -> bool:
        httpx.get(f"{wounded.url}/{name}/x")
        at_wounded.wait_for_timeout(100)
        told = json.loads(wounded.admin("engine", "/stats"))["quarantined"]
        return [each["deaths"] for each in told if each["api"] == name] == [2]

    eventually("it is quarantined", quarantined, 60)
    said = f"faulty:v1.0.0 of API {name} is quarantined on wounded"
    expect(at_wounded.locator(".troubles").get_by_role("heading", name=said)).to_be_visible(timeout=30_000)
    row = table(at_wounded, "Quarantined policy instances").get_by_role("row").filter(has_text=name)
    expect(row).to_contain_text(re.compile(rf"faulty:v1\.0\.0.*{name}.*default.*2.*in .* at \d\d:\d\d:\d\d"))
    show(at_wounded, "#/")
    expect(figure(at_wounded, "Quarantined")).to_contain_text(re.compile(r"^[1-9]"))
    assert said in titles(at_wounded)
    at_wounded.get_by_role("link", name=said).click()
    expect(at_wounded.get_by_role("alert").first).to_contain_text("2 executor processes crashed while it ran")
    classes = table(at_wounded, "Failures by class")
    expect(classes.get_by_role("row").filter(has_text="crashed")).to_contain_text("quarantined")


def test_all_that_can_be_wrong_is_said_the_worst_first(pretended: Pretended) -> None:
    page, node = pretended(WIDE, unwell(), {"plain": "Envoy: no such regex"})
    show(page, "#/")
    expect(page.locator(".troubles")).to_be_visible()
    assert titles(page) == ["API plain is rejected", *UNWELL]
    expect(page.locator(".troubles")).to_contain_text("pretended: Envoy: no such regex")
    show(page, "#/nodes")
    expect(page.locator(".troubles")).to_be_visible()
    assert titles(page) == UNWELL
    expect(table(page, "Nodes").get_by_role("row").nth(1)).to_contain_text("17 to look at")
    show(page, "#/nodes/pretended")
    expect(table(page, "Certificates").get_by_role("row").filter(has_text="web")).to_contain_text("expired")
    expect(table(page, "Executors of group models")).to_contain_text("not connected")
    expect(table(page, "APIs").get_by_role("row").nth(1)).to_contain_text("Envoy: no such regex")
    node.documents |= well()
    expect(page.get_by_text("This node is as it should be.")).to_be_visible()
    expect(page.locator(".troubles")).to_have_count(0)


def test_an_engine_that_does_not_tell_is_named(pretended: Pretended) -> None:
    page, _ = pretended(WIDE, {})
    show(page, "#/nodes")
    expect(page.locator(".troubles")).to_contain_text("Node pretended does not tell how it is")
    expect(page.locator(".troubles")).to_contain_text("start the node with this controller's version")
    show(page, "#/nodes/pretended")
    expect(table(page, "APIs").get_by_role("row")).to_have_count(8)


# ---------------------------------------------------------------- for everybody


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
@pytest.mark.parametrize(
    ("fragment", "name"),
    [("#/", "overview"), ("#/nodes", "nodes"), ("#/nodes/pretended", "node")],
    ids=["overview", "nodes", "node"],
)
@pytest.mark.parametrize("how", ["well", "unwell"])
def test_they_are_for_everybody(
    look: Look, looking: Looking, screenshot: Screenshots, fragment: str, name: str, how: str
) -> None:
    page = looking(look, well() if how == "well" else unwell())
    show(page, fragment)
    expect(page.locator("table:visible").first).to_be_visible()
    drawn(page)
    axe(page)
    keyboard(page)
    reflow(page)
    screenshot(page, f"{name}-{how}", mask=[page.locator(".horizontal")])
