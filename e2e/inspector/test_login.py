"""People log in at an OpenID provider, from the Inspector and back to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from e2e.inspector.accessibility import axe
from e2e.inspector.chromium import WIDE, Faults
from e2e.inspector.conftest import Open
from e2e.inspector.lone_controller import LoneController
from e2e.kit.counterparts.oidc_provider import INSPECTOR, OTHER_USER, PASSWORD, USER, Provider

TOKEN = "the-token-of-these-tests"  # noqa: S105
ADDRESS = "test-user@zitadel.ch"


@pytest.fixture
def provider(lone_controller: LoneController, tmp_path: Path) -> Iterator[Provider]:
    """The controller accepts the people of it; one of its users has a role."""
    provider = Provider(tmp_path, inspector=f"{lone_controller.origin}/")
    try:
        provider.start()
        grant = {"claim": "email", "value": ADDRESS, "role": "publisher"}
        oidc = {"issuer": provider.issuer, "audience": "orders", "clientId": INSPECTOR, "grants": [grant]}
        lone_controller.start(TOKEN, oidc)
        yield provider
    finally:
        provider.close()


@pytest.fixture
def page(open_page: Open, lone_controller: LoneController, provider: Provider, faults: Faults) -> Page:
    """It asks for a login. The browser leaves it for the provider, whose own page has faults."""
    faults.allow(rf"status of 40[13]|a request that leaves .* {provider.issuer}|{provider.issuer}/favicon.ico")
    page = open_page(WIDE, lone_controller.origin)
    page.goto("/#/apis")
    expect(log_in_button(page)).to_be_visible()
    return page


def log_in_button(page: Page) -> Locator:
    return page.get_by_role("dialog", name="Sign in").get_by_role("button", name="Log in with OpenID Connect")


def log_in(page: Page, user: str) -> None:
    log_in_button(page).click()
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Login").click()


def alert(page: Page) -> Locator:
    return page.get_by_role("dialog", name="Sign in").get_by_role("alert")


def test_a_person_logs_in_and_comes_back_to_the_same_page(page: Page, lone_controller: LoneController) -> None:
    axe(page)
    log_in(page, USER)
    expect(page.get_by_role("heading", level=1, name="APIs")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)
    known = page.evaluate("""() => ({
      history: navigation.entries().map((entry) => entry.url), local: {...localStorage}, cookies: document.cookie,
      session: {...sessionStorage} })""")
    assert page.url == f"{lone_controller.origin}/#/apis"
    assert [url for url in known["history"] if "code=" in url] == []
    assert (known["local"], known["cookies"]) == ({}, "")
    assert set(known["session"]) == {"gatewright.token", "gatewright.token-of-login"}
    headers = {"authorization": f"Bearer {known['session']['gatewright.token']}"}
    assert httpx.get(f"{lone_controller.origin}/v1/caller", headers=headers).json()["actor"] == f"oidc:{ADDRESS}"
    page.reload()
    expect(page.get_by_role("heading", level=1, name="APIs")).to_be_visible()

    page.evaluate("() => sessionStorage.setItem('gatewright.token', 'an.expired.token')")
    expect(alert(page)).to_have_text("Your login has ended. Log in again.")
    log_in(page, USER)
    expect(page.get_by_role("heading", level=1, name="APIs")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(log_in_button(page)).to_be_visible()
    expect(alert(page)).to_be_empty()
    assert page.evaluate("() => sessionStorage.length") == 0


def test_a_login_that_fails_says_why(page: Page, lone_controller: LoneController, provider: Provider) -> None:
    log_in(page, OTHER_USER)
    expect(alert(page)).to_contain_text(
        "You are not logged in: oidc:test-user2@zitadel.ch has no role here: no grant fits"
    )

    log_in_button(page).click()
    expect(page.get_by_label("Username")).to_be_visible()
    page.goto(f"{lone_controller.origin}/?code=stolen&state=of-another-browser")
    expect(alert(page)).to_have_text("This login was not begun in this tab. Log in again.")
    assert page.url == f"{lone_controller.origin}/#/"

    with page.expect_request(lambda request: "code_challenge=" in request.url) as begun:
        log_in_button(page).click()
    query = parse_qs(urlsplit(begun.value.url).query)
    assert (query["code_challenge_method"], query["redirect_uri"]) == (["S256"], [f"{lone_controller.origin}/"])
    expect(page.get_by_label("Username")).to_be_visible()
    (state,) = query["state"]
    page.goto(f"{lone_controller.origin}/?error=access_denied&error_description=Not+today&state={state}")
    expect(alert(page)).to_have_text("The provider has refused the login: Not today.")
    page.goto(f"{lone_controller.origin}/?code=guessed&state={state}")
    expect(alert(page)).to_have_text("This login was not begun in this tab. Log in again.")
    assert provider.asked("/oauth/token") == 1, "expected no exchange of a code that this tab did not ask for"
