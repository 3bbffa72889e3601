"""The pages of policies: what they say is what the build has, what the APIs attach, and what the gateway did."""

from __future__ import annotations

import bisect
import functools
import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Locator, Page, Request, expect

from e2e.inspector.accessibility import check_looks
from e2e.inspector.chromium import WIDE
from e2e.inspector.conftest import KeptNode, Looking
from e2e.inspector.pages import figure, show, wait_for_charts
from e2e.inspector.sample import ask_each
from e2e.inspector.sample_documents import metrics, well
from e2e.inspector.screenshots import Screenshots
from e2e.kit.gateway import Gateway, api, attach, eventually
from e2e.kit.scraping import Scrape, scrape
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(180)
UNITS = {"ms": 1.0, "s": 1000.0}
WORK = "gatewright_execution_work_seconds"


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


def cells(page: Page, name: str) -> list[str]:
    policy_row = row(page, name)
    expect(policy_row).to_have_count(1)
    return policy_row.locator("th, td").all_inner_texts()


def milliseconds(text: str) -> float:
    value, unit = text.split()
    return float(value) * UNITS[unit]


def settled_metrics(gateway: Gateway) -> Scrape:
    """Scrapes once no execution is under way: a client has its answer a moment before."""
    last = scrape(gateway)

    def same() -> bool:
        nonlocal last
        before, last = last, scrape(gateway)
        name = "gatewright_executions_total"
        return before.value(name) == last.value(name) and last.value("gatewright_exchanges_active") == 0

    eventually("all has ended", same)
    return last


def test_the_list_has_the_builds_policies_and_their_attachments(page: Page, gateway: Gateway) -> None:
    with gateway.controller() as client:
        policies = client.get("/v1/policies").json()["policies"]
        apis = client.get("/v1/apis").json()["apis"]
    show(page, "#/policies")
    for policy in policies:
        name, version, runtime, *_ = cells(page, policy["name"])
        assert (name, version, runtime) == (
            f"{policy['name']}\n{policy['description']}", policy["version"], policy["runtime"],
        )  # fmt: skip
    assert cells(page, "raise-error")[3].split() == ["broken", "broken-late"]
    attaching = sum(any(policy["name"] == "log-message" for policy in api["status"]["policies"]) for api in apis)
    *policy_names, more = cells(page, "log-message")[3].split("\n")
    assert more == f"and {attaching - len(policy_names)} more"
    assert cells(page, "rewrite-json")[3] == "no API"
    page.get_by_label("Find").fill("PYTHON deny")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_label("Find").fill("")
    page.get_by_label("attached only").check()
    expect(row(page, "rewrite-json")).to_have_count(0)
    row(page, "sleep").get_by_role("link", name="sleep").click()
    expect(page).to_have_url(re.compile("#/policies/sleep/v1.0.0$"))


def test_long_descriptions_are_cut_to_two_lines(narrow: Page) -> None:
    show(narrow, "#/policies")
    expect(narrow.locator(".clamped").first).to_be_visible()
    heights = narrow.locator(".clamped").evaluate_all(
        "(all) => all.map((each) => each.clientHeight / parseFloat(getComputedStyle(each).lineHeight))"
    )
    assert heights
    assert max(heights) < 2.1


def test_figures_are_those_of_the_gateway(page: Page, gateway: Gateway) -> None:
    """Counts exactly; quantiles in the same bucket."""
    for _ in range(5):
        ask_each(gateway)
    figures = settled_metrics(gateway)
    bounds = figures.bounds(WORK)
    show(page, "#/policies")
    page.get_by_label("Figures").select_option("since the nodes started")
    for name in ("log-message", "add-python-header", "raise-error", "python-deny", "sleep"):
        own = {"policy": f"{name}:v1.0.0"}
        total = figures.value("gatewright_executions_total", **own)
        failed = total - figures.value("gatewright_executions_total", outcome="ok", **own)
        expect(row(page, name).locator("td").nth(3)).to_have_text(f"{total:,.0f}")
        texts = cells(page, name)
        assert (texts[5].split(" (")[0] or "0") == f"{failed:,.0f}"
        if figures.value(f"{WORK}_count", **own):
            for at, quantile in ((6, 0.5), (7, 0.95)):
                place = bisect.bisect_left(bounds, milliseconds(texts[at]) / 1000)
                assert abs(place - figures.quantile(WORK, quantile, bounds, **own)) <= 1, texts
    show(page, "#/policies/raise-error/v1.0.0")
    count = figures.value("gatewright_executions_total", policy="raise-error:v1.0.0", outcome="exception")
    classes = page.get_by_role("region", name="Failures by class")
    expect(classes.get_by_role("row", name="exception")).to_contain_text(f"{count:,.0f}")
    expect(classes).to_contain_text("the policy raised an exception")


@pytest.fixture
def sleepy(gateway: Gateway, upstream: Upstream) -> Iterator[str]:
    """The context of an API whose policy sleeps 50 ms."""
    gateway.deploy(api("sleeps-a-little", upstream.url, [attach("sleep", {"seconds": 0.05})]))
    yield f"{gateway.url}/sleeps-a-little"
    gateway.remove("sleeps-a-little")


def test_a_policy_that_sleeps_50_ms_works_50_ms(page: Page, gateway: Gateway, sleepy: str) -> None:
    show(page, "#/policies/sleep/v1.0.0")
    work = page.get_by_role("slider", name="Work")
    expect(page.get_by_role("slider", name="Executions")).to_have_attribute("aria-valuetext", re.compile("ended"))
    for _ in range(30):
        assert httpx.get(f"{sleepy}/x").status_code == 200
    bounds = settled_metrics(gateway).bounds(WORK)
    expected = bisect.bisect_left(bounds, 0.0502)
    for name in ("Work p50", "Work p95"):
        expect(figure(page, name)).to_have_text(re.compile(r"^\d"))
        work_time = figure(page, name).inner_text().split("\n")[0]
        assert abs(bisect.bisect_left(bounds, milliseconds(work_time) / 1000) - expected) <= 1, work_time
    (line,) = page.get_by_role("region", name="Attachments").get_by_role("row").filter(has_text="sleeps-a-little").all()
    expect(line).to_contain_text(re.compile(r"/s.*0 %.*\d ms"))
    page.get_by_label("Executions for").select_option("sleeps-a-little")
    work.focus()
    texts = set()
    for _ in range(60):
        texts.add(work.get_attribute("aria-valuetext") or "")
        page.keyboard.press("ArrowLeft")
    assert any(re.search(r"p50 \d+ ms, p95 \d+ ms, p99 \d+ ms", text) for text in texts), texts


def test_parameters_are_explained(page: Page) -> None:
    show(page, "#/policies/add-headers/v1.0.0")
    table = page.locator(".parameters")
    name = table.get_by_role("row").filter(has=page.get_by_text("requestHeaders[].name", exact=True))
    expect(name).to_contain_text("required")
    expect(name).to_contain_text("at most 256 characters")
    expect(table.get_by_role("row").filter(has_text="responseHeaders").first).to_contain_text("[]")
    show(page, "#/policies/raise-error/v1.0.0")
    phase = table.get_by_role("row").filter(has_text="The phase in which it raises.")
    expect(phase).to_contain_text('"request"')
    expect(phase).to_contain_text('one of "request", "response"')
    modes = page.get_by_role("region", name="Processing modes")
    expect(modes.get_by_role("row", name="Request headers")).to_contain_text("PROCESS")
    expect(modes.get_by_role("row", name="Request body")).to_contain_text("not seen")


def test_the_page_of_an_unknown_policy_says_so(page: Page) -> None:
    page.evaluate("() => { location.hash = '#/policies/none/v1.0.0'; }")
    expect(page.get_by_role("alert")).to_contain_text("No policy none:v1.0.0 is in the build")


# ---------------------------------------------------------------- how they look


def test_they_are_for_everybody(show_node: Looking, screenshot: Screenshots) -> None:
    page = show_node(WIDE, well())
    for fragment, name in (("#/policies", "policies"), ("#/policies/add-headers/v1.0.0", "policy")):
        show(page, fragment)
        expect(page.locator("table:visible").first).to_be_visible()
        wait_for_charts(page)
        shot = functools.partial(screenshot, page, name, mask=[page.locator(".horizontal")])
        stops = check_looks(page, shot)
        assert any("“Work”" in stop for stop in stops) is (name == "policy")


def test_a_chart_has_its_values_as_graph_text_and_table(show_node: Looking, kept_node: KeptNode) -> None:
    """As lines, as text when its times are walked through by keyboard, and as a table."""
    _, node = kept_node
    steady = show_node(WIDE, well())
    executions = iter(range(100, 100_000, 60))

    def more(request: Request) -> None:
        if request.url.endswith("/metrics"):
            node.documents["metrics"] = metrics(executions=next(executions))

    steady.on("request", more)
    show(steady, "#/policies/log-message/v1.0.0")
    chart = steady.get_by_role("slider", name="Executions")
    expect(chart).to_have_attribute("aria-valuemax", re.compile(r"^([3-9]|\d\d+)$"), timeout=30_000)
    figure_of = steady.locator("figure").filter(has=chart)
    figure_of.get_by_text("Values as a table").click()
    chart.focus()
    steady.keyboard.press("Home")
    first = chart.get_attribute("aria-valuetext") or ""
    assert chart.get_attribute("aria-valuenow") == "0"
    steady.keyboard.press("ArrowRight")
    second = chart.get_attribute("aria-valuetext") or ""
    assert first != second
    rows = figure_of.get_by_role("row").all_inner_texts()
    for text in (first, second):
        clock, ended, failed = re.match(r"([\d:]+): ended (\S+), failed (\S+)", text).groups()  # type: ignore[union-attr]
        assert f"{clock}\t{ended}\t{failed}" in rows
    assert any(float(match[1]) > 0 for row in rows if (match := re.search(r"\t([\d.]+)/s\t", row)))
    path = figure_of.locator("path.style-0").get_attribute("d") or ""
    assert re.fullmatch(r"M[\d.]+ [\d.]+h0(L[\d.]+ [\d.]+)+", path)
