"""The live list of exchanges: its rows, and its filters."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, urlsplit

import httpx
import pytest
from playwright.sync_api import Page, expect

from e2e.inspector.accessibility import axe, check_looks, reflow
from e2e.inspector.chromium import WIDE, Faults
from e2e.inspector.conftest import Open, open_signed_in
from e2e.inspector.exchanges import (
    expect_passed,
    keep_exchanges,
    last_id,
    open_list,
    requests_shown,
    rows,
    wait_until_live,
)
from e2e.inspector.pages import show
from e2e.inspector.sample import ask_each
from e2e.inspector.screenshots import Screenshots
from e2e.kit.gateway import Gateway, api, attach, eventually
from e2e.kit.recorded import admin, forget_exchanges
from e2e.kit.upstream import Upstream

OF_POLICIES = 6
"""The requests of `ask_each` that the engine sees: not those of an API without policies."""


def followers(gateway: Gateway) -> int:
    """How many observations the engine is asked for."""
    with admin(gateway) as client:
        return len(client.get("/recordings").json()["recordings"])


def get(gateway: Gateway, path: str, **headers: str) -> int:
    return httpx.get(f"{gateway.url}{path}", headers=headers, timeout=30).status_code


def test_the_list_is_for_everybody(page: Page, gateway: Gateway, screenshot: Screenshots) -> None:
    forget_exchanges(gateway)
    open_list(page)
    ask_each(gateway)
    expect_passed(page, OF_POLICIES)
    page.reload()
    expect(rows(page)).to_have_count(OF_POLICIES)
    page.get_by_text("Recordings", exact=True).click()
    check_looks(page, lambda: screenshot(page, "exchanges", mask=[page.locator(".counts")]))


def test_an_ended_exchange_is_shown_with_its_responder(page: Page, gateway: Gateway) -> None:
    forget_exchanges(gateway)
    open_list(page)
    ask_each(gateway)
    expect_passed(page, OF_POLICIES)
    lines = {row.locator("a").inner_text(): row.inner_text() for row in rows(page).all()}
    assert list(lines) == [
        "POST /answered/items", "GET /denied/items", "GET /slow/items", "GET /broken-late/items", "GET /broken/items",
        "GET /orders/items/7?page=2",
    ]  # fmt: skip
    for request, words in (
        ("GET /orders/items/7?page=2", ("200", "orders GET /items/{id}", "the upstream")),
        ("GET /broken/items", ("500", "failed", "raise-error:v1.0.0 failed: exception")),
        ("GET /slow/items", ("504", "failed", "sleep:v1.0.0 failed: timeout")),
        ("GET /denied/items", ("401", "python-deny:v1.0.0 answered")),
        ("POST /answered/items", ("200", "answer:v1.0.0 answered")),
    ):
        assert all(word in lines[request] for word in words), lines[request]
    expect(page.locator(".nodes")).to_have_text("node-1 observed")


def test_a_policys_error_is_found_in_three_clicks(page: Page, gateway: Gateway) -> None:
    """From the first page: the list, errors only, the row."""
    forget_exchanges(gateway)
    with keep_exchanges(gateway, "orders") as client, keep_exchanges(gateway, "broken"):
        assert client.get("/orders/items").status_code == 200
        assert client.get("/broken/items").status_code == 500
        last_id(gateway, "broken")
    page.get_by_role("link", name="Exchanges").click()
    page.get_by_label("Errors only").click()
    expect(rows(page)).to_have_count(1)
    rows(page).first.click()
    expect(page.locator(".verdict")).to_contain_text("raise-error:v1.0.0 failed in the request phase: exception")
    expect(page.locator(".failure .place")).to_have_text(re.compile(r"sample-policies/raise-error/policy\.py:10$"))


def test_kept_exchanges_are_listed_first_and_once(page: Page, gateway: Gateway) -> None:
    forget_exchanges(gateway)
    with keep_exchanges(gateway, "orders") as client:
        for number in range(3):
            client.get(f"/orders/items/{number}")
        last_id(gateway, "orders", 3)
    open_list(page, "?api=orders")
    expect(rows(page)).to_have_count(3)
    get(gateway, "/orders/items/3")
    expect_passed(page, 1)
    assert requests_shown(page) == [f"GET /orders/items/{number}" for number in (3, 2, 1, 0)]
    expect(page.locator(".counts")).to_contain_text("3 recorded before")


FILTER = {
    "API": ("api", "orders"),
    "Policy": ("policy", "add-headers"),
    "Path begins with": ("path", "/orders/items/8"),
    "Status": ("status", "2xx,401"),
    "Operation": ("operation", "GET /items/{id}"),
    "Request header": ("header", "x-wanted=yes"),
}


def test_a_filter_is_applied_by_the_server_and_is_in_the_address(page: Page, gateway: Gateway) -> None:
    """The members of a filter are tested elsewhere: here, that the text of a field is sent to the server."""
    forget_exchanges(gateway)
    open_list(page)
    page.get_by_text("More filters").click()
    for label, (_, value) in FILTER.items():
        page.get_by_label(label, exact=True).fill(value.replace(",", ", "))
    page.keyboard.press("Enter")
    wait_until_live(page)
    assert sorted(parse_qsl(urlsplit(page.url).fragment.partition("?")[2])) == sorted(FILTER.values())
    get(gateway, "/orders/items/8")
    get(gateway, "/orders/items/7", **{"x-wanted": "yes"})
    get(gateway, "/orders/items/8?wanted", **{"x-wanted": "yes"})
    expect_passed(page, 1)
    assert requests_shown(page) == ["GET /orders/items/8?wanted"]
    page.reload()
    for label, (_, value) in FILTER.items():
        expect(page.get_by_label(label, exact=True)).to_have_value(value)
    expect(rows(page)).to_have_count(1)


def test_filters_by_request_id_and_by_share_work(page: Page, gateway: Gateway) -> None:
    forget_exchanges(gateway)
    with keep_exchanges(gateway, "orders") as client:
        client.get("/orders/items/1")
        client.get("/orders/items/2")
        exchange_id = last_id(gateway, "orders", 2)
    open_list(page, f"?id={exchange_id}")
    expect(rows(page)).to_have_count(1)
    expect(page.get_by_label("Request id")).to_have_value(exchange_id)
    page.get_by_label("Request id").fill("")
    page.get_by_label("Share").fill("0")
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(2)  # kept exchanges are not sampled
    wait_until_live(page)
    get(gateway, "/orders/items/3")
    page.get_by_role("button", name="All exchanges").click()
    expect(page).to_have_url(re.compile("#/exchanges$"))
    wait_until_live(page)
    get(gateway, "/orders/items/4")
    expect_passed(page, 1)
    assert requests_shown(page)[0] == "GET /orders/items/4"


def test_a_wrong_filter_is_shown_at_its_field(page: Page, gateway: Gateway, faults: Faults) -> None:
    faults.allow("status of 400")
    open_list(page)
    api_field, status = page.get_by_label("API", exact=True), page.get_by_label("Status", exact=True)
    before = [control.bounding_box() for control in (api_field, status)]
    api_field.fill("order")
    page.keyboard.press("Enter")
    expect(api_field).to_have_attribute("aria-invalid", "true")
    assert [control.bounding_box() for control in (api_field, status)] == before, "what is wrong pushes nothing"
    expect(api_field).to_have_accessible_description(re.compile("expected one of .*orders.*got 'order'"))
    status.fill("6xx")
    page.keyboard.press("Enter")
    expect(status).to_have_accessible_description(re.compile("expected a status such as '503'"))
    axe(page)
    status.fill("")
    api_field.fill("orders")
    page.keyboard.press("Enter")
    wait_until_live(page)
    expect(api_field).not_to_have_attribute("aria-invalid", "true")
    get(gateway, "/orders/items")
    expect_passed(page, 1)


def test_unused_filters_are_folded_on_a_narrow_page(narrow: Page) -> None:
    show(narrow, "#/exchanges")
    expect(narrow.get_by_label("API", exact=True)).to_be_hidden()
    list_top = narrow.locator(".exchanges").bounding_box()
    assert list_top is not None
    assert list_top["y"] < 640, "the list begins on the first screen"
    narrow.locator("summary", has_text="Filters").first.click()
    expect(narrow.get_by_label("API", exact=True)).to_be_visible()
    show(narrow, "#/exchanges?api=orders")
    expect(narrow.get_by_label("API", exact=True)).to_have_value("orders")
    expect(narrow.get_by_label("API", exact=True)).to_be_visible()


def test_paused_rows_stand_still_and_new_exchanges_are_counted(page: Page, gateway: Gateway) -> None:
    forget_exchanges(gateway)
    open_list(page)
    get(gateway, "/orders/items/1")
    expect_passed(page, 1)
    page.locator("h1").click()
    page.keyboard.press("Space")
    expect(page.locator(".counts")).to_contain_text("paused")
    for number in (2, 3):
        get(gateway, f"/orders/items/{number}")
    expect_passed(page, 3)
    assert requests_shown(page) == ["GET /orders/items/1"]
    page.keyboard.press("Space")
    expect(rows(page)).to_have_count(3)
    page.get_by_role("button", name="Clear").click()
    expect(rows(page)).to_have_count(0)
    expect_passed(page, 0)
    expect(page.get_by_text("No exchange matches yet")).to_be_visible()
    get(gateway, "/orders/items/4")
    expect_passed(page, 1)
    assert requests_shown(page) == ["GET /orders/items/4"]


def test_a_row_is_chosen_and_opened_by_keyboard(page: Page, gateway: Gateway) -> None:
    forget_exchanges(gateway)
    open_list(page)
    for number in range(1, 5):
        get(gateway, f"/orders/items/{number}")
    expect_passed(page, 4)
    rows(page).first.locator("a").focus()
    chosen = page.locator(".exchanges tr[aria-current] a")
    for key, number in (
        ("ArrowDown", 3),
        ("ArrowDown", 2),
        ("ArrowUp", 3),
        ("End", 1),
        ("Home", 4),
        ("ArrowUp", 4),
        ("End", 1),
    ):
        page.keyboard.press(key)
        expect(chosen).to_have_text(f"GET /orders/items/{number}")
        expect(chosen).to_be_focused()
    get(gateway, "/orders/items/5")
    expect_passed(page, 5)
    expect(page.get_by_role("button", name="Resume")).to_be_visible()  # rows do not move while they are read
    assert len(requests_shown(page)) == 4
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("GET /orders/items/1")
    page.go_back()
    expect(rows(page)).to_have_count(5)


def test_a_recording_is_begun_listed_and_ended(page: Page, gateway: Gateway) -> None:
    forget_exchanges(gateway)
    open_list(page, "?api=broken&status=5xx")
    page.get_by_text("Recordings", exact=True).click()
    page.get_by_label("Minutes").fill("2")
    page.get_by_role("button", name="Record matching exchanges").click()
    recordings = page.locator(".recordings li")
    expect(recordings).to_contain_text("api broken, status 5xx until")
    expect(recordings).to_contain_text("node-1 observed")
    axe(page)
    with gateway.controller() as client:
        (under_way,) = client.get("/v1/recordings").json()["recordings"]
        assert under_way["seconds"] == 120
    show(page, "#/")
    eventually("the page watches no more", lambda: followers(gateway) == 1)
    get(gateway, "/broken/items")
    last_id(gateway, "broken")
    open_list(page, "?api=broken")
    expect(rows(page)).to_have_count(1)
    page.get_by_text("Recordings: 1 under way").click()
    page.get_by_role("button", name="Stop recording api broken, status 5xx").click()
    expect(page.get_by_text("No recording is under way.")).to_be_visible()
    with gateway.controller() as client:
        assert client.get("/v1/recordings").json()["recordings"] == []


def test_a_recordings_filter_is_refused_at_its_field(page: Page, faults: Faults) -> None:
    faults.allow("status of 4(00|22)")
    show(page, "#/exchanges?policy=nobody")
    page.get_by_text("Recordings", exact=True).click()
    page.get_by_role("button", name="Record matching exchanges").click()
    expect(page.get_by_label("Policy", exact=True)).to_have_accessible_description(re.compile("expected one of"))
    expect(page.get_by_text("No recording is under way.")).to_be_visible()


def test_a_page_hidden_for_long_stops_watching(open_page: Open, gateway: Gateway) -> None:
    page = open_signed_in(open_page, WIDE, gateway)  # a context keeps the clock that it was given
    page.clock.install()
    open_list(page)
    assert followers(gateway) == 1
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    page.clock.fast_forward("04:00")
    get(gateway, "/orders/items/1")
    expect_passed(page, 1)
    page.clock.fast_forward("01:10")
    eventually("the node is asked for nothing", lambda: followers(gateway) == 0)
    page.evaluate(hide, False)
    eventually("the node is asked again", lambda: followers(gateway) == 1)
    expect(page.get_by_text("The page was hidden for five minutes")).to_be_visible()


HOSTILE = "<img src=x onerror=alert(1)>\u202egnp.exe\u2066\u00ad\u200b<script>alert(2)</script>"
SHOWN = r"<img src=x onerror=alert(1)>\u202egnp.exe\u2066\xad\u200b<script>alert(2)</script>"


def test_markup_of_clients_and_policies_is_shown_as_text(narrow: Page, gateway: Gateway, upstream: Upstream) -> None:
    """In the list, and at 360 px: markup, characters that turn text around, a path that is very long."""
    page = narrow
    page.on("dialog", lambda dialog: pytest.fail(f"a script has run: {dialog.message}"))
    raises = attach("raise-error", {"phase": "request", "message": f"{HOSTILE}\x1b[31m"})
    gateway.deploy(api("hostile", upstream.url, [raises]))
    forget_exchanges(gateway)
    open_list(page, "?api=hostile")
    path = f"/hostile/{'x' * 6000}?q={quote(HOSTILE, safe='<>()=')}"
    assert httpx.get(gateway.url + path, headers={b"x-hostile": HOSTILE.encode()}).status_code == 500
    expect_passed(page, 1)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    assert page.locator("main img, main script").count() == 0
    box = rows(page).first.bounding_box()
    assert box, "expected a row"
    assert box["height"] < 250
    rows(page).first.locator("a").click()
    expect(page.locator(".verdict")).to_contain_text(SHOWN)
    expect(page.locator(".failure .lines")).to_contain_text(f"{SHOWN}\\x1b[31m")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    assert page.locator("main img, main script").count() == 0
    row = page.locator("table.fields tr", has_text="x-hostile")
    expect(row.locator("td").first).to_have_text(SHOWN)
    reflow(page)
    axe(page)
    gateway.remove("hostile")
