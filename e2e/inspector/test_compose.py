"""The page Compose: a request is composed, sent through Envoy, answered and explained; curl commands in and out."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import uuid
from urllib.parse import quote

import pytest
from playwright.sync_api import Locator, Page, expect

from e2e.inspector.accessibility import axe, check_looks
from e2e.inspector.chromium import Faults
from e2e.inspector.pages import show
from e2e.inspector.screenshots import Screenshots
from e2e.kit.gateway import Gateway, api, attach
from e2e.kit.upstream import Reply, Upstream

HOSTILE = '<img src=x onerror="globalThis.ran = true"><script>globalThis.ran = true</script>'


@pytest.fixture
def compose(page: Page) -> Page:
    return open_composer(page)


def open_composer(page: Page, query: str = "") -> Page:
    show(page, f"#/compose{query}")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    return page


def fill(page: Page, label: str, value: str) -> None:
    page.get_by_label(label, exact=True).fill(value)


def value(page: Page, label: str) -> str:
    return page.get_by_label(label, exact=True).input_value()


def add_header(page: Page, name: str, content: str) -> None:
    page.get_by_role("button", name="Add a header").click()
    row = page.locator(".header-rows li").last
    row.locator("input").nth(0).fill(name)
    row.locator("input").nth(1).fill(content)


def headers(page: Page) -> list[tuple[str, str]]:
    rows = page.locator(".header-rows li").all()
    return [(row.locator("input").nth(0).input_value(), row.locator("input").nth(1).input_value()) for row in rows]


def send(page: Page) -> None:
    page.get_by_role("button", name="Send").click()


def answer(page: Page) -> Locator:
    return page.get_by_role("region", name=re.compile("^Answer"))


def body(page: Page) -> Locator:
    return page.get_by_label("Body of the answer")


# ---------------------------------------------------------------- composed and sent


def test_an_operation_is_chosen_sent_and_explained(compose: Page, gateway: Gateway, upstream: Upstream) -> None:
    upstream.reply = lambda _: Reply(200, [("content-type", "application/json")], b'{"id":12345678901234567890,"a":[]}')
    compose.get_by_label("API", exact=True).select_option("orders")
    compose.get_by_label("Operation", exact=True).select_option(label="GET /items/{id}")
    assert value(compose, "Path") == "/orders/items/{id}"
    send(compose)
    expect(compose.get_by_role("alert")).to_have_text("The path has a parameter without a value: {id}.")
    fill(compose, "{id}", "7 a/b")
    assert value(compose, "Path") == "/orders/items/7%20a%2Fb"
    fill(compose, "{id}", "7")
    add_header(compose, "x-user", "ann")
    send(compose)
    expect(answer(compose).get_by_role("heading")).to_have_text("Answer 200")
    expect(body(compose)).to_have_text('{\n  "id": 12345678901234567890,\n  "a": []\n}', use_inner_text=True)
    answer(compose).get_by_label("As received").check()
    expect(body(compose)).to_have_text('{"id":12345678901234567890,"a":[]}', use_inner_text=True)
    answer(compose).get_by_role("tab", name=re.compile("^Headers")).click()
    expect(answer(compose).get_by_role("row", name="content-type application/json")).to_be_visible()
    (received,) = upstream.received
    assert (received.method, received.target) == ("GET", "/items/7")
    assert (received.value("x-user"), received.value("x-tier"), received.value("x-python")) == ("ann", "gold", "yes")

    link = answer(compose).get_by_role("link", name="What each policy did")
    request_id = received.value("x-request-id") or ""
    assert link.get_attribute("href") == f"#/exchanges/{request_id}"
    with gateway.controller() as client:
        exchange = client.get(f"/v1/exchanges/{request_id}").json()
    assert exchange["policies"] == ["log-message:v1.0.0", "add-python-header:v1.0.0", "add-headers:v1.0.0"]


def test_a_body_goes_with_its_type_by_the_keyboard_alone(compose: Page, upstream: Upstream) -> None:
    fill(compose, "Method", "POST")
    fill(compose, "Path", "/orders/items?q=1")
    fill(compose, "Content type", "application/json")
    fill(compose, "Body", '{"grüße": 1}')
    compose.keyboard.press("Control+Enter")
    expect(answer(compose).get_by_role("heading")).to_have_text("Answer 200")
    (received,) = upstream.received
    assert (received.method, received.target, received.body.decode()) == ("POST", "/items?q=1", '{"grüße": 1}')
    assert received.value("content-type") == "application/json"


def test_mistakes_are_shown_at_their_fields(compose: Page, faults: Faults) -> None:
    faults.allow("status of 422")
    add_header(compose, "connection", "close")
    fill(compose, "Path", "no-slash")
    send(compose)
    alert = compose.get_by_role("alert")
    expect(alert).to_contain_text("headers[0]: expected no header of the connection")
    expect(alert).to_contain_text("path: expected a path such as '/orders/7?full=1'")


ANSWERS = {
    "/nowhere/at/all": ("404", "There is no recorded exchange: no policy runs for it"),
    "/plain/items": ("200", "There is no recorded exchange: no policy runs for it"),
    "/broken/items": ("500", "What each policy did"),
    "/slow/items": ("504", "What each policy did"),
    "/denied/items": ("401", "What each policy did"),
}


@pytest.mark.usefixtures("upstream")
def test_answers_of_all_kinds_are_shown(compose: Page) -> None:
    for path, (status, text) in ANSWERS.items():
        fill(compose, "Path", path)
        send(compose)
        expect(answer(compose).get_by_role("heading")).to_have_text(f"Answer {status}")
        expect(answer(compose)).to_contain_text(text)


def test_an_upstreams_markup_is_shown_as_text(compose: Page, upstream: Upstream) -> None:
    upstream.reply = lambda _: Reply(200, [("content-type", "text/html"), ("x-evil", HOSTILE)], HOSTILE.encode())
    fill(compose, "Path", "/plain/items")
    send(compose)
    expect(body(compose)).to_have_text(HOSTILE)
    answer(compose).get_by_role("tab", name=re.compile("^Headers")).click()
    expect(answer(compose).get_by_role("row", name="x-evil")).to_contain_text(HOSTILE)
    assert not compose.evaluate("() => globalThis.ran ?? false")
    assert compose.locator("main img, main script").count() == 0


def test_bytes_and_long_texts_are_shown(compose: Page, upstream: Upstream) -> None:
    fill(compose, "Path", "/plain/items")
    upstream.reply = lambda _: Reply(200, [], b"\xff\x00\xc3")
    send(compose)
    expect(answer(compose)).to_contain_text("The body is not text. In base64:")
    expect(body(compose)).to_have_text("/wDD")
    upstream.reply = lambda _: Reply(200, [], b"x" * 300_000)
    send(compose)
    answer(compose).get_by_role("button", name="Show all 300000 characters").click()
    expect(body(compose)).to_be_focused()
    assert len(body(compose).inner_text()) == 300_000


def test_a_request_can_be_cancelled(compose: Page, gateway: Gateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        name = "compose-silent"
        gateway.deploy(api(name, f"http://127.0.0.1:{silent.getsockname()[1]}", [attach("log-message")]))
        try:
            fill(compose, "Path", f"/{name}/x")
            send(compose)
            connection, _ = silent.accept()
            with connection:
                connection.settimeout(60)
                assert connection.recv(65536)
                compose.get_by_role("button", name="Cancel").click()
                expect(compose.get_by_text("The request was cancelled.")).to_be_visible()
                expect(compose.get_by_role("button", name="Send")).to_be_focused()
                while connection.recv(65536):
                    pass
        finally:
            gateway.remove(name)


# ---------------------------------------------------------------- from elsewhere


def test_the_address_fills_the_form(page: Page) -> None:
    query = f"?method=PUT&path={quote('/orders/items?a=b')}&headers={quote('x-a: 1' + chr(10) + 'x-b: 2')}&body=text"
    open_composer(page, query)
    expect(page.get_by_label("Path", exact=True)).to_have_value("/orders/items?a=b")
    assert (value(page, "Method"), value(page, "Body"), headers(page)) == ("PUT", "text", [("x-a", "1"), ("x-b", "2")])
    open_composer(page, "?api=orders")
    expect(page.get_by_label("Path", exact=True)).to_have_value("/orders/items")


def test_a_recorded_exchange_is_composed_again(compose: Page, upstream: Upstream) -> None:
    fill(compose, "Path", "/orders/items?page=2")
    add_header(compose, "authorization", "Bearer the-secret")
    add_header(compose, "x-user", "ann")
    send(compose)
    expect(answer(compose)).to_be_visible()
    request_id = upstream.received[0].value("x-request-id") or ""
    open_composer(compose, f"?exchange={request_id}")
    expect(compose.get_by_text("the value of authorization was redacted: fill it in")).to_be_visible()
    assert value(compose, "Path") == "/orders/items?page=2"
    assert headers(compose) == [("authorization", ""), ("x-user", "ann")]


def test_sent_requests_are_kept_without_secrets(compose: Page, upstream: Upstream) -> None:
    secret = f"planted-{uuid.uuid4().hex}"
    fill(compose, "Path", f"/orders/items?page=2&access_token={secret}")
    for name in ("Authorization", "cookie", "x-api-key"):
        add_header(compose, name, secret)
    add_header(compose, "x-user", "ann")
    send(compose)
    expect(answer(compose)).to_be_visible()
    assert upstream.received[0].value("x-api-key") == secret
    assert secret not in compose.evaluate(
        "() => JSON.stringify({...sessionStorage}) + JSON.stringify({...localStorage})"
    )
    compose.reload()
    compose.get_by_role("button", name="Fill in GET /orders/items?page=2&access_token=", exact=True).click()
    assert headers(compose) == [("Authorization", ""), ("cookie", ""), ("x-api-key", ""), ("x-user", "ann")]
    compose.get_by_role("button", name="Clear the list").click()
    expect(compose.get_by_text("Nothing yet.")).to_be_visible()


# ---------------------------------------------------------------- curl


def test_a_copied_command_sends_the_same_request(compose: Page, gateway: Gateway, upstream: Upstream) -> None:
    """A real shell and a real curl run the command unchanged."""
    fill(compose, "Method", "POST")
    fill(compose, "Path", "/orders/items?a=it's")
    compose.get_by_label("API", exact=True).select_option("")
    add_header(compose, "x-a", "1 'two' $HOME")
    add_header(compose, "x-empty", "")
    fill(compose, "Body", 'it\'s\n$(id) "x" ü')
    compose.get_by_text("The command", exact=True).click()
    label = "The request as a curl command"
    expect(compose.get_by_label(label)).to_have_value(re.compile("^curl "))
    command = value(compose, label)
    assert command.startswith(f"curl -i '{gateway.url}/orders/items?a=it'")
    assert shlex.split(command)[0] == "curl"
    subprocess.run(["bash", "-c", f"{command} -sS"], check=True, capture_output=True)
    send(compose)
    expect(answer(compose)).to_be_visible()
    by_curl, by_controller = upstream.received
    assert by_curl.body == by_controller.body == 'it\'s\n$(id) "x" ü'.encode()
    assert by_curl.target == by_controller.target
    for request in (by_curl, by_controller):
        assert (request.method, request.value("x-a"), request.value("x-empty")) == ("POST", "1 'two' $HOME", "")
        assert request.value("content-type") is None


def test_a_command_is_pasted_into_the_path_or_its_own_field(compose: Page) -> None:
    compose.get_by_text("From a curl command").click()
    fill(
        compose,
        "A curl command, for example from a browser's “Copy as cURL”",
        "curl -X DELETE http://localhost/orders/items/7 --compressed -H 'te: x'",
    )
    compose.get_by_role("button", name="Fill in", exact=True).click()
    assert (value(compose, "Method"), value(compose, "Path")) == ("DELETE", "/orders/items/7")
    expect(compose.get_by_text("te is left out")).to_be_visible()
    compose.get_by_label("Path", exact=True).evaluate(
        """(input) => {
          const clipboardData = new DataTransfer();
          clipboardData.setData("text", "curl http://localhost/denied/items");
          input.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
        }"""
    )
    assert (value(compose, "Method"), value(compose, "Path")) == ("GET", "/denied/items")


# ---------------------------------------------------------------- for everybody


def test_the_composer_is_for_everybody(page: Page, upstream: Upstream, screenshot: Screenshots) -> None:
    upstream.reply = lambda _: Reply(200, [("content-type", "application/json")], json.dumps({"id": 7}).encode())
    open_composer(page, "?api=orders")
    page.get_by_label("Operation", exact=True).select_option(label="GET /items/{id}")
    fill(page, "{id}", "7")
    add_header(page, "x-user", "ann")
    axe(page)
    send(page)
    expect(answer(page).get_by_role("heading")).to_have_text("Answer 200")
    page.get_by_text("From a curl command").click()
    masked = [page.locator("#compose-host"), answer(page).locator("p"), page.locator(".sent .quiet")]
    stops = check_looks(page, lambda: screenshot(page, "compose", mask=masked))
    assert any("Send" in stop for stop in stops)


def test_focus_stays_where_it_was_when_a_header_is_removed(compose: Page) -> None:
    add_header(compose, "a", "1")
    add_header(compose, "b", "2")
    compose.locator(".header-rows li").first.get_by_role("button").click()
    assert headers(compose) == [("b", "2")]
    assert compose.evaluate("() => document.activeElement.value") == "b"
    compose.locator(".header-rows li").first.get_by_role("button").click()
    expect(compose.get_by_role("button", name="Add a header")).to_be_focused()
