"""Chromium for the tests of pages: how it is started, what a page is like, and what no page may do."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, WebError, sync_playwright

from e2e.kit.places import ROOT

FLAGS = (
    "--no-sandbox",  # as root, as in CI; it opens what we have made
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--process-per-site",  # a page of a shared context runs in the process of the one before it
    "--font-render-hinting=none",  # or letters' widths depend on what draws them
    "--force-color-profile=srgb",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
TELLS_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`content security policy: ${event.violatedDirective} forbids ${event.blockedURI} ${event.sample}`));
"""


@dataclass(frozen=True)
class Look:
    """How a page is looked at. name: stands in the names of screenshots."""

    name: str
    width: int = 1280
    height: int = 800
    dark: bool = False


WIDE, NARROW, DARK = Look("wide"), Look("narrow", 360, 740), Look("dark", dark=True)


def program() -> str:
    """The browser's program. Skips the test where there is none, or fails it where there has to be one."""
    command = [sys.executable, str(ROOT / "tools" / "browser.py"), "--find"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if not result.stdout:
        (pytest.fail if result.returncode else pytest.skip)(result.stderr.strip())
    return result.stdout.strip()


@contextmanager
def run_browser() -> Iterator[Browser]:
    """A browser, until the block ends; meanwhile this thread has an event loop of Playwright's: no asyncio.run."""
    executable = program()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_context(browser: Browser, look: Look, origin: str, faults: Faults) -> Iterator[Page]:
    """A page in a context of its own, at no address yet."""
    context = _new_context(browser, look, origin)
    try:
        with faults.watching(context, origin), _open_in(context, look) as page:
            yield page
    finally:
        context.close()


class SharedContexts:
    """A context for each look and origin, which pages share one after the other.

    A page finds its files in the cache, and what the browser has compiled of them in the process of a page that stays
    open: it costs half of one in a new context. It finds no storage, no cookies and no permissions.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: dict[tuple[Look, str], BrowserContext] = {}

    @contextmanager
    def opened(self, look: Look, origin: str, faults: Faults) -> Iterator[Page]:
        """A page at no address yet."""
        if (look, origin) not in self._contexts:
            self._contexts[look, origin] = _new_context(self._browser, look, origin)
            _open_empty_page(self._contexts[look, origin], origin)
        context = self._contexts[look, origin]
        with faults.watching(context, origin), _open_in(context, look) as page:
            session = context.new_cdp_session(page)
            session.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
            session.detach()
            yield page
        context.clear_cookies()
        context.clear_permissions()

    def close(self) -> None:
        for context in self._contexts.values():
            context.close()


def _open_empty_page(context: BrowserContext, origin: str) -> None:
    """A page of the origin that asks its server for nothing, not even an icon."""
    page = context.new_page()
    page.route("**", lambda route: route.fulfill(content_type="text/html", body='<link rel="icon" href="data:,">'))
    page.goto(origin)
    page.unroute_all()


def _new_context(browser: Browser, look: Look, origin: str) -> BrowserContext:
    context = browser.new_context(
        viewport={"width": look.width, "height": look.height},
        color_scheme="dark" if look.dark else "light",
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="UTC",
        base_url=origin,
        has_touch=False,
    )
    context.add_init_script(TELLS_VIOLATIONS)
    context.set_default_timeout(15_000)
    return context


@contextmanager
def _open_in(context: BrowserContext, look: Look) -> Iterator[Page]:
    before = context.pages
    page = context.new_page()
    looks[page] = look
    try:
        yield page
    finally:
        del looks[page]
        for new in set(context.pages) - set(before):
            new.close()


looks: dict[Page, Look] = {}
"""The looks of open pages."""


def apply_look(page: Page, look: Look) -> None:
    """Gives the page another look, and returns once it is drawn."""
    page.set_viewport_size({"width": look.width, "height": look.height})
    page.emulate_media(color_scheme="dark" if look.dark else "light")
    page.evaluate("() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
    looks[page] = look


@dataclass
class Faults:
    """The faults of a page: errors on its console, exceptions, violations of its policy, requests to other origins.
    `allow` names the errors that a test provokes."""

    messages: list[str] = field(default_factory=list)
    _allowed: list[re.Pattern[str]] = field(default_factory=list)

    def allow(self, pattern: str) -> None:
        """Errors with this pattern (of `re`) are part of the test."""
        self._allowed.append(re.compile(pattern))

    @contextmanager
    def watching(self, context: BrowserContext, origin: str) -> Iterator[None]:
        """Watches all pages of the context, and their workers."""

        def leaves(request: Request) -> None:
            address = urlsplit(request.url)
            if address.scheme not in {"data", "blob"} and f"{address.scheme}://{address.netloc}" != origin:
                self.messages.append(f"a request that leaves {origin}: {request.method} {request.url}")

        def uncaught(error: WebError) -> None:
            self.messages.append(f"an uncaught exception: {error.error}")

        context.on("request", leaves)
        context.on("console", self._console)
        context.on("weberror", uncaught)
        try:
            yield
        finally:
            context.remove_listener("request", leaves)
            context.remove_listener("console", self._console)
            context.remove_listener("weberror", uncaught)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.messages.append(f"console: {message.text} ({message.location.get('url', '')})")

    def check(self) -> None:
        """Fails with all messages that are not allowed."""
        wrong = [message for message in self.messages if not any(pattern.search(message) for pattern in self._allowed)]
        assert not wrong, "expected no fault of the page, got:\n  " + "\n  ".join(wrong)
