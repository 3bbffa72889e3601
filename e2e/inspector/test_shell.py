"""The frame around the Inspector's pages: sign-in, menu, colours, a controller that does not answer."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Locator, Page, Request, Route, expect

from e2e.inspector.accessibility import axe, check_looks, keyboard, reflow
from e2e.inspector.chromium import WIDE, Faults
from e2e.inspector.conftest import Open
from e2e.inspector.lone_controller import LoneController
from e2e.inspector.pages import inspector_of, management_token, show, sign_in
from e2e.inspector.screenshots import Screenshots
from e2e.kit.gateway import Gateway

REFUSED, AWAY = r"status of 401", r"net::ERR_"
TOKEN, OTHER = "the-token-of-these-tests", "another-token-of-these-tests"
MENU = {
    "Overview": "#/", "Exchanges": "#/exchanges", "APIs": "#/apis", "Resources": "#/resources",
    "Policies": "#/policies", "Nodes": "#/nodes", "Compose": "#/compose",
}  # fmt: skip


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog", name="Sign in")


def fill_in(page: Page, token: str) -> None:
    page.get_by_label("Management token").fill(token)
    dialog(page).get_by_role("button", name="Sign in").click()


def heading(page: Page, text: str) -> Locator:
    return page.get_by_role("heading", level=1, name=text)


def test_the_frame_is_for_everybody(page: Page) -> None:
    """The frame around a page that has nothing; those that have something are looked at where they are tested."""
    show(page, "#/nothing/here")
    expect(heading(page, "Page not found")).to_be_visible()
    expect(page).to_have_title(re.compile("^Page not found"))
    axe(page)
    assert keyboard(page)[:3] == ["<a> “Skip to the content”", "<a> “Gatewright”", "<a> “Overview”"]
    reflow(page)


# ---------------------------------------------------------------- signing in


def test_a_visitor_is_asked_for_the_token(
    next_page: Open, gateway: Gateway, faults: Faults, screenshot: Screenshots
) -> None:
    faults.allow(REFUSED)
    page = next_page(WIDE, inspector_of(gateway))
    page.goto("/")
    expect(dialog(page)).to_be_visible()
    expect(page.get_by_label("Management token")).to_be_focused()
    expect(page.locator("main .notice")).to_have_count(0)
    expect(page.locator("main")).to_have_text("You are not signed in.")
    axe(page)
    fill_in(page, "clé")
    expect(dialog(page).get_by_role("alert")).to_contain_text("printable ASCII")
    fill_in(page, "no-such-token")
    expect(dialog(page).get_by_role("alert")).to_have_text("The controller does not accept this token.")
    stops = check_looks(page, lambda: screenshot(page, "sign-in", of=dialog(page)))
    assert stops == ["<input id=token> “token”", "<button> “Sign in”"], "expected nothing behind the dialog"
    page.keyboard.press("Escape")
    expect(dialog(page)).to_be_visible()
    fill_in(page, management_token(gateway))
    expect(heading(page, "Overview")).to_be_visible()
    expect(dialog(page)).to_be_hidden()
    page.reload()
    expect(heading(page, "Overview")).to_be_visible()


def test_the_token_of_the_address_is_kept_for_the_tab_and_nowhere_else(
    open_page: Open, lone_controller: LoneController, faults: Faults
) -> None:
    faults.allow(r"401.*/favicon\.ico")  # of a page that names no icon
    lone_controller.start(TOKEN)
    page = open_page(WIDE, lone_controller.origin)
    page.goto("/healthz")
    requests: list[Request] = []
    page.on("request", lambda request: requests.append(request))
    sign_in(page, lone_controller.origin, TOKEN)
    assert page.url == f"{lone_controller.origin}/#/"
    known = page.evaluate("""() => ({
      history: navigation.entries().map((entry) => entry.url), local: {...localStorage}, cookies: document.cookie,
      session: {...sessionStorage}, text: document.documentElement.outerHTML })""")
    assert known["history"] == [f"{lone_controller.origin}/healthz", f"{lone_controller.origin}/#/"]
    assert list(known["session"].values()) == [TOKEN]
    assert (known["local"], known["cookies"], TOKEN in known["text"]) == ({}, "", False)
    assert page.context.cookies() == []
    assert len(requests) > 5
    assert [request.url for request in requests if TOKEN in request.url.partition("#")[0]] == []
    signed = {request.url: request.headers.get("authorization") for request in requests if "/v1/" in request.url}
    assert set(signed.values()) == {f"Bearer {TOKEN}"}
    assert lone_controller.log()
    assert TOKEN not in lone_controller.log()


def test_signing_in_is_of_one_tab_and_ends_with_signing_out(page: Page, faults: Faults) -> None:
    faults.allow(REFUSED)
    other_tab = page.context.new_page()
    other_tab.goto("/")
    expect(dialog(other_tab)).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(dialog(page)).to_be_visible()
    assert page.evaluate("() => sessionStorage.length") == 0
    page.go_back()
    page.goto("/")
    expect(dialog(page)).to_be_visible()


def test_a_controller_without_a_token_asks_for_none(open_page: Open, lone_controller: LoneController) -> None:
    lone_controller.start("")
    page = open_page(WIDE, lone_controller.origin)
    page.goto("/")
    expect(heading(page, "Overview")).to_be_visible()
    expect(dialog(page)).to_be_hidden()
    expect(page.get_by_role("button", name="Sign out")).to_have_count(0)


# ---------------------------------------------------------------- going about


def test_the_menu_leads_to_each_page_and_back_leads_back(page: Page) -> None:
    menu = page.get_by_role("navigation", name="Pages")
    assert menu.get_by_role("link").all_inner_texts() == list(MENU)
    for name, fragment in [*MENU.items()][1:]:
        link = menu.get_by_role("link", name=name)
        link.focus()
        page.keyboard.press("Enter")
        expect(heading(page, name)).to_be_visible()
        expect(link).to_have_attribute("aria-current", "page")
        expect(menu.locator("[aria-current]")).to_have_count(1)
        expect(page).to_have_title(re.compile(f"^{name} · "))
        expect(page.get_by_role("main")).to_be_focused()
        assert page.url.endswith(f"/{fragment}")
    for name in [*MENU][-2::-1]:
        page.go_back()
        expect(heading(page, name)).to_be_visible()


def test_the_first_tab_leads_past_the_menu(page: Page) -> None:
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("Tab")
    assert focus_is_in_main(page)


def test_what_is_loaded_leaves_the_focus_where_it_is(page: Page) -> None:
    loaded = page.get_by_role("heading", name="What needs attention")
    show(page, "#/compose")
    held = list[Route]()
    listing = re.compile(r"/v1/apis(\?|$)")
    page.route(listing, lambda route: held.append(route))
    show(page, "#/")
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("Tab")
    assert focus_is_in_main(page)
    expect(loaded).to_be_hidden()
    for route in held:
        route.continue_()
    page.unroute(listing)
    expect(loaded).to_be_visible()
    assert focus_is_in_main(page)


def focus_is_in_main(page: Page) -> bool:
    return bool(page.evaluate("() => document.querySelector('main').contains(document.activeElement)"))


# ---------------------------------------------------------------- colours


def luminance(page: Page) -> int:
    """Of the page's background, 0 to 255."""
    colour = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) // 3


def test_colours_are_the_systems_until_the_user_chooses(page: Page) -> None:
    assert luminance(page) > 200
    page.emulate_media(color_scheme="dark")
    assert luminance(page) < 60
    colours = page.get_by_role("combobox", name="Colours")
    colours.select_option("light")
    assert luminance(page) > 200
    page.reload()
    expect(heading(page, "Overview")).to_be_visible()
    assert luminance(page) > 200
    colours.select_option("dark")
    page.emulate_media(color_scheme="light")
    assert luminance(page) < 60
    colours.select_option("auto")
    assert luminance(page) > 200


# ---------------------------------------------------------------- the controller goes away, or is another one


@pytest.mark.slow("starts a controller four times, and the page tries again after a while")
def test_a_controller_that_goes_away_is_waited_for(
    open_page: Open, lone_controller: LoneController, faults: Faults
) -> None:
    """By an open page, by one requested meanwhile, and with another token afterwards."""
    faults.allow(f"{REFUSED}|{AWAY}")
    lone_controller.start(TOKEN)
    page = sign_in(open_page(WIDE, lone_controller.origin), lone_controller.origin, TOKEN)
    page.evaluate("() => { globalThis.sameDocument = true; }")
    lone_controller.stop()
    notice = page.get_by_role("status").filter(has_text="The controller does not answer")
    expect(notice).to_be_visible()
    axe(page)
    lone_controller.start(TOKEN)
    expect(notice).to_have_count(0)
    expect(heading(page, "Overview")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)

    show(page, "#/nothing/here")
    lone_controller.stop()
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_role("alert")).to_contain_text("The controller does not answer")
    lone_controller.start(TOKEN)
    expect(heading(page, "Overview")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)

    lone_controller.stop()
    lone_controller.start(OTHER)
    expect(dialog(page)).to_be_visible()
    expect(dialog(page).get_by_role("alert")).to_contain_text("no longer accepts the token that was used until now")
    fill_in(page, OTHER)
    expect(dialog(page)).to_be_hidden()
    expect(heading(page, "Overview")).to_be_visible()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    with page.expect_response(lambda response: response.url.endswith("/v1/apis") and response.status == 200):
        pass
    assert page.evaluate("() => globalThis.sameDocument"), "expected the page to stay, got one that was loaded anew"


def test_a_controller_without_its_database_says_why_and_pages_go_on(
    open_page: Open, lone_controller: LoneController, faults: Faults
) -> None:
    faults.allow(r"status of 503")
    lone_controller.last_good.touch()
    lone_controller.database.write_text("no database" * 100)
    lone_controller.start(TOKEN)
    page = open_page(WIDE, lone_controller.origin)
    page.goto(f"/#token={TOKEN}")
    notice = page.get_by_role("alert")
    for name in ("Overview", "APIs"):
        page.get_by_role("link", name=name, exact=True).click()
        expect(notice).to_contain_text("The controller cannot open its database: ")
        expect(notice).to_contain_text("is damaged: file is not a database; put a backup in its place")
    page.get_by_role("link", name="Overview", exact=True).click()
    lone_controller.database.unlink()
    expect(page.get_by_role("heading", name="What needs attention")).to_be_visible(timeout=30_000)
    expect(notice).to_have_count(0)


# ---------------------------------------------------------------- what pages may not do


def test_every_answer_that_is_a_page_has_the_policy(gateway: Gateway) -> None:
    for path in ("/", "/assets/app.js", "/assets/style.css", "/assets/pages/overview.js"):
        answer = httpx.get(f"{inspector_of(gateway)}{path}")
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert {"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} <= set(
            policy.split("; ")
        )
        assert "unsafe" not in policy


HOSTILE = {
    "markup": """document.body.append(Object.assign(document.createElement("div"), {style: "x"})) ||
       document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='globalThis.ran = true'>")""",
    "a script": """document.body.append(
       Object.assign(document.createElement("script"), {text: "globalThis.ran = true"}))""",
    "an image": """document.body.append(Object.assign(document.createElement("img"), {src: "http://192.0.2.1/x.png"}))""",
    "a request": """fetch("http://192.0.2.1/").catch(() => {})""",
    "another port": """fetch("http://localhost:1/").catch(() => {})""",
}


def test_the_policy_holds_in_this_browser(page: Page, faults: Faults) -> None:
    """The effect that a client's header could have through a flaw in the page: shows that the tests would notice it."""
    for attempt, script in HOSTILE.items():
        with page.expect_console_message(
            lambda message: message.type == "error" and "content security policy" in message.text
        ):
            page.evaluate(f"async () => {{ try {{ await ({script}); }} catch {{ /* it is on the console */ }} }}")
        assert not page.evaluate("() => globalThis.ran ?? false"), attempt
        with pytest.raises(AssertionError, match="content security policy"):
            faults.check()
        faults.messages.clear()
