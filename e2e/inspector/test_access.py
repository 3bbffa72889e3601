"""What the Inspector shows to callers of each role, and what their writes have left: history, audit log, tokens."""

from __future__ import annotations

import httpx
from playwright.sync_api import Page, expect

from e2e.inspector.accessibility import axe
from e2e.inspector.chromium import WIDE, Faults
from e2e.inspector.conftest import PRETENDED_TOKEN, KeptNode, Open
from e2e.inspector.pages import show, sign_in

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


def test_a_viewer_is_told_what_the_role_is_not_for(kept_node: KeptNode, next_page: Open) -> None:
    origin, _ = kept_node
    page = sign_in(next_page(WIDE, origin), origin, create_token(origin, "vera", "viewer"))
    assert menu_of(page) == ["Overview", "APIs", "Policies", "Nodes"]
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
    page.get_by_role("link", name="You are token:vera viewer").click()
    expect(page.get_by_text("Reading APIs and policies apis:read")).to_be_visible()
    axe(page)


def test_a_publisher_of_some_apis_names_one_to_see_its_exchanges(
    kept_node: KeptNode, next_page: Open, faults: Faults
) -> None:
    faults.allow(r"status of 403.*/v1/apis/plain\b")
    origin, _ = kept_node
    page = sign_in(next_page(WIDE, origin), origin, create_token(origin, "paul", "publisher", names=["ord*", "slow"]))
    assert menu_of(page) == ["Overview", "Exchanges", "APIs", "Policies", "Compose"]
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
    expect(page.get_by_role("link", name="You are token admin")).to_be_visible()
    assert "Compose" in menu_of(page)
