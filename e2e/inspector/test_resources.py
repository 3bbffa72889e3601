"""The pages of resources beside APIs: each kind has a list, a page, a history and a way back, for who may see it."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest
from playwright.sync_api import Page, expect

from e2e.inspector.accessibility import axe, check_looks
from e2e.inspector.chromium import WIDE, Faults
from e2e.inspector.conftest import PRETENDED_TOKEN, KeptNode, Open
from e2e.inspector.pages import show, sign_in, table
from e2e.inspector.screenshots import Screenshots
from e2e.kit.gateway import Json, api

PLANTED = "planted-5up3r-53cr3t"
TEAM = {"team": "payments"}


class Case(NamedTuple):
    """A resource. shown: on its page. changed: a member of its spec, and what a second write makes of it. diff: a line
    that this changes. used_by: the title of what uses it, and the name that stands there."""

    kind: str
    plural: str
    name: str
    spec: Json
    shown: str
    changed: tuple[str, object]
    diff: str
    used_by: tuple[str, str] | None = None

    @property
    def document(self) -> Json:
        metadata = {"name": self.name, "labels": TEAM}
        return {"apiVersion": "gatewright.dev/v1", "kind": self.kind, "metadata": metadata, "spec": self.spec}


CASES = [
    Case(
        "Plan", "plans", "gold", {"limits": [{"requests": 1000, "per": "1m"}]}, "1,000 in 1m",
        ("quotas", [{"requests": 5, "period": "day"}]), "period: day", ("Consumers that have it", "acme"),
    ),
    Case(
        "Consumer", "consumers", "acme",
        {"plan": "gold", "jwt": [{"issuer": "https://issuer.example", "subject": "acme"}]},
        "acme of https://issuer.example", ("jwt", [{"issuer": "https://issuer.example", "subject": "two"}]),
        "subject: two",
    ),
    Case(
        "Secret", "secrets", "card", {"values": {"key": PLANTED}}, "{secretRef: card/key}",
        ("values", {"key": f"{PLANTED}-2"}), "a new value", ("APIs that name it", ""),
    ),
    Case(
        "Defaults", "defaults", "careful", {"for": {"labels": TEAM}, "requestTimeout": "10s"}, "requestTimeout",
        ("requestTimeout", "20s"), "requestTimeout: 20s", ("APIs that get them", "refunds"),
    ),
    Case(
        "NodeGateway", "nodegateways", "dmz",
        {"nodes": {"zone": "dmz"}, "listeners": [{"name": "outer", "port": 8081}]},
        "http://127.0.0.1:8081", ("listeners", [{"name": "outer", "port": 8082}]), "port: 8082",
        ("APIs that its nodes may run", "refunds"),
    ),
    Case(
        "Namespace", "namespaces", "payments", {"labels": TEAM, "contexts": ["/refunds"]}, "/refunds",
        ("contexts", ["/refunds", "/pay"]), "- /pay", ("APIs that lie in it", "refunds"),
    ),
]  # fmt: skip
TITLES = {case.plural: case.kind if case.kind.endswith("s") else f"{case.kind}s" for case in CASES}


def client_of(origin: str) -> httpx.Client:
    return httpx.Client(base_url=origin, headers={"authorization": f"Bearer {PRETENDED_TOKEN}"}, timeout=30)


def put(client: httpx.Client, case: Case, document: Json) -> int:
    """The revision."""
    answer = client.put(f"/v1/{case.plural}/{case.name}", json=document)
    assert answer.is_success, answer.text
    revision: int = answer.json()["status"]["revision"]
    return revision


@pytest.fixture
def origin(kept_node: KeptNode) -> Iterator[str]:
    """Of a controller with one resource of each kind, a key of its consumer, and an API that some concern."""
    origin, _ = kept_node
    refunds = api("refunds", "http://127.0.0.1:1")
    refunds["metadata"]["labels"] = TEAM
    with client_of(origin) as client:
        assert (
            client.put("/v1/apis/refunds", json=refunds).is_success or client.post("/v1/apis", json=refunds).is_success
        )
        for case in CASES:
            put(client, case, case.document)
        client.delete("/v1/consumers/acme/keys/first")
        assert client.post("/v1/consumers/acme/keys", json={"name": "first"}).status_code == 201
        yield origin
        client.delete("/v1/apis/refunds")
        for case in (*CASES[1:], CASES[0]):
            client.delete(f"/v1/{case.plural}/{case.name}")


@pytest.fixture
def page(next_page: Open, origin: str) -> Iterator[Page]:
    """It has gone before the resources go that it shows."""
    yield (page := sign_in(next_page(WIDE, origin), origin, PRETENDED_TOKEN))
    page.goto("about:blank")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.plural)
def test_a_resource_is_listed_shown_compared_and_rolled_back(
    page: Page, origin: str, case: Case, screenshot: Screenshots
) -> None:
    title = TITLES[case.plural]
    show(page, "#/resources")
    page.get_by_role("region", name="Kinds of resources").get_by_role("link", name=title, exact=True).click()
    row = table(page, title).locator("tbody tr").filter(has_text=case.name)
    expect(page.get_by_role("navigation", name="Kinds of resources").locator("[aria-current]")).to_have_text(title)
    check_looks(page, lambda: None)
    row.get_by_role("link", name=case.name, exact=True).click()
    expect(page.get_by_role("main")).to_contain_text(case.shown)
    if case.used_by:
        heading, user = case.used_by
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
        expect(page.get_by_role("main").get_by_text(user or "None.", exact=True).last).to_be_visible()
    if case.kind == "Consumer":
        expect(table(page, "API keys")).to_contain_text("first")
    check_looks(page, lambda: screenshot(page, "resource") if case.kind == "Consumer" else None)
    page.get_by_text("As YAML").click()
    expect(page.get_by_label(f"The {case.kind} as YAML")).to_contain_text(f"kind: {case.kind}")

    changed = copy.deepcopy(case.document)
    changed["spec"][case.changed[0]] = case.changed[1]
    with client_of(origin) as client:
        revision = put(client, case, changed)
        page.get_by_role("link", name="History").click()
        rows = table(page, f"History of {case.name}").locator("tbody tr")
        rows.first.get_by_role("link").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(f"{case.name}, revision {revision}")
        expect(page.get_by_role("tabpanel", name="What it changed")).to_contain_text(case.diff)
        page.get_by_role("link", name="History").click()
        rows.nth(1).get_by_role("link").click()
        page.get_by_role("tab", name=f"The {case.kind} then").click()
        expect(page.get_by_role("tabpanel", name=f"The {case.kind} then")).to_contain_text(f"name: {case.name}")
        page.get_by_role("button", name="Roll back to it …").click()
        expect(page.get_by_label("What would change")).to_be_visible()
        page.get_by_role("button", name="Roll back", exact=True).click()
        expect(page).to_have_url(re.compile(f"#/resources/{case.plural}/{case.name}$"))
        newest, *_ = client.get(f"/v1/{case.plural}/{case.name}/revisions").json()["revisions"]
        assert newest["action"] == "rolledBack"
    assert PLANTED not in page.content()


def test_a_resource_is_deleted_unless_another_one_needs_it(page: Page, faults: Faults) -> None:
    faults.allow(r"status of (422|404)")
    show(page, "#/resources/plans/gold")
    expect(table(page, "Consumers that have it")).to_be_visible()
    page.get_by_role("button", name="Delete …").click()
    dialog = page.get_by_role("dialog", name="Delete the Plan gold?")
    axe(page)
    dialog.get_by_role("button", name="Delete").click()
    expect(dialog.get_by_role("alert").last).to_contain_text("give them another plan first")
    dialog.get_by_role("button", name="Cancel").click()

    show(page, "#/resources/consumers/acme")
    page.get_by_role("button", name="Delete … first").click()
    page.get_by_role("dialog", name="Delete the key first?").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("It has no key.")).to_be_visible()
    page.get_by_role("button", name="Delete …").click()
    page.get_by_role("dialog", name="Delete the Consumer acme?").get_by_role("button", name="Delete").click()
    expect(page).to_have_url(re.compile("#/resources/consumers$"))
    expect(page.get_by_text("There are no Consumers here.")).to_be_visible()
    page.get_by_label("Name, or a part of it").fill("acme")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="history of acme").click()
    expect(page.get_by_text("acme is not there any more: it was deleted.")).to_be_visible()


def test_a_role_sees_and_writes_what_it_may(next_page: Open, origin: str) -> None:
    with client_of(origin) as client:
        tokens = {}
        for name, scope in (("viola", {"role": "viewer"}), ("pia", {"role": "publisher", "labels": TEAM})):
            client.delete(f"/v1/tokens/{name}")
            tokens[name] = client.post("/v1/tokens", json={"name": name, **scope}).json()["token"]
    page = sign_in(next_page(WIDE, origin), origin, tokens["viola"])
    for case in CASES:
        show(page, f"#/resources/{case.plural}/{case.name}")
        expect(page.get_by_text(re.compile(r"needs the right \w+:write\. Your role is viewer\."))).to_be_visible()
        expect(page.get_by_role("link", name="History")).to_be_visible()
        expect(page.get_by_role("button", name=re.compile("^Delete"))).to_have_count(0)

    page = sign_in(next_page(WIDE, origin), origin, tokens["pia"])
    show(page, "#/resources")
    kinds = page.get_by_role("region", name="Kinds of resources").get_by_role("link")
    assert kinds.all_inner_texts() == ["Consumers", "Plans", "Secrets", "NodeGateways"]
    show(page, "#/resources/defaults/careful")
    expect(page.get_by_text("Seeing what APIs get by Defaults needs the right defaults:read.")).to_be_visible()
    show(page, "#/resources/secrets/card")
    expect(page.get_by_role("button", name="Delete …")).to_be_visible()
    page.goto("about:blank")
