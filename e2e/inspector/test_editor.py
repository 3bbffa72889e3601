"""The editor of APIs: mistakes at their lines, the diff, the deployment, and drafts that are never lost."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Dialog, Locator, Page, expect

from e2e.inspector.accessibility import axe, check_looks
from e2e.inspector.chromium import Faults
from e2e.inspector.pages import management_token, show
from e2e.inspector.screenshots import Screenshots
from e2e.kit.gateway import Gateway, api, attach
from e2e.kit.upstream import Upstream

HEADER = {"headerName": "x-word", "headerValue": "before"}


@pytest.fixture
def edited_api(gateway: Gateway, upstream: Upstream) -> Iterator[str]:
    """An API whose upstream is sent `x-word: before`; a test may have deleted it."""
    gateway.deploy(api("edited", upstream.url, [attach("add-python-header", HEADER)]))
    yield "edited"
    remove(gateway, "edited")


@pytest.fixture
def still_api(gateway: Gateway) -> Iterator[str]:
    """An API that is the same each time, its port too: for screenshots. It gets no requests."""
    policies = [attach("add-python-header", HEADER), attach("log-message", timeout="200ms")]
    gateway.deploy(api("still", "http://127.0.0.1:9", policies, [{"method": "GET", "path": "/items/{id}"}]))
    yield "still"
    remove(gateway, "still")


def remove(gateway: Gateway, name: str) -> None:
    with gateway.controller() as client:
        assert client.delete(f"/v1/apis/{name}", params={"wait": "15"}).status_code in {204, 404}


def text_of(page: Page) -> Locator:
    return page.get_by_label("The API as YAML")


def messages(page: Page) -> Locator:
    return page.locator(".editor-message")


def editor(page: Page, name: str) -> Page:
    """The editor of an API, once the controller has looked at the text."""
    show(page, f"#/apis/{name}/edit")
    expect(messages(page)).to_have_text("Valid. Nothing would change.")
    return page


def change(page: Page, before: str, after: str) -> None:
    """Selects a part of the text and types another, as a user does."""
    text = text_of(page).input_value()
    assert text.count(before) == 1, text
    start = text.index(before)
    text_of(page).evaluate(
        "(area, [from, to]) => { area.focus(); area.setSelectionRange(from, to); }", [start, start + len(before)]
    )
    page.keyboard.insert_text(after)


def line_of(page: Page, part: str) -> int:
    text = text_of(page).input_value()
    return text[: text.index(part)].count("\n") + 1


def word_sent(gateway: Gateway, upstream: Upstream) -> str | None:
    """The word that the upstream receives in a request through the gateway."""
    upstream.reset()
    assert httpx.get(f"{gateway.url}/edited/x").status_code == 200
    return upstream.received[0].value("x-word")


def test_a_mistake_is_shown_at_its_line(
    page: Page, gateway: Gateway, upstream: Upstream, edited_api: str, faults: Faults
) -> None:
    faults.allow("status of 422")
    faults.allow("status of 400")
    editor(page, edited_api)
    change(page, "headerValue: before", "headerColour: red")
    change(page, "context: /edited", "context: edited")
    lines = [line_of(page, "context: edited"), line_of(page, "headerColour")]
    mistakes = page.locator(".mistakes li")
    expect(messages(page)).to_have_text(re.compile(rf"^2 mistakes\. Line {min(lines)}: spec\."))
    expect(mistakes).to_have_count(2)
    expect(page.get_by_role("button", name=f"Line {lines[0]}")).to_be_visible()
    numbers = page.locator(".code-numbers").inner_text().split("\n")
    assert [number for number in numbers if "✗" in number] == [f"✗ {line}" for line in sorted(lines)]
    expect(page.locator(".code-bar")).to_have_count(2)
    expect(text_of(page)).to_have_attribute("aria-invalid", "true")
    axe(page)

    page.get_by_role("button", name=f"Line {lines[1]}").click()
    expect(text_of(page)).to_be_focused()
    chosen = text_of(page).evaluate("(area) => area.value.slice(area.selectionStart, area.selectionEnd)")
    assert chosen.strip() == "headerColour: red"
    expect(page.get_by_role("button", name="Apply")).to_be_disabled()
    page.get_by_role("button", name="Apply").click(force=True)
    expect(messages(page)).to_have_text(re.compile(r"^2 mistakes\."))
    assert word_sent(gateway, upstream) == "before"

    change(page, "spec:", "spec: [")
    expect(messages(page)).to_have_text(re.compile(r"^1 mistake\. Line \d+: "))
    expect(page.get_by_text("the body cannot be read:")).to_be_visible()


def test_a_change_is_shown_applied_and_live(page: Page, gateway: Gateway, upstream: Upstream, edited_api: str) -> None:
    editor(page, edited_api)
    change(page, "headerValue: before", "headerValue: after")
    expect(messages(page)).to_have_text("Valid. 1 line would be added, 1 removed.")
    diff = page.get_by_role("list", name="What would change")
    assert diff.locator(".added").all_inner_texts() == ["        headerValue: after"]
    assert diff.locator(".removed").all_inner_texts() == ["        headerValue: before"]
    assert word_sent(gateway, upstream) == "before", "nothing is written by looking"
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("status").filter(has_text="Live on")).to_have_text("Live on 1 of 1 node.")
    expect(page.get_by_role("region", name="Nodes")).to_contain_text("deployed")
    assert word_sent(gateway, upstream) == "after"
    expect(messages(page)).to_have_text("Valid. Nothing would change.")
    axe(page)


def test_an_unserved_api_is_shown_with_its_reason_until_it_serves(
    page: Page, gateway: Gateway, upstream: Upstream, edited_api: str
) -> None:
    """The last good version serves meanwhile."""
    editor(page, edited_api)
    change(page, upstream.url, "http://nowhere.invalid:8080")
    page.get_by_role("button", name="Apply").click()
    row = page.get_by_role("region", name="Nodes").locator("tbody tr")
    expect(row).to_contain_text("nowhere.invalid")
    expect(page.get_by_role("status").filter(has_text="Live on")).to_contain_text(
        "Live on 0 of 1 node; pending on others: "
    )
    assert word_sent(gateway, upstream) == "before"
    expect(messages(page)).to_have_text("Valid. Nothing would change.")
    change(page, "http://nowhere.invalid:8080", upstream.url)
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("status").filter(has_text="Live on")).to_have_text("Live on 1 of 1 node.")
    expect(messages(page)).to_have_text("Valid. Nothing would change.")


def test_a_new_api_begins_with_an_example_that_is_valid(
    page: Page, gateway: Gateway, upstream: Upstream, faults: Faults
) -> None:
    faults.allow("status of 422")
    faults.allow("status of 409")
    show(page, "#/apis/new")
    expect(messages(page)).to_have_text("Valid. The API would be created.")
    change(page, "http://upstream.example:8080", upstream.url)
    change(page, "name: my-api", "name: orders")
    expect(page.get_by_text("There is an API orders already")).to_be_visible()
    change(page, "name: orders", "name: brand-new")
    change(page, "context: /my-api", "context: /orders")
    expect(page.locator(".mistakes")).to_contain_text("expected a context that no other API has")
    change(page, "context: /orders", "context: /brand-new")
    expect(messages(page)).to_have_text("Valid. The API would be created.")

    page.get_by_text("Insert a policy").click()
    page.get_by_label("Policy").select_option("log-message v1.0.0")
    page.get_by_role("button", name="Insert", exact=True).click()
    assert "  policies:  " in text_of(page).input_value()
    assert "\n    - name: log-message\n      version: v1\n  operations:" in text_of(page).input_value()
    expect(page.get_by_text("log-message v1.0.0, requested as v1")).to_be_visible()
    try:
        page.get_by_role("button", name="Apply").click()
        expect(page.get_by_role("status").filter(has_text="Live on")).to_have_text("Live on 1 of 1 node.")
        assert httpx.get(f"{gateway.url}/brand-new/items/7").status_code == 200
        expect(page).to_have_url(re.compile("#/apis/brand-new/edit$"))
        expect(page.get_by_role("heading", name="Edit brand-new")).to_be_visible()
        expect(messages(page)).to_have_text("Valid. Nothing would change.")
    finally:
        remove(gateway, "brand-new")


def test_each_policy_can_be_inserted(page: Page, gateway: Gateway, faults: Faults) -> None:
    """Required parameters are there with the right type; the author fills in the values."""
    faults.allow("status of 422")
    with gateway.controller() as client:
        policies = client.get("/v1/policies").json()["policies"]
    assert len(policies) >= 8
    show(page, "#/apis/new")
    expect(messages(page)).to_have_text("Valid. The API would be created.")
    page.get_by_text("Insert a policy").click()
    with page.expect_response(lambda answer: policies[-1]["name"] in (answer.request.post_data or "")):
        for policy in policies:
            page.get_by_label("Policy").select_option(f"{policy['name']} {policy['version']}")
            page.get_by_role("button", name="Insert", exact=True).click()
    expect(messages(page)).to_have_text("Valid. The API would be created.")
    text = text_of(page).input_value()
    order = [text.index(f"- name: {policy['name']}\n") for policy in policies]
    assert order == sorted(order), "each behind the last"
    text_of(page).press("Control+z")
    assert text_of(page).input_value() != text


def test_a_concurrent_change_is_shown_before_it_is_overwritten(
    page: Page, gateway: Gateway, upstream: Upstream, edited_api: str, faults: Faults
) -> None:
    faults.allow("status of 412")
    editor(page, edited_api)
    change(page, "headerValue: before", "headerValue: mine")
    expect(messages(page)).to_have_text(re.compile("^Valid. 1 line"))
    theirs = api("edited", upstream.url, [attach("add-python-header", HEADER | {"headerValue": "theirs"})])
    gateway.deploy(theirs)
    page.get_by_role("button", name="Apply").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Another author has changed edited")
    expect(alert.get_by_label("Live version")).to_contain_text("headerValue: theirs")
    assert "headerValue: mine" in text_of(page).input_value()
    assert word_sent(gateway, upstream) == "theirs"
    axe(page)
    page.get_by_role("button", name="Apply").click()
    expect(alert).to_be_visible()
    assert word_sent(gateway, upstream) == "theirs", "it is not overwritten by trying again"

    alert.get_by_role("button", name="Keep my text").click()
    expect(alert).to_have_count(0)
    diff = page.get_by_role("list", name="What would change")
    expect(diff.locator(".removed")).to_have_text("        headerValue: theirs")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("status").filter(has_text="Live on")).to_have_text("Live on 1 of 1 node.")
    assert word_sent(gateway, upstream) == "mine"

    gateway.deploy(theirs)
    change(page, "headerValue: mine", "headerValue: late")
    expect(alert).to_contain_text("Another author has changed edited")  # found by looking, before anything is applied
    alert.get_by_role("button", name="Take the live version").click()
    expect(messages(page)).to_have_text("Valid. Nothing would change.")
    assert "headerValue: theirs" in text_of(page).input_value()


def test_an_api_deleted_meanwhile_can_be_created_anew(
    page: Page, gateway: Gateway, upstream: Upstream, edited_api: str, faults: Faults
) -> None:
    faults.allow("status of 404")
    editor(page, edited_api)
    gateway.remove(edited_api)
    change(page, "headerValue: before", "headerValue: again")
    expect(page.get_by_role("alert")).to_contain_text("edited was deleted by another author.")
    page.get_by_role("button", name="Create it again").click()
    expect(messages(page)).to_have_text("Valid. The API would be created.")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("status").filter(has_text="Live on")).to_have_text("Live on 1 of 1 node.")
    assert word_sent(gateway, upstream) == "again"


def test_a_draft_is_kept_while_its_page_is_left(
    page: Page, gateway: Gateway, upstream: Upstream, edited_api: str
) -> None:
    editor(page, edited_api)
    change(page, "headerValue: before", "headerValue: kept")
    show(page, "#/apis")
    show(page, f"#/apis/{edited_api}/edit")
    expect(page.get_by_text("This is your draft: it was not applied.")).to_be_visible()
    assert "headerValue: kept" in text_of(page).input_value()
    expect(messages(page)).to_have_text(re.compile("^Valid. 1 line"))

    requests: list[str] = []

    def stay(dialog: Dialog) -> None:
        requests.append(dialog.type)
        dialog.accept()

    page.on("dialog", stay)
    page.reload()
    expect(page.get_by_text("This is your draft: it was not applied.")).to_be_visible()
    assert requests == ["beforeunload"]
    assert "headerValue: kept" in text_of(page).input_value()
    page.get_by_role("button", name="Discard it").click()
    expect(messages(page)).to_have_text("Valid. Nothing would change.")
    page.reload()
    expect(messages(page)).to_have_text("Valid. Nothing would change.")
    assert requests == ["beforeunload"], "nothing is asked where nothing is lost"
    assert "headerValue: before" in text_of(page).input_value()

    change(page, "headerValue: before", "headerValue: stale")
    show(page, "#/apis")
    gateway.deploy(api("edited", upstream.url, [attach("add-python-header", HEADER | {"headerValue": "theirs"})]))
    show(page, f"#/apis/{edited_api}/edit")
    expect(page.get_by_role("alert")).to_contain_text("Another author has changed edited")
    assert "headerValue: stale" in text_of(page).input_value()
    show(page, "#/apis")


def test_a_draft_is_kept_when_the_token_is_no_longer_accepted(
    page: Page, gateway: Gateway, edited_api: str, faults: Faults
) -> None:
    faults.allow("status of 401")
    editor(page, edited_api)
    page.evaluate("() => sessionStorage.setItem('gatewright.token', 'of-yesterday')")
    change(page, "headerValue: before", "headerValue: kept")
    dialog = page.get_by_role("dialog", name="Sign in")
    expect(dialog).to_be_visible()
    assert "headerValue: kept" in text_of(page).input_value()
    dialog.get_by_label("Management token").fill(management_token(gateway))
    dialog.get_by_role("button", name="Sign in").click()
    expect(messages(page)).to_have_text(re.compile("^Valid. 1 line"))
    assert "headerValue: kept" in text_of(page).input_value()


def test_keys_leave_the_text_and_move_its_lines(page: Page, still_api: str, faults: Faults) -> None:
    faults.allow("status of 422")  # the page asks about a text that is half typed, if typing takes long enough
    editor(page, still_api)
    before = text_of(page).input_value()
    area = text_of(page)
    area.focus()
    page.keyboard.press("Tab")
    expect(area).not_to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(area).to_be_focused()
    assert area.input_value() == before

    start = before.index("- name: log-message")
    area.evaluate("(area, at) => area.setSelectionRange(at, at)", start + len("- name: log-message"))
    page.keyboard.press("Enter")
    page.keyboard.type("onError:")
    page.keyboard.press("Enter")
    page.keyboard.type("timeout: continue")
    expected = "    - name: log-message\n      onError:\n        timeout: continue\n      version: v1\n"
    assert expected in area.input_value()
    expect(messages(page)).to_have_text("Valid. 2 lines would be added, 0 removed.")

    area.evaluate("(area, [from, to]) => area.setSelectionRange(from, to)", [start, start + 40])
    moved = area.input_value()
    page.keyboard.press("Control+]")
    assert "      - name: log-message\n        onError:\n" in area.input_value()
    page.keyboard.press("Control+[")
    assert area.input_value() == moved
    for _ in range(60):
        if area.input_value() == before:
            break
        page.keyboard.press("Control+z")
    assert area.input_value() == before, "all of it can be undone"
    expect(messages(page)).to_have_text("Valid. Nothing would change.")  # the page asks for no more before the API goes


def test_the_editor_is_for_everybody(page: Page, still_api: str, screenshot: Screenshots, faults: Faults) -> None:
    faults.allow("status of 422")
    editor(page, still_api)
    change(page, "headerValue: before", "headerValue: after")
    expect(messages(page)).to_have_text(re.compile("^Valid. 1 line"))
    check_looks(page, lambda: screenshot(page, "editor"))
    change(page, "version: v1.0", "version: 1.0")
    change(page, "path: /items/{id}", "path: items/{id}")
    expect(messages(page)).to_have_text(re.compile("^2 mistakes"))
    check_looks(page, lambda: screenshot(page, "editor-mistakes"))
