"""Pages when something dies, hangs or keeps silent; and the secrets that they never show.

On a gateway of their own: its processes are killed.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from e2e.inspector.chromium import WIDE, Faults
from e2e.inspector.conftest import Open, open_signed_in
from e2e.inspector.exchanges import (
    details,
    execution_row,
    expect_passed,
    explain,
    keep_exchanges,
    last_id,
    open_list,
    requests_shown,
    rows,
    tab,
    verdict,
    wait_until_live,
)
from e2e.inspector.pages import figure, show, table, trouble_titles
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, fresh_name, running
from e2e.kit.recorded import admin, forget_exchanges, record_exchanges, wait_for_exchanges
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(240)
PLANTED = {
    name: f"planted{number}Zq8Rt5Wx2"
    for number, name in enumerate(["bearer", "cookie", "query", "parameter", "body", "answer"])
}

TRIES_AGAIN = """() => document.querySelector(".counts").dataset.state === "waiting"
  && document.querySelector(".nodes").textContent === ""
  && document.body.innerText.includes("The page tries again.")"""
"""Reads the whole page at once: the controller may soon be back."""


@pytest.fixture(scope="module")
def gateway(chromium: Browser, build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:  # noqa: ARG001 - see conftest
    options = ("--py.hung-seconds", "1", "--pe.quarantine-deaths", "2", "--node-id", "wounded")
    with running(build, tmp_path_factory.mktemp("failing"), *options) as gateway:
        yield gateway


@pytest.fixture
def page(next_page: Open, gateway: Gateway) -> Page:
    return open_signed_in(next_page, WIDE, gateway)


def test_a_quarantined_policy_is_shown(page: Page, gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("dies", upstream.url, [attach("faulty", {"how": "exit"})]))
    with keep_exchanges(gateway, "dies") as client:
        assert client.get("/dies/x").status_code == 503
        explain(page, last_id(gateway, "dies"))
        expect(page.locator(".verdict")).to_contain_text("because faulty:v1.0.0 failed in the request phase: crashed: ")
        assert "quarantine" not in verdict(page)

        def quarantined() -> bool:
            assert client.get("/dies/x").status_code == 503
            return "quarantine" in str(wait_for_exchanges(gateway, api="dies")[-1]["executions"])

        eventually("the policy is under quarantine", quarantined, 60)
    explain(page, last_id(gateway, "dies"))
    expect(page.locator(".failure")).to_contain_text("crashed")
    expect(page.locator(".failure")).to_contain_text("quarantine")
    assert "quarantine" in verdict(page)


def test_the_list_goes_on_when_the_controller_is_back(
    page: Page, gateway: Gateway, upstream: Upstream, faults: Faults
) -> None:
    faults.allow("ERR_|Failed to load resource")
    gateway.deploy(api("goes-on", upstream.url, [attach("mark", {"name": "one"})]))
    forget_exchanges(gateway)
    open_list(page, "?api=goes-on")
    httpx.get(f"{gateway.url}/goes-on/1")
    expect_passed(page, 1)
    pid = gateway.kill("controller")
    page.wait_for_function(TRIES_AGAIN)
    eventually("the controller is back", lambda: gateway.pid("controller") not in (None, pid), 30)
    wait_until_live(page)
    httpx.get(f"{gateway.url}/goes-on/2")
    expect_passed(page, 2)
    assert requests_shown(page) == ["GET /goes-on/2", "GET /goes-on/1"]


def test_a_node_that_sends_no_exchanges_is_shown_with_the_reason(page: Page, gateway: Gateway) -> None:
    with admin(gateway) as client:
        answers = [client.post("/recordings", json={"filter": {}, "seconds": 60}) for _ in range(70)]
        try:
            assert answers[-1].status_code == 409
            open_list(page)
            expect(page.locator(".nodes")).to_contain_text("refused")
            expect(page.locator(".nodes")).to_contain_text("64")
        finally:
            for answer in answers:
                if answer.status_code == 201:
                    client.delete(f"/recordings/{answer.json()['id']}")


def leaking_apis(upstream: Upstream) -> list[Json]:
    raises = {"password": PLANTED["parameter"], "raises": True}
    return [
        api("leaks", upstream.url, [attach("leak", {"password": PLANTED["parameter"]})]),
        api("leaks-out", upstream.url, [attach("leak", raises)]),
        api(
            "answers",
            upstream.url,
            [attach("answer", {"status": 403, "body": f'{{"password": "{PLANTED["answer"]}"}}'})],
        ),
    ]


def test_planted_secrets_stand_on_no_page(page: Page, gateway: Gateway, upstream: Upstream) -> None:
    for document in leaking_apis(upstream):
        gateway.deploy(document)
    headers = {"authorization": f"Bearer {PLANTED['bearer']}", "cookie": f"session={PLANTED['cookie']}"}
    open_list(page, "?path=/")
    with record_exchanges(gateway), httpx.Client(base_url=gateway.url, headers=headers) as client:
        for name in ("leaks", "leaks-out", "answers"):
            client.post(f"/{name}/x?token={PLANTED['query']}&page=2", json={"password": PLANTED["body"], "name": "ann"})
    expect_passed(page, 3)
    texts = [page.content(), page.inner_text("body")]
    for exchange in wait_for_exchanges(gateway, 3, path="/")[-3:]:
        explain(page, exchange["id"])
        page.get_by_role("button", name="Expand all").click()
        texts.append(page.content())
        for name in page.get_by_role("tab").all_inner_texts():
            panel = tab(page, name)
            for button in panel.locator(".expander").all():
                button.click()
            texts.append(page.content())
        page.get_by_role("button", name="Copy as curl").click()
        expect(page.locator(".curl")).to_be_visible()
        texts += [page.content(), page.inner_text("body")]
    for name, secret in PLANTED.items():
        assert [text[max(0, text.find(secret) - 200) :][:300] for text in texts if secret in text] == [], name
    assert "[redacted]" in texts[-1]
    assert "page=2" in texts[-1]
    assert rows(page).count() == 0


def test_streams_and_skipped_policies_are_shown(page: Page, gateway: Gateway, upstream: Upstream) -> None:
    raises = attach("misbehave", {"how": "raise"}, onError="continue")
    gateway.deploy(api("streams", upstream.url, [attach("pass-stream"), raises]))
    with keep_exchanges(gateway, "streams") as client:
        assert client.post("/streams/x", content=b"x" * 5000).status_code == 200
        explain(page, last_id(gateway, "streams"))
    expect(details(page, "pass-stream:v1.0.0", "request stream")).to_contain_text(
        "The body as a stream: 4.9 KiB in, 4.9 KiB out."
    )
    expect(execution_row(page, "misbehave:v1.0.0").locator(".outcome")).to_have_text("continued: exception")
    expect(page.locator(".failure .place")).to_have_text(re.compile(r"policies/misbehave/policy\.py:\d+$"))
    expect(page.locator(".verdict")).to_contain_text("The upstream answered 200")
    open_list(page, "?api=streams")
    expect(rows(page).locator(".badge")).to_have_text(["200", "continued"])


def test_a_client_that_goes_away_is_shown(page: Page, gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("left", upstream.url, [attach("sleep", {"seconds": 1}, timeout="30s")]))
    with record_exchanges(gateway, api="left"):
        with socket.create_connection(("127.0.0.1", gateway.port)) as client:
            client.sendall(b"GET /left/x HTTP/1.1\r\nhost: left.test\r\n\r\n")
            eventually("the policy runs", lambda: gateway.is_busy("left"))
        wait_for_exchanges(gateway, api="left")
    open_list(page, "?api=left")
    expect(rows(page).locator(".badge")).to_have_text(["none", "cancelled"])
    rows(page).first.click()
    expect(page.locator(".verdict")).to_contain_text("Not answered because the client disconnected")


def test_a_policy_that_hangs_is_named_everywhere(page: Page, gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("hangs", upstream.url, [attach("sleep", {"seconds": 45}, timeout="100ms")]))
    assert httpx.get(f"{gateway.url}/hangs/x").status_code == 504
    sentence = re.compile(r"^sleep:v1\.0\.0 hangs in executor default \(pid \d+\) on wounded$")
    for fragment in ("#/", "#/nodes", "#/nodes/wounded"):
        show(page, fragment)
        expect(page.locator(".troubles").get_by_role("heading", name=sentence)).to_be_visible(timeout=30_000)
    row = table(page, "Hung executions").get_by_role("row").nth(1)
    expect(row).to_contain_text(re.compile(r"sleep:v1\.0\.0.*hangs.*1"))
    page.locator(".troubles").get_by_role("link", name=sentence).click()
    expect(page).to_have_url(re.compile("#/policies/sleep/v1.0.0$"))
    expect(page.get_by_role("alert")).to_contain_text("for API hangs on wounded: 1 execution still runs")


def test_a_crash_is_a_restart_and_several_are_a_quarantine(page: Page, gateway: Gateway, upstream: Upstream) -> None:
    name = fresh_name("crashes")
    gateway.deploy(api(name, upstream.url, [attach("faulty", {"how": "exit"})]))
    show(page, "#/nodes/wounded")
    restarts = figure(page, "Restarts")
    expect(restarts).to_contain_text(re.compile(r"^\d"))
    before = int(re.findall(r"\d+", restarts.inner_text())[0])
    assert httpx.get(f"{gateway.url}/{name}/x").status_code == 503
    expect(restarts).to_contain_text(re.compile(rf"^{before + 1}\D"), timeout=30_000)
    row = table(page, "Processes").get_by_role("row").filter(has_text="python-executor")
    expect(row.locator("td").last).to_have_text(re.compile("^[1-9]"))
    expect(page.locator(".troubles")).to_contain_text("python-executor was restarted")

    def quarantined() -> bool:
        httpx.get(f"{gateway.url}/{name}/x")
        page.wait_for_timeout(100)
        quarantines = json.loads(gateway.admin("engine", "/stats"))["quarantined"]
        return [instance["deaths"] for instance in quarantines if instance["api"] == name] == [2]

    eventually("it is quarantined", quarantined, 60)
    sentence = f"Policy faulty:v1.0.0 of API {name} is quarantined on wounded"
    expect(page.locator(".troubles").get_by_role("heading", name=sentence)).to_be_visible(timeout=30_000)
    row = table(page, "Quarantined policy instances").get_by_role("row").filter(has_text=name)
    expect(row).to_contain_text(re.compile(rf"faulty:v1\.0\.0.*{name}.*default.*2.*in .* at \d\d:\d\d:\d\d"))
    show(page, "#/")
    expect(figure(page, "Quarantined")).to_contain_text(re.compile(r"^[1-9]"))
    assert sentence in trouble_titles(page)
    page.get_by_role("link", name=sentence).click()
    expect(page.get_by_role("alert").first).to_contain_text("2 executor processes crashed while it ran")
    classes = table(page, "Failures by class")
    expect(classes.get_by_role("row").filter(has_text="crashed")).to_contain_text("quarantined")
