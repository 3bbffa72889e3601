"""What pages of exchanges say where something dies, or keeps silent; and what they never say.

On a gateway of their own: its processes are killed.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from e2e.inspector.chromium import WIDE, Faults
from e2e.inspector.conftest import Open, signed_in
from e2e.inspector.exchanges import (
    asked,
    details,
    explain,
    keeping,
    last_id,
    passed,
    rows,
    tab,
    turn,
    verdict,
    watch,
    watching,
)
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.recorded import admin, forget, recorded, recording
from e2e.kit.upstream import Upstream

PLANTED = {
    name: f"planted{number}Zq8Rt5Wx2"
    for number, name in enumerate(["bearer", "cookie", "query", "parameter", "body", "answer"])
}

TRIES_AGAIN = """() => document.querySelector(".counts").dataset.state === "waiting"
  && document.querySelector(".nodes").textContent === ""
  && document.body.innerText.includes("It is tried again.")"""
"""All of it at once, and in the page: the controller may soon be back."""


@pytest.fixture(scope="module")
def gateway(chromium: Browser, build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:  # noqa: ARG001 - see conftest
    with running(build, tmp_path_factory.mktemp("failing")) as gateway:
        yield gateway


@pytest.fixture
def page(next_page: Open, gateway: Gateway) -> Page:
    return signed_in(next_page, WIDE, gateway)


def test_a_policy_that_ends_its_process_and_is_quarantined(page: Page, gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("dies", upstream.url, [attach("faulty", {"how": "exit"})]))
    with keeping(gateway, "dies") as client:
        assert client.get("/dies/x").status_code == 503
        explain(page, last_id(gateway, "dies"))
        expect(page.locator(".verdict")).to_contain_text("for faulty:v1.0.0 failed in its request phase: crashed: ")
        assert "quarantine" not in verdict(page)

        def quarantined() -> bool:
            assert client.get("/dies/x").status_code == 503
            return "quarantine" in str(recorded(gateway, api="dies")[-1]["executions"])

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
    forget(gateway)
    watch(page, "?api=goes-on")
    httpx.get(f"{gateway.url}/goes-on/1")
    passed(page, 1)
    pid = gateway.kill("controller")
    page.wait_for_function(TRIES_AGAIN)
    eventually("the controller is back", lambda: gateway.pid("controller") not in (None, pid), 30)
    watching(page)
    httpx.get(f"{gateway.url}/goes-on/2")
    passed(page, 2)
    assert asked(page) == ["GET /goes-on/2", "GET /goes-on/1"]


def test_a_node_that_does_not_tell_says_why(page: Page, gateway: Gateway) -> None:
    with admin(gateway) as client:
        made = [client.post("/recordings", json={"filter": {}, "seconds": 60}) for _ in range(70)]
        try:
            assert made[-1].status_code == 409
            watch(page)
            expect(page.locator(".nodes")).to_contain_text("refused")
            expect(page.locator(".nodes")).to_contain_text("64")
        finally:
            for each in made:
                if each.status_code == 201:
                    client.delete(f"/recordings/{each.json()['id']}")


def leaking(upstream: Upstream) -> list[Json]:
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
    for each in leaking(upstream):
        gateway.deploy(each)
    headers = {"authorization": f"Bearer {PLANTED['bearer']}", "cookie": f"session={PLANTED['cookie']}"}
    watch(page, "?path=/")
    with recording(gateway), httpx.Client(base_url=gateway.url, headers=headers) as client:
        for name in ("leaks", "leaks-out", "answers"):
            client.post(f"/{name}/x?token={PLANTED['query']}&page=2", json={"password": PLANTED["body"], "name": "ann"})
    passed(page, 3)
    shown = [page.content(), page.inner_text("body")]
    for exchange in recorded(gateway, 3, path="/")[-3:]:
        explain(page, exchange["id"])
        page.get_by_role("button", name="Expand all").click()
        shown.append(page.content())
        for name in page.get_by_role("tab").all_inner_texts():
            panel = tab(page, name)
            for button in panel.locator(".expander").all():
                button.click()
            shown.append(page.content())
        page.get_by_role("button", name="Copy as curl").click()
        expect(page.locator(".curl")).to_be_visible()
        shown += [page.content(), page.inner_text("body")]
    for name, secret in PLANTED.items():
        assert [text[max(0, text.find(secret) - 200) :][:300] for text in shown if secret in text] == [], name
    assert "[redacted]" in shown[-1]
    assert "page=2" in shown[-1]
    assert rows(page).count() == 0


def test_what_streams_and_what_is_passed_over(page: Page, gateway: Gateway, upstream: Upstream) -> None:
    raises = attach("misbehave", {"how": "raise"}, onError="continue")
    gateway.deploy(api("streams", upstream.url, [attach("pass-stream"), raises]))
    with keeping(gateway, "streams") as client:
        assert client.post("/streams/x", content=b"x" * 5000).status_code == 200
        explain(page, last_id(gateway, "streams"))
    expect(details(page, "pass-stream:v1.0.0", "request stream")).to_contain_text(
        "The body as a stream: 4.9 KiB in, 4.9 KiB out."
    )
    expect(turn(page, "misbehave:v1.0.0").locator(".outcome")).to_have_text("continued: exception")
    expect(page.locator(".failure .place")).to_have_text(re.compile(r"policies/misbehave/policy\.py:\d+$"))
    expect(page.locator(".verdict")).to_contain_text("Answered 200 by the upstream")
    watch(page, "?api=streams")
    expect(rows(page).locator(".badge")).to_have_text(["200", "passed over"])


def test_a_client_that_goes_away(page: Page, gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("left", upstream.url, [attach("sleep", {"seconds": 1}, timeout="30s")]))
    with recording(gateway, api="left"):
        with socket.create_connection(("127.0.0.1", gateway.port)) as client:
            client.sendall(b"GET /left/x HTTP/1.1\r\nhost: left.test\r\n\r\n")
            eventually("the policy runs", lambda: gateway.is_busy("left"))
        recorded(gateway, api="left")
    watch(page, "?api=left")
    expect(rows(page).locator(".badge")).to_have_text(["none", "cancelled"])
    rows(page).first.click()
    expect(page.locator(".verdict")).to_contain_text("Not answered, for the client went away")
