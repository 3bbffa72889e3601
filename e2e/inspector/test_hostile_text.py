"""Texts of clients, upstreams, publishers and policies are shown as text on every page, even if they are markup."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml
from playwright.sync_api import Page, expect

from e2e.inspector.pages import definitions_of, show
from e2e.kit.gateway import Gateway, api, attach
from e2e.kit.upstream import Recorded, Reply, Upstream

NAME = "hostile-text"
MARKUP = """<img src=x onerror="globalThis.ran = true">'"`{{7*7}}</td></script><script>globalThis.ran = true</script>"""


def check(page: Page) -> None:
    """No markup became an element or ran; `faults` sees what the content security policy has stopped."""
    assert page.locator("main img").count() == 0
    assert page.locator("main script").count() == 0
    assert not page.evaluate("() => globalThis.ran ?? false")


@pytest.fixture
def hostile_api(gateway: Gateway, upstream: Upstream) -> Iterator[dict[str, Any]]:
    """An API whose publisher writes markup wherever free text is taken."""
    definition = api(NAME, upstream.url, [attach("raise-error", {"phase": "response", "message": MARKUP})])
    definition["spec"]["displayName"] = MARKUP
    gateway.deploy(definition)
    yield definition
    gateway.remove(NAME)


def test_a_publishers_markup_is_shown_as_text(page: Page, hostile_api: dict[str, Any]) -> None:
    assert hostile_api["spec"]["displayName"] == MARKUP
    for fragment in ("#/", "#/apis", f"#/apis/{NAME}", f"#/apis/{NAME}/edit", "#/compose"):
        show(page, fragment)
        if NAME in fragment:
            expect(page.locator("main")).to_contain_text(NAME)
        page.wait_for_load_state("networkidle")
        check(page)


def test_markup_of_clients_upstreams_and_policies_is_shown_as_text(
    page: Page, gateway: Gateway, upstream: Upstream, hostile_api: dict[str, Any]
) -> None:
    upstream.reply = hostile_reply
    show(page, "#/exchanges")
    expect(page.locator(".counts[data-state=watching]")).to_be_visible()
    headers = {"x-markup": MARKUP, "user-agent": MARKUP, "x-request-id": "hostile"}
    path = hostile_api["spec"]["context"] + "/items"
    answer = httpx.post(f"{gateway.url}{path}", params={"q": MARKUP}, headers=headers, content=MARKUP)
    assert answer.status_code == 500
    row = page.locator(".exchanges tbody tr").filter(has_text=NAME)
    expect(row).to_have_count(1)
    expect(row).to_contain_text("globalThis.ran")
    check(page)
    row.get_by_role("link").click()
    expect(page.locator("main")).to_contain_text("raise-error")
    for tab in page.get_by_role("tab").all():
        tab.click()
        check(page)
    expect(page.locator("main")).to_contain_text("globalThis.ran")
    check(page)


def hostile_reply(_: Recorded) -> Reply:
    return Reply(200, [("content-type", "text/html"), ("x-markup", MARKUP)], MARKUP.encode())


@pytest.fixture
def hostile_policy(gateway: Gateway) -> Iterator[str]:
    """The name of a policy whose author writes markup wherever free text is taken; no node has it."""
    folder = definitions_of(gateway)
    definition = yaml.safe_load(next(folder.glob("raise-error-*.yaml")).read_text())
    definition |= {"name": NAME, "displayName": MARKUP, "description": MARKUP}
    definition["parameters"]["properties"]["message"] |= {"description": MARKUP, "default": MARKUP}
    file = folder / f"{NAME}-v1.0.0.yaml"
    file.write_text(json.dumps(definition))
    with gateway.controller() as client:
        assert client.post("/v1/policies/reload").is_success
        yield NAME
        file.unlink()
        assert client.post("/v1/policies/reload").is_success


def test_a_policy_authors_markup_is_shown_as_text(page: Page, hostile_policy: str) -> None:
    """Of a definition: its names, its descriptions, its schema."""
    for fragment in ("#/policies", f"#/policies/{hostile_policy}/v1.0.0"):
        show(page, fragment)
        expect(page.locator("main")).to_contain_text(hostile_policy)
        expect(page.locator("main")).to_contain_text("globalThis.ran")
        check(page)
