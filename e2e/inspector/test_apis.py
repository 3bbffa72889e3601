"""The pages of APIs: all of them, one of them, and its end."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from e2e.inspector.accessibility import axe, check_looks
from e2e.inspector.chromium import Faults
from e2e.inspector.pages import definitions_of, show
from e2e.inspector.sample import sample_apis
from e2e.inspector.screenshots import Screenshots
from e2e.kit.closed_port import closed_port
from e2e.kit.gateway import Gateway, Json, api, attach
from e2e.kit.upstream import Upstream

SAMPLES = sorted(document["metadata"]["name"] for document in sample_apis(""))
RARE = """
name: rare
version: v1.0.0
runtime: go
processingMode: {requestHeaderMode: PROCESS}
"""


@pytest.fixture
def added_names(gateway: Gateway) -> Iterator[list[str]]:
    """Names of APIs that a test adds: they are gone at its end."""
    names: list[str] = []
    yield names
    with gateway.controller() as client:
        for name in names:
            client.delete(f"/v1/apis/{name}", params={"wait": "15"})


def rows(page: Page) -> Locator:
    return page.get_by_role("region", name="APIs").locator("tbody tr")


def names(page: Page) -> list[str]:
    return rows(page).locator("th a").all_inner_texts()


def test_the_list_shows_all_apis(page: Page, screenshot: Screenshots) -> None:
    show(page, "#/apis")
    expect(rows(page)).to_have_count(len(SAMPLES))
    check_looks(page, lambda: screenshot(page, "apis"))


def test_apis_are_found_by_name_and_by_state(page: Page) -> None:
    show(page, "#/apis")
    expect(page.get_by_role("status").filter(has_text="APIs")).to_have_text(f"{len(SAMPLES)} APIs")
    assert names(page) == SAMPLES
    page.get_by_label("Name, context or host").fill("/BROKEN")
    expect(rows(page)).to_have_count(2)
    expect(page.get_by_role("status").filter(has_text="APIs")).to_have_text(f"2 of {len(SAMPLES)} APIs")
    page.get_by_label("State").select_option("rejected")
    expect(page.get_by_text("No API matches the filter.")).to_be_visible()
    assert page.url.endswith("#/apis?text=%2FBROKEN&state=rejected")
    page.get_by_label("State").select_option("deployed")
    page.reload()
    expect(rows(page)).to_have_count(2)
    assert names(page) == ["broken", "broken-late"]


def test_an_api_shows_what_it_gets_by_defaults(
    page: Page, gateway: Gateway, upstream: Upstream, added_names: list[str]
) -> None:
    added_names.append("guarded")
    document = api("guarded", upstream.url)
    document["metadata"]["labels"] = {"inspected": "defaults"}
    document["spec"]["requestTimeout"] = "30s"
    gateway.deploy(document)
    defaults: Json = {
        "apiVersion": "gatewright.dev/v1",
        "kind": "Defaults",
        "metadata": {"name": "inspected"},
        "spec": {
            "for": {"labels": {"inspected": "defaults"}},
            "policies": {"before": [attach("add-headers", {"requestHeaders": [{"name": "x-default", "value": "1"}]})]},
            "requestTimeout": "10s",
            "enforced": ["requestTimeout"],
        },
    }
    show(page, "#/apis/guarded")
    with gateway.controller() as client:
        try:
            written = client.put("/v1/defaults/inspected", json=defaults)
            assert written.status_code == 201, written.text
            operations = page.get_by_role("region", name="Operations of guarded")
            expect(operations.get_by_text("(Defaults inspected, requested as v1)").first).to_be_visible()
            settings = page.get_by_role("region", name="Settings")
            expect(settings.get_by_text("Defaults inspected, enforced: the API's 30s does not count")).to_be_visible()
            axe(page)
        finally:
            client.delete("/v1/defaults/inspected")
    expect(page.get_by_role("region", name="Settings").get_by_text("the API", exact=True)).to_be_visible()


def test_the_list_follows_changes_and_keeps_the_focus(
    page: Page, gateway: Gateway, upstream: Upstream, added_names: list[str]
) -> None:
    show(page, "#/apis")
    page.get_by_role("link", name="plain", exact=True).focus()
    added_names.append("newcomer")
    gateway.deploy(api("newcomer", upstream.url))
    expect(page.get_by_role("link", name="newcomer")).to_be_visible()
    expect(page.get_by_role("link", name="plain", exact=True)).to_be_focused()
    gateway.remove("newcomer")
    expect(page.get_by_role("link", name="newcomer")).to_have_count(0)
    expect(page.get_by_role("link", name="plain", exact=True)).to_be_focused()


def test_the_page_of_an_api_is_for_everybody(page: Page, screenshot: Screenshots) -> None:
    show(page, "#/apis/orders")
    expect(page.get_by_role("region", name="Nodes")).to_be_visible()

    def turn_yaml() -> None:
        page.get_by_text("As YAML").click()

    def shot() -> None:
        turn_yaml()
        screenshot(page, "api")
        turn_yaml()

    turn_yaml()
    expect(page.get_by_label("The API as YAML")).to_contain_text("kind: Api")
    check_looks(page, shot)


def test_an_api_shows_the_chains_of_its_operations_at_their_versions(
    page: Page, gateway: Gateway, upstream: Upstream, added_names: list[str]
) -> None:
    operations: list[Json] = [
        {"method": "GET", "path": "/a", "policies": [attach("python-deny", timeout="200ms"), attach("log-message")]},
        {"method": "GET", "path": "/b", "headers": [{"name": "x-version", "exact": "2"}]},
        {"method": "GET", "path": "/c", "answer": {"status": 204}},
    ]
    definition = api("chains", upstream.url, [{"name": "log-message", "version": "v1.0.0"}], operations)
    definition["spec"]["upstream"]["second"] = {"url": "http://127.0.0.1:9", "protocol": "http2"}
    operations[1]["upstream"] = "second"
    added_names.append("chains")
    gateway.deploy(definition)
    show(page, "#/apis/chains")
    table = page.get_by_role("region", name="Operations of chains").locator("tbody tr")
    expect(table).to_have_count(3)
    assert table.nth(0).locator("li").all_inner_texts() == [
        "log-message v1.0.0 (API)",
        "python-deny v1.0.0 (operation, requested as v1, timeout 200ms)",
        "log-message v1.0.0 (operation, requested as v1)",
    ]
    expect(table.nth(1).locator("th")).to_have_text("GET /bheader x-version exact 2")
    assert [table.nth(index).locator("td").last.inner_text() for index in range(3)] == [
        "pool main", "pool second", "answers 204",
    ]  # fmt: skip
    deny = table.nth(0).get_by_role("link", name="python-deny")
    assert deny.get_attribute("href") == "#/policies/python-deny/v1.0.0"
    upstreams = page.get_by_role("region", name="Upstreams")
    expect(upstreams).to_contain_text(upstream.url)
    expect(upstreams).to_contain_text("protocol: http2")
    assert page.get_by_role("link", name="Exchanges", exact=True).last.get_attribute("href") == "#/exchanges?api=chains"
    nodes = page.get_by_role("region", name="Nodes")
    expect(nodes).to_contain_text("deployed")
    assert nodes.get_by_role("link", name="node-1").get_attribute("href") == "#/nodes/node-1"


def test_a_nodes_report_of_an_api_is_shown(page: Page, gateway: Gateway, added_names: list[str]) -> None:
    """An API that the node cannot serve now, and one that it refuses because its build lacks a policy."""
    folder = definitions_of(gateway)
    more = folder / "rare-v1.0.0.yaml"
    more.write_text(RARE)
    try:
        with gateway.controller() as client:
            assert client.post("/v1/policies/reload").is_success
            for name, upstream, policies in (
                ("unresolved", "http://nowhere.invalid:8080", []),
                ("refused", "http://127.0.0.1:9", [attach("rare")]),
            ):
                added_names.append(name)
                written = client.post("/v1/apis", params={"wait": "15"}, json=api(name, upstream, policies))
                assert written.status_code == 201, written.text
        show(page, "#/apis?state=pending")
        expect(rows(page)).to_contain_text(re.compile("nowhere.invalid"))
        page.get_by_label("State").select_option("rejected")
        expect(rows(page)).to_contain_text("1 rejected")
        page.get_by_role("link", name="refused").click()
        nodes = page.get_by_role("region", name="Nodes")
        expect(nodes.locator("tbody tr")).to_have_text(
            re.compile("node-1.*rejected.*has no policy rare:v1.0.0", re.DOTALL)
        )
        axe(page)
    finally:
        more.unlink()
        with gateway.controller() as client:
            for name in added_names:
                client.delete(f"/v1/apis/{name}", params={"wait": "15"})
            assert client.post("/v1/policies/reload").is_success


def test_an_api_whose_upstream_is_away_says_so_on_each_page(page: Page, gateway: Gateway) -> None:
    with closed_port() as port:
        gateway.deploy(api("dead", f"http://127.0.0.1:{port}"))
        assert httpx.get(f"{gateway.url}/dead/x", timeout=30).status_code == 503
        sentence = re.compile(r"connections to its upstream 127\.0\.0\.1:\d+ failed, none is open")
        show(page, "#/apis")
        line = page.get_by_role("row").filter(has=page.get_by_role("link", name="dead", exact=True))
        expect(line).to_contain_text(sentence, timeout=30_000)
        expect(line.locator(".badge.warn")).to_have_text("deployed")
        show(page, "#/apis/dead")
        expect(page.locator("main")).to_contain_text(sentence)
        show(page, "#/")
        expect(page.locator(".troubles")).to_contain_text("The upstream of API dead cannot be reached")
    gateway.remove("dead")


def test_an_api_is_deleted_once_its_name_is_typed(
    page: Page, gateway: Gateway, upstream: Upstream, added_names: list[str], faults: Faults
) -> None:
    faults.allow(r"status of 404.*/v1/apis/doomed\b")  # its page asks for its state while it is being deleted
    added_names.append("doomed")
    gateway.deploy(api("doomed", upstream.url))
    assert httpx.get(f"{gateway.url}/doomed/x").status_code == 200
    show(page, "#/apis/doomed")
    expect(page.get_by_role("region", name="Nodes")).to_be_visible()
    page.get_by_role("button", name="Delete …").click()
    dialog = page.get_by_role("dialog", name="Delete doomed?")
    axe(page)
    dialog.get_by_label("Type doomed to delete it").fill("domed")
    dialog.get_by_role("button", name="Delete").click()
    expect(dialog.get_by_role("alert")).to_have_text("Expected doomed, got domed.")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    assert httpx.get(f"{gateway.url}/doomed/x").status_code == 200

    page.get_by_role("button", name="Delete …").click()
    dialog.get_by_label("Type doomed to delete it").fill("doomed")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#/apis$"))
    expect(page.get_by_role("link", name="plain", exact=True)).to_be_visible()
    assert "doomed" not in names(page)
    assert httpx.get(f"{gateway.url}/doomed/x").status_code == 404


def test_an_api_changed_meanwhile_is_not_deleted(
    page: Page, gateway: Gateway, upstream: Upstream, added_names: list[str], faults: Faults
) -> None:
    """The page learns of the other revision only after the request: it is held until then."""
    faults.allow("status of 412")
    added_names.append("contested")
    gateway.deploy(api("contested", upstream.url))
    show(page, "#/apis/contested")
    expect(page.get_by_role("region", name="Nodes")).to_be_visible()
    page.get_by_role("button", name="Delete …").click()
    dialog = page.get_by_role("dialog", name="Delete contested?")
    gateway.deploy(api("contested", upstream.url, [attach("log-message")]))
    dialog.get_by_label("Type contested to delete it").fill("contested")
    dialog.get_by_role("button", name="Delete").click()
    expect(dialog.get_by_role("alert").last).to_contain_text("has been written since")
    assert httpx.get(f"{gateway.url}/contested/x").status_code == 200


def test_the_page_of_an_unknown_api_says_so(page: Page, faults: Faults) -> None:
    faults.allow("status of 404")
    show(page, "#/apis/no-such-api")
    expect(page.get_by_role("alert")).to_contain_text("There is no API no-such-api")
