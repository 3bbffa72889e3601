"""Ways about the Inspector: its address, signing in, going to a page."""

from __future__ import annotations

from urllib.parse import quote

from playwright.sync_api import Page, expect

from e2e.kit.gateway import Gateway


def inspector_of(gateway: Gateway) -> str:
    """The origin of the controller."""
    return f"http://{gateway.process_status('controller')['listen']}"


def management_token(gateway: Gateway) -> str:
    return (gateway.run_dir / "management-token").read_text().strip()


def sign_in(page: Page, origin: str, token: str) -> Page:
    """By the address that has the token, as `gatewright` prints it. The page is at `#/` then."""
    page.goto(f"{origin}/#token={quote(token, safe='')}")
    expect(page.locator("main h1").first).to_be_visible()
    return page


def show(page: Page, fragment: str) -> Page:
    """Goes to a page (`#/nodes`) as a link does, without loading all anew, and returns once it is shown.

    A page's first heading says that it is there; what it shows may still be on its way.
    """
    page.evaluate(
        """(fragment) => {
          document.querySelector("main h1")?.setAttribute("data-before", "");
          if (location.hash === fragment) document.querySelector("main h1")?.removeAttribute("data-before");
          location.hash = fragment;
        }""",
        fragment,
    )
    expect(page.locator("main h1:not([data-before])").first).to_be_visible()
    return page
