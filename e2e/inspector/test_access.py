"""What the Inspector shows to callers of each role, and what their writes have left: history, audit log, tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence

import httpx
from playwright.sync_api import Page, expect

from e2e.inspector.accessibility import axe, check_looks
from e2e.inspector.chromium import WIDE, Faults
from e2e.inspector.conftest import PRETENDED_TOKEN, KeptNode, Open
from e2e.inspector.pages import show, sign_in, table
from e2e.inspector.screenshots import Screenshots
from e2e.kit.gateway import eventually

REFUSED = r"status of 401"


def client_of(origin: str) -> httpx.Client:
    return httpx.Client(base_url=origin, headers={"authorization": f"Bearer {PRETENDED_TOKEN}"}, timeout=30)


def create_token(origin: str, name: str, role: str, **scope: list[str]) -> str:
    """Its text."""
    with client_of(origin) as client:
        answer = client.post("/v1/tokens", json={"name": name, "role": role, **scope})
    assert answer.status_code == 201, answer.text
    text: str = answer.json()["token"]
    return text


def menu_of(page: Page) -> list[str]:
    return page.get_by_role("navigation", name="Pages").get_by_role("link").all_inner_texts()


# ---------------------------------------------------------------- roles


def test_a_viewer_reads_what_the_role_is_not_for(kept_node: KeptNode, next_page: Open) -> None:
    origin, _ = kept_node
    page = sign_in(next_page(WIDE, origin), origin, create_token(origin, "vera", "viewer"))
    assert menu_of(page) == ["Overview", "APIs", "Resources", "Policies", "Nodes"]
    show(page, "#/apis")
    expect(page.get_by_text("Writing APIs needs the right apis:write. Your role is viewer.")).to_be_visible()
    expect(page.get_by_role("link", name="orders", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="New API")).to_have_count(0)
    show(page, "#/apis/orders")
    expect(page.get_by_role("region", name="Nodes")).to_be_visible()
    for role, name in (("link", "Edit"), ("button", "Delete …"), ("link", "Exchanges")):
        expect(page.get_by_role(role, name=name)).to_have_count(0)  # type: ignore[arg-type]
    show(page, "#/compose")
    expect(page.get_by_text("Sending requests needs the right requests:send.")).to_be_visible()
    page.get_by_role("link", name="You are token:vera, viewer").click()
    expect(page.get_by_text("Reading APIs and policies apis:read")).to_be_visible()
    axe(page)


def test_a_publisher_of_some_apis_names_one_to_see_its_exchanges(
    kept_node: KeptNode, next_page: Open, faults: Faults
) -> None:
    faults.allow(r"status of 403.*/v1/apis/plain\b")
    origin, _ = kept_node
    page = sign_in(next_page(WIDE, origin), origin, create_token(origin, "paul", "publisher", names=["ord*", "slow"]))
    assert menu_of(page) == ["Overview", "Exchanges", "APIs", "Resources", "Policies", "Compose"]
    role = "Your role is publisher for APIs with a name like ord* or slow."
    expect(page.get_by_text(f"Seeing what nodes report needs the right nodes:inspect. {role}")).to_be_visible()
    show(page, "#/exchanges")
    expect(page.get_by_text("exchanges are shown of one at a time")).to_be_visible()
    axe(page)
    assert page.get_by_role("main").get_by_role("link").all_inner_texts() == ["orders", "slow"]
    page.get_by_role("link", name="orders").click()
    expect(page.get_by_label("API", exact=True)).to_have_value("orders")
    expect(page.locator(".counts")).to_have_attribute("data-state", "watching")
    page.get_by_role("button", name="All exchanges").click()
    expect(page.get_by_text("exchanges are shown of one at a time")).to_be_visible()
    show(page, "#/apis/plain")
    expect(page.get_by_role("alert")).to_contain_text("which token:paul is for, got plain, which is none")


def test_a_deleted_token_leads_back_to_the_dialog_and_another_shows_its_own_pages(
    kept_node: KeptNode, next_page: Open, faults: Faults
) -> None:
    faults.allow(REFUSED)
    origin, _ = kept_node
    page = sign_in(next_page(WIDE, origin), origin, create_token(origin, "gone", "viewer"))
    expect(page.locator(".troubles, .notice.good")).to_be_visible()
    with client_of(origin) as client:
        assert client.delete("/v1/tokens/gone").status_code == 204
    dialog = page.get_by_role("dialog", name="Sign in")
    expect(dialog.get_by_role("alert")).to_contain_text("it was deleted, or has expired")
    dialog.get_by_label("Management token").fill(PRETENDED_TOKEN)
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="You are token, admin")).to_be_visible()
    assert "Compose" in menu_of(page)


# ---------------------------------------------------------------- history


def write(client: httpx.Client, name: str, display_name: str, reason: str = "") -> int:
    """The new revision."""
    document = client.get(f"/v1/apis/{name}").json()
    del document["status"]
    document["spec"]["displayName"] = display_name
    answer = client.put(f"/v1/apis/{name}", params={"reason": reason}, json=document)
    assert answer.status_code == 200, answer.text
    revision: int = answer.json()["status"]["revision"]
    return revision


def test_a_revision_is_rolled_back_to_unless_another_author_has_written(
    kept_node: KeptNode, next_page: Open, faults: Faults, screenshot: Screenshots
) -> None:
    faults.allow(r"status of 412.*/rollback")
    origin, _ = kept_node
    page = sign_in(next_page(WIDE, origin), origin, PRETENDED_TOKEN)
    with client_of(origin) as client:
        second = write(client, "orders", "Orders of today", "<b>markup</b> is text \u202e too")
        show(page, "#/apis/orders")
        page.get_by_role("link", name="History").click()
        rows = table(page, "History of orders").locator("tbody tr")
        expect(rows.first).to_contain_text("<b>markup</b> is text \\u202e too")
        expect(rows).to_have_count(2)
        check_looks(page, lambda: screenshot(page, "history"))
        rows.last.get_by_role("link").click()
        expect(page.get_by_text("there is nothing before it")).to_be_visible()
        page.get_by_role("button", name="Roll back to it …").click()
        expect(page.get_by_label("What would change")).to_contain_text("displayName: Orders of today")
        check_looks(page, lambda: screenshot(page, "rollback"))

        page.get_by_label("Reason").fill("today is over")
        third = write(client, "orders", "Orders of tomorrow")
        page.get_by_role("button", name="Roll back", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("another author has written orders meanwhile")
        expect(page.get_by_label("What would change")).to_contain_text("displayName: Orders of tomorrow")
        assert client.get("/v1/apis/orders/status").json()["revision"] == third
        page.get_by_role("button", name="Roll back", exact=True).click()
        expect(page).to_have_url(re.compile("#/apis/orders$"))
        newest, *_ = client.get("/v1/apis/orders/revisions").json()["revisions"]
        assert (newest["action"], newest["reason"]) == ("rolledBack", "today is over")

    show(page, f"#/apis/orders/history/{second}")
    expect(page.get_by_role("tabpanel", name="What it changed")).to_contain_text("displayName: Orders of today")
    page.get_by_role("tab", name="What is different now").click()
    expect(page.get_by_role("tabpanel", name="What is different now")).to_contain_text("displayName: orders")
    page.get_by_role("tab", name="The API then").click()
    expect(page.get_by_role("tabpanel", name="The API then")).to_contain_text("displayName: Orders of today")


def test_a_deleted_api_is_brought_back_unless_another_author_has(kept_node: KeptNode, next_page: Open) -> None:
    origin, _ = kept_node
    page = sign_in(next_page(WIDE, origin), origin, PRETENDED_TOKEN)
    with client_of(origin) as client:
        document = client.get("/v1/apis/answered").json()
        del document["status"]
        assert client.delete("/v1/apis/answered").status_code == 204
        show(page, "#/apis?text=answered")
        page.get_by_role("link", name="history of answered").click()
        expect(page.get_by_text("answered is not there any more: it was deleted.")).to_be_visible()
        table(page, "History of answered").locator("tbody tr").last.get_by_role("link").click()
        page.get_by_role("button", name="Roll back to it …").click()
        expect(page.get_by_text("The API would be there again.")).to_be_visible()
        document["spec"]["displayName"] = "Created meanwhile"
        assert client.post("/v1/apis", json=document).status_code == 201
        page.get_by_role("button", name="Roll back", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("another author has written answered meanwhile")
        assert client.get("/v1/apis/answered").json()["spec"]["displayName"] == "Created meanwhile"
        page.get_by_role("button", name="Roll back", exact=True).click()
        expect(page).to_have_url(re.compile("#/apis/answered$"))
        assert client.get("/v1/apis/answered").json()["spec"]["displayName"] == "answered"


# ---------------------------------------------------------------- audit log and tokens


def refuse_deletions(origin: str, viewer: str, apis: Sequence[str]) -> None:
    """Returns once the audit log has an entry for each."""
    text = create_token(origin, viewer, "viewer")
    with httpx.Client(base_url=origin, headers={"authorization": f"Bearer {text}"}) as client:
        for name in apis:
            assert client.delete(f"/v1/apis/{name}").status_code == 403

    def all_are_entered() -> bool:
        with client_of(origin) as client:
            entries = client.get("/v1/audit", params={"actor": f"token:{viewer}", "limit": 100}).json()["entries"]
        return len(entries) == len(apis)

    eventually("the audit log has the refusals", all_are_entered, 20)


def test_the_audit_log_is_filtered_and_shows_what_a_write_changed(
    kept_node: KeptNode, next_page: Open, screenshot: Screenshots
) -> None:
    origin, _ = kept_node
    refuse_deletions(origin, "victor", ["slow"])
    with client_of(origin) as client:
        write(client, "slow", "Slow <i>as ever</i>", "its name")
    page = sign_in(next_page(WIDE, origin), origin, PRETENDED_TOKEN)
    page.get_by_role("link", name="audit log").click()
    rows = table(page, "Audit log").locator("tbody tr")
    expect(rows.first).to_contain_text("changed Api slow")
    page.get_by_label("Name of the resource").fill("slow")
    page.get_by_role("button", name="Show").click()
    expect(rows).to_have_count(3)
    check_looks(page, lambda: screenshot(page, "audit"))
    rows.first.get_by_role("link").first.click()
    expect(page.get_by_role("list", name="What it changed")).to_contain_text('displayName: "Slow <i>as ever</i>"')
    axe(page)
    page.go_back()
    page.get_by_label("Refused only").check()
    page.get_by_label("Who").fill("token:victor")
    page.keyboard.press("Enter")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("token:victor has not the right apis:write")
    assert page.url.endswith("#/audit?actor=token%3Avictor&name=slow&refused=true")


def test_older_entries_of_the_audit_log_have_pages_of_their_own(kept_node: KeptNode, next_page: Open) -> None:
    origin, _ = kept_node
    refuse_deletions(origin, "oscar", [f"none-{number}" for number in range(51)])
    page = sign_in(next_page(WIDE, origin), origin, PRETENDED_TOKEN)
    show(page, "#/audit?actor=token%3Aoscar")
    rows = table(page, "Audit log").locator("tbody tr")
    expect(rows).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("deleteApi none-0")
    expect(page.get_by_role("link", name="Older")).to_have_count(0)
    page.get_by_role("link", name="Newest").click()
    expect(rows).to_have_count(50)


def test_a_token_is_created_shown_once_and_deleted(
    kept_node: KeptNode, next_page: Open, faults: Faults, screenshot: Screenshots
) -> None:
    faults.allow(r"status of 422.*/v1/tokens")
    origin, _ = kept_node
    with client_of(origin) as client:
        for token in client.get("/v1/tokens").json()["tokens"]:
            client.delete(f"/v1/tokens/{token['name']}")
    page = sign_in(next_page(WIDE, origin), origin, PRETENDED_TOKEN)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    show(page, "#/tokens")
    expect(page.get_by_text("There are no tokens yet")).to_be_visible()
    page.get_by_text("New token").click()
    page.get_by_label("Name", exact=True).fill("the bot")
    page.get_by_label("Names").fill("orders, pay-*")
    page.get_by_label("Labels").fill("team")
    create = page.get_by_role("button", name="Create")
    create.click()
    expect(page.get_by_role("alert")).to_have_text("Expected labels as name=value, got team.")
    page.get_by_label("Labels").fill("team=a")
    create.click()
    expect(page.get_by_role("alert")).to_contain_text("name: expected 1 to 63 lower-case letters")
    page.get_by_label("Name", exact=True).fill("bot")
    create.click()
    text = page.get_by_label("Token bot")
    expect(text).to_be_focused()
    expect(table(page, "Tokens").locator("tbody tr")).to_contain_text(
        "APIs with a name like orders or pay-* and the label team=a"
    )
    check_looks(page, lambda: screenshot(page, "tokens", mask=[text]))
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    bearer = {"authorization": f"Bearer {page.evaluate('() => navigator.clipboard.readText()')}"}
    assert httpx.get(f"{origin}/v1/caller", headers=bearer).json()["actor"] == "token:bot"

    page.get_by_role("button", name="Delete … bot").click()
    dialog = page.get_by_role("dialog", name="Delete the token bot?")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    axe(page)
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    assert httpx.get(f"{origin}/v1/caller", headers=bearer).status_code == 200
    page.get_by_role("button", name="Delete … bot").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("There are no tokens yet")).to_be_visible()
    assert httpx.get(f"{origin}/v1/caller", headers=bearer).status_code == 401
    show(page, "#/access")
    show(page, "#/tokens")
    expect(page.get_by_label("Token bot")).to_have_count(0)
