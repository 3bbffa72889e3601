"""The page of one exchange: the responder and its reason, the time and the changes of each policy, and its commands."""

from __future__ import annotations

import re
import subprocess
import threading
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import FloatRect, Locator, Page, expect

from e2e.inspector.accessibility import axe, check_looks, reflow
from e2e.inspector.chromium import Faults
from e2e.inspector.exchanges import (
    details,
    execution_row,
    expect_passed,
    explain,
    keep_exchanges,
    last_id,
    open_list,
    rows,
    tab,
    transcript,
    verdict,
)
from e2e.inspector.pages import inspector_of, management_token, show
from e2e.inspector.screenshots import Screenshots
from e2e.kit.closed_port import closed_port
from e2e.kit.gateway import Gateway, api, attach, eventually
from e2e.kit.recorded import forget_exchanges, record_exchanges, wait_for_exchanges
from e2e.kit.upstream import Upstream

TIER = attach("add-headers", {"requestHeaders": [{"name": "x-tier", "value": "gold"}]})
QUIET = attach("log-message")


def send_refused(gateway: Gateway, name: str, path: str = "/items") -> str:
    """The request id of a request to a sample API."""
    forget_exchanges(gateway)
    with keep_exchanges(gateway, name) as client:
        client.get(f"/{name}{path}")
        return last_id(gateway, name)


def send_through_five(gateway: Gateway, upstream: Upstream, name: str) -> str:
    """The request id of one through five policies, of which the third changes a header, and the fourth adds one."""
    marked = attach("add-python-header", {"headerName": "x-python", "headerValue": "yes"})
    gateway.deploy(api(name, upstream.url, [QUIET, QUIET, TIER, marked, QUIET]))
    with keep_exchanges(gateway, name) as client:
        headers = {"x-tier": "none", "authorization": "Bearer secret-of-ann"}
        assert client.get(f"/{name}/x?a=1", headers=headers).status_code == 200
        return last_id(gateway, name)


def test_the_page_of_five_policies_is_for_everybody(
    page: Page, gateway: Gateway, upstream: Upstream, screenshot: Screenshots
) -> None:
    explain(page, send_through_five(gateway, upstream, "five"))
    page.reload()
    expect(page.locator(".verdict")).to_be_visible()
    check_looks(page, lambda: screenshot(page, "exchange", mask=varying_parts(page)))
    tab(page, "As forwarded").locator(".touched button").first.click()
    execution_row(page, "add-headers:v1.0.0").get_by_role("button").click()
    axe(page)
    reflow(page)
    gateway.remove("five")


def varying_parts(page: Page) -> list[Locator]:
    return [page.locator(".timeline td.number, .track, .axis")]


def test_the_page_of_an_error_is_for_everybody(page: Page, gateway: Gateway, screenshot: Screenshots) -> None:
    explain(page, send_refused(gateway, "broken"))
    check_looks(page, lambda: screenshot(page, "exchange-error", mask=varying_parts(page)))


def test_the_policy_that_changed_a_header_is_named(page: Page, gateway: Gateway, upstream: Upstream) -> None:
    """From its header: the third of five, with the values before and after."""
    explain(page, send_through_five(gateway, upstream, "named"))
    forwarded = tab(page, "As forwarded")
    row = forwarded.locator("tr.touched", has_text="x-tier")
    expect(row).to_contain_text("changed by add-headers:v1.0.0")
    row.get_by_role("button").click()
    touch = forwarded.locator(".touches li", has_text="add-headers:v1.0.0, request").first
    expect(touch.locator(".removed")).to_have_text("none")
    expect(touch.locator(".added")).to_have_text("gold")
    assert forwarded.locator("tr.touched").locator("button").all_inner_texts() == ["x-tier", "x-python"]
    touch.get_by_role("button").click()
    expect(execution_row(page, "add-headers:v1.0.0").get_by_role("button")).to_be_focused()
    changes = details(page, "add-headers:v1.0.0")
    expect(changes.locator(".change h4")).to_have_text("header x-tier")
    expect(changes.locator(".diff li")).to_have_text(["none", "gold"])
    response = tab(page, "Response")
    row = response.locator("tr.touched", has_text="x-python")
    expect(row).to_contain_text("changed by add-python-header:v1.0.0")
    row.get_by_role("button").click()
    response.locator(".touches").get_by_role("button", name="add-python-header:v1.0.0, response").click()
    expect(execution_row(page, "add-python-header:v1.0.0", "response").get_by_role("button")).to_be_focused()
    gateway.remove("named")


def test_the_timeline_has_each_execution_and_the_upstream(page: Page, gateway: Gateway, upstream: Upstream) -> None:
    request_id = send_through_five(gateway, upstream, "timed")
    (exchange,) = wait_for_exchanges(gateway, id=request_id)
    explain(page, request_id)
    assert verdict(page) == "the upstream answered 200"
    timeline_rows = page.locator(".timeline tbody tr:not(.details)")
    names = [text.split("\n")[0] for text in timeline_rows.locator("th").all_inner_texts()]
    ran = [execution["policy"] for execution in exchange["executions"]]
    assert names == [*ran[:5], "(upstream)", *ran[5:]]
    took = timeline_rows.locator("td.took").all_inner_texts()
    upstream_ms = exchange["upstreamResponse"]["atMs"] - exchange["forwarded"]["atMs"]
    assert float(took[5]) == pytest.approx(upstream_ms, rel=0.005, abs=0.001), "expected three digits that count"
    bars = [(bar["x"], bar["width"]) for bar in map(bounds, page.locator("td.time .bar").all())]
    axis = bounds(page.locator("td.time .track").first)
    assert all(axis["x"] - 1 <= x and x + width <= axis["x"] + axis["width"] + 3 for x, width in bars)
    of_upstream = bounds(page.locator("tr.upstream td.time .bar"))
    share = upstream_ms / exchange["durationMs"]
    assert of_upstream["width"] / axis["width"] == pytest.approx(share, abs=0.05)
    assert page.get_by_role("row", name=re.compile("add-headers:v1.0.0 request .* changed header x-tier")).count() == 1
    gateway.remove("timed")


def bounds(locator: Locator) -> FloatRect:
    box = locator.bounding_box()
    assert box
    return box


def test_an_exception_has_file_and_line_and_links_to_its_policy(page: Page, gateway: Gateway) -> None:
    request_id = send_refused(gateway, "broken")
    explain(page, request_id)
    failure = page.locator(".failure")  # open without a click
    expect(failure).to_contain_text("exception: raise-error:v1.0.0 on_request: RuntimeError: no price for item 7")
    expect(failure.locator(".place")).to_have_text(re.compile(r"sample-policies/raise-error/policy\.py:10$"))
    expect(execution_row(page, "raise-error:v1.0.0").locator(".outcome")).to_have_text("failed: exception")
    links = {link.inner_text(): link.get_attribute("href") for link in page.locator("main a").all()}
    assert links["broken v1.0"] == "#/apis/broken"
    assert links["node-1"] == "#/nodes/node-1"
    assert links["About raise-error:v1.0.0"] == "#/policies/raise-error/v1.0.0"
    assert links["Compose again"] == f"#/compose?exchange={request_id}"


def test_a_late_policy_is_named(page: Page, gateway: Gateway) -> None:
    explain(page, send_refused(gateway, "slow"))
    assert verdict(page).startswith(
        "the gateway answered 504 because sleep:v1.0.0 failed in the request phase: timeout: "
    )
    expect(page.locator(".failure")).to_contain_text("timeout: the execution got no answer within its timeout")
    expect(execution_row(page, "sleep:v1.0.0").locator(".outcome")).to_have_text("failed: timeout")
    expect(page.locator(".facts").first).to_contain_text("Not runlog-message:v1.0.0")


def test_an_upstream_that_refuses_is_at_fault(page: Page, gateway: Gateway) -> None:
    with closed_port() as port:
        gateway.deploy(api("refuses", f"http://127.0.0.1:{port}", [QUIET]))
        request_id = send_refused(gateway, "refuses")
    explain(page, request_id)
    assert verdict(page) == transcript(gateway, request_id)
    assert verdict(page) == f"the gateway answered 503 because the upstream 127.0.0.1:{port} refused the connection"
    expect(page.locator(".facts").first).to_contain_text("Faultthe upstream's: connection_refused (UF)")
    expect(page.locator("tr.upstream .outcome")).to_have_text("no answer")
    expect(tab(page, "Envoy's response")).to_contain_text("503")
    gateway.remove("refuses")


def test_a_path_of_no_api_is_shown_the_nearest_apis(page: Page, gateway: Gateway) -> None:
    with record_exchanges(gateway, path="/brokn"), httpx.Client(base_url=gateway.url, timeout=30) as client:
        assert client.get("/brokn/items").status_code == 404
        (exchange,) = wait_for_exchanges(gateway, path="/brokn")
    explain(page, exchange["id"])
    assert verdict(page) == "the gateway answered 404 because no API has the path /brokn/items"
    expect(page.locator(".facts").first).to_contain_text(re.compile(r"Curerequest a path .*\(/broken, "))


def test_a_shed_request_is_named(page: Page, gateway: Gateway, upstream: Upstream) -> None:
    busy = attach("sleep", {"seconds": 5}, timeout="30s", maxConcurrency=1)
    gateway.deploy(api("shed", upstream.url, [busy]))
    with record_exchanges(gateway, api="shed"):
        first = threading.Thread(target=httpx.get, args=(f"{gateway.url}/shed/x",), kwargs={"timeout": 60}, daemon=True)
        first.start()
        eventually("the one place is taken", lambda: gateway.is_busy("shed"))
        assert httpx.get(f"{gateway.url}/shed/x").status_code == 503
        (exchange,) = wait_for_exchanges(gateway, api="shed", status="503")
        first.join()
    explain(page, exchange["id"])
    expect(page.locator(".verdict")).to_contain_text("because sleep:v1.0.0 failed in the request phase: overloaded: ")
    gateway.remove("shed")


def test_a_policys_answer_is_shown_as_its_own(page: Page, gateway: Gateway) -> None:
    explain(page, send_refused(gateway, "denied"))
    assert verdict(page) == "python-deny:v1.0.0 answered 401 in the request phase"
    answer = page.locator(".change", has_text="answer 401")
    expect(answer.locator(".added").first).to_be_visible()
    response = tab(page, "Response")
    expect(response.locator("tr.touched").first).to_contain_text("changed by python-deny:v1.0.0")
    expect(tab(page, "As forwarded")).to_contain_text("The request was not forwarded to the upstream.")
    expect(page.get_by_role("tab", name="Upstream's response")).to_have_count(0)


def test_headers_added_by_the_gateway_stand_apart(page: Page, gateway: Gateway, upstream: Upstream) -> None:
    """An invalid filter is removed with a reason, and the tries on the exchange are listed."""
    gateway.deploy(api("formless", upstream.url, [attach("rewrite-json", {"field": "seen", "value": True})]))
    with keep_exchanges(gateway, "formless") as client:
        headers = {"content-type": "application/x-www-form-urlencoded", "x-tenant": "blue"}
        client.post("/formless/items", content=b'{"token": "x"}', headers=headers)
        explain(page, last_id(gateway, "formless"))
    sent = tab(page, "Request as sent")
    names = sent.get_by_role("region", name="Headers").locator("tbody th").all_inner_texts()
    assert "x-tenant" in names
    assert not {"x-request-id", "x-forwarded-for", "x-forwarded-proto", "x-envoy-external-address"} & set(names)
    expect(sent.get_by_role("region", name="Written by the gateway")).to_contain_text("x-request-id")
    expect(sent).to_contain_text("its content-type is a form")
    page.get_by_text("Try a change of a policy on this exchange").click()
    expect(page.get_by_role("region", name="Command to replay")).to_contain_text("gatewright replay 2")
    expect(page.get_by_role("link", name="exchanges where a shadow differs")).to_be_visible()
    axe(page)
    gateway.remove("formless")


def test_a_body_is_shown_as_a_diff_of_lines(page: Page, gateway: Gateway, upstream: Upstream) -> None:
    rewrite = attach("rewrite-json", {"field": "seen", "value": "by a policy"})
    gateway.deploy(api("rewritten", upstream.url, [rewrite]))
    with keep_exchanges(gateway, "rewritten") as client:
        items = {f"item-{number}": number for number in range(10)}
        assert client.post("/rewritten/x", json=items).status_code == 200
        explain(page, last_id(gateway, "rewritten"))
    diff = details(page, "rewrite-json:v1.0.0").locator(".change", has_text="body").locator("li")
    assert diff.evaluate_all("(lines) => lines.map((line) => [line.className, line.textContent])") == [
        ["same quiet", "… 8 unchanged"], ["same", '  "item-7": 7,'], ["same", '  "item-8": 8,'],
        ["removed", '  "item-9": 9'], ["added", '  "item-9": 9,'], ["added", '  "seen": "by a policy"'], ["same", "}"],
    ]  # fmt: skip
    expect(tab(page, "As forwarded").locator("pre")).to_contain_text('"seen": "by a policy"')
    gateway.remove("rewritten")


def test_a_command_asks_the_same_again(page: Page, gateway: Gateway, upstream: Upstream) -> None:
    """Run by a shell, it sends the same request without the redacted values, which it names."""
    gateway.deploy(api("asked", upstream.url, [attach("rewrite-json", {"field": "seen", "value": True})]))
    body = 'it\'s $HOME, `id` and "more"\n\x1b[31m end\t\\n'
    headers = {"x-quoted": "a'b\"c", "cookie": "session=secret-of-ann", "content-type": "text/plain"}
    path = "/asked/x/%2e%2e/y?q=[1]{2}'&r=%20"
    with keep_exchanges(gateway, "asked") as client:
        assert client.post(path, content=body.encode(), headers=headers).status_code == 200
        explain(page, last_id(gateway, "asked"))
    first = upstream.to("/asked")[-1] if upstream.to("/asked") else upstream.received[-1]
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy as curl").click()
    expect(page.get_by_text("Copied. Without header cookie, which is redacted.")).to_be_visible()
    command = page.evaluate("() => navigator.clipboard.readText()")
    assert "secret-of-ann" not in command
    before = len(upstream.received)
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=30)
    assert result.stdout.startswith("HTTP/1.1 200")
    again = upstream.received[before]
    assert (again.method, again.target, again.body) == (first.method, first.target, first.body)
    assert again.value("x-quoted") == "a'b\"c"
    assert again.value("content-type") == "text/plain"
    gateway.remove("asked")


def test_the_download_is_the_engines_document(page: Page, gateway: Gateway, tmp_path: Path) -> None:
    request_id = send_refused(gateway, "broken")
    explain(page, request_id)
    with page.expect_download() as waited:
        page.get_by_role("button", name="Download").click()
    name = waited.value.suggested_filename
    assert re.fullmatch(rf"[0-9T]+\.?[0-9]*Z-GET-broken-items-{request_id[:8]}\.exchange\.json", name), name
    file = tmp_path / name
    waited.value.save_as(file)
    with gateway.controller() as client:
        assert file.read_bytes().rstrip() == client.get(f"/v1/exchanges/{request_id}").content.rstrip()
    assert transcript(gateway, str(file)) == verdict(page)


def test_an_exchange_that_is_not_kept_has_a_cure(page: Page, gateway: Gateway, faults: Faults) -> None:
    faults.allow("status of 404")
    forget_exchanges(gateway)
    show(page, "#/exchanges/00000000-0000-4000-8000-000000000000")
    expect(page.get_by_role("alert")).to_contain_text("No node has an exchange 00000000-0000-4000-8000-000000000000")
    axe(page)
    page.get_by_role("link", name="Watch for this request id").click()
    expect(page.get_by_label("Request id")).to_have_value("00000000-0000-4000-8000-000000000000")


def test_older_and_newer_follow_the_list(page: Page, gateway: Gateway) -> None:
    forget_exchanges(gateway)
    open_list(page, "?api=orders")
    with httpx.Client(base_url=gateway.url) as client:
        for number in range(3):
            client.get(f"/orders/items/{number}")
    expect_passed(page, 3)
    rows(page).nth(1).click()
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("GET /orders/items/1")
    page.get_by_role("link", name="Older").click()
    expect(heading).to_have_text("GET /orders/items/0")
    expect(page.get_by_role("link", name="Older")).to_have_count(0)
    page.get_by_role("link", name="Newer").click()
    page.get_by_role("link", name="Newer").click()
    expect(heading).to_have_text("GET /orders/items/2")
    page.get_by_role("link", name="All exchanges").click()
    expect(page.get_by_label("API", exact=True)).to_have_value("orders")


def test_a_visitor_signs_in_and_returns_to_the_exchange(page: Page, gateway: Gateway, faults: Faults) -> None:
    faults.allow("status of 401")
    request_id = send_refused(gateway, "broken")
    page.evaluate("() => sessionStorage.clear()")
    page.goto(f"{inspector_of(gateway)}/#/exchanges/{request_id}")
    page.get_by_label("Management token").fill(management_token(gateway))
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".verdict")).to_contain_text("raise-error:v1.0.0 failed")
