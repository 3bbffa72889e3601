"""Ways about the Inspector: its address, signing in, going to a page, what stands there by name."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Locator, Page, expect

from e2e.kit.gateway import Gateway


def inspector_of(gateway: Gateway) -> str:
    """The origin of the controller."""
    return f"http://{gateway.process_status('controller')['listen']}"


def management_token(gateway: Gateway) -> str:
    return (gateway.run_dir / "management-token").read_text().strip()


def definitions_of(gateway: Gateway) -> Path:
    """The folder that the controller reads definitions of policies from."""
    arguments = Path(f"/proc/{gateway.pid('controller')}/cmdline").read_text().split("\0")
    return Path(arguments[arguments.index("--definitions") + 1])


def sign_in(page: Page, origin: str, token: str) -> Page:
    """By the address that has the token, as `gatewright` prints it. The page is at `#/` then."""
    page.goto(f"{origin}/#token={quote(token, safe='')}")
    expect(page.locator("main h1").first).to_be_visible()
    return page


def show(page: Page, fragment: str) -> Page:
    """Goes to a page (`#/nodes`) as a link does, without loading all anew, and returns once it is shown.

    A page is there once its first heading is; its content may still be loading.
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


def wait_for_charts(page: Page) -> None:
    """Each chart has a first point, or gives way to a line that says that there were no requests."""
    expect(page.locator('[aria-valuetext="no data yet"]')).to_have_count(0)


def figure(page: Page, name: str) -> Locator:
    return page.locator(".figures > div").filter(has=page.get_by_text(name, exact=True)).locator("dd")


def table(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def trouble_titles(page: Page) -> list[str]:
    return page.locator(".troubles h3").all_inner_texts()
