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
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

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
LOOKS = (WIDE, NARROW, DARK)


def program() -> str:
    """The browser's program. Skips the test where there is none, or fails it where there has to be one."""
    command = [sys.executable, str(ROOT / "tools" / "browser.py"), "--find"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        (pytest.fail if done.returncode else pytest.skip)(done.stderr.strip())
    return done.stdout.strip()


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser, until the block ends; meanwhile this thread has an event loop of Playwright's: no asyncio.run."""
    executable = program()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, look: Look, origin: str, faults: Faults) -> Iterator[Page]:
    """A page in a context of its own, at no address yet."""
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
    faults.watch(context, origin)
    page = context.new_page()
    looks[page] = look
    try:
        yield page
    finally:
        del looks[page]
        context.close()


looks: dict[Page, Look] = {}
"""Of the pages that are open."""


@dataclass
class Faults:
    """What a page did that none may do: errors on its console, exceptions, violations of its policy, requests that
    leave its origin. `allow` says which errors a test has provoked."""

    found: list[str] = field(default_factory=list)
    _allowed: list[re.Pattern[str]] = field(default_factory=list)

    def allow(self, pattern: str) -> None:
        """Errors with this pattern (of `re`) are part of the test."""
        self._allowed.append(re.compile(pattern))

    def watch(self, context: BrowserContext, origin: str) -> None:
        """All pages of the context, and their workers."""

        def leaves(request: Request) -> None:
            address = urlsplit(request.url)
            if address.scheme not in {"data", "blob"} and f"{address.scheme}://{address.netloc}" != origin:
                self.found.append(f"a request that leaves {origin}: {request.method} {request.url}")

        context.on("request", leaves)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.found.append(f"an exception that nobody caught: {error.error}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.found.append(f"console: {message.text} ({message.location.get('url', '')})")

    def check(self) -> None:
        """Fails with all that was found and not allowed."""
        wrong = [each for each in self.found if not any(pattern.search(each) for pattern in self._allowed)]
        assert not wrong, "expected no fault of the page, got:\n  " + "\n  ".join(wrong)
