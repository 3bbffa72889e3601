"""The pages of exchanges: watching, the rows that are shown, one exchange."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from playwright.sync_api import Locator, Page, expect

from e2e.inspector.pages import show
from e2e.kit.gateway import Gateway
from e2e.kit.recorded import record_exchanges, wait_for_exchanges


def open_list(page: Page, query: str = "") -> Page:
    """Opens the list and waits until it is live."""
    show(page, f"#/exchanges{query}")
    return wait_until_live(page)


def wait_until_live(page: Page) -> Page:
    """Waits until the controller has answered, and each node sends exchanges or has a reason not to."""
    expect(page.locator(".counts")).to_have_attribute("data-state", "watching", timeout=30_000)
    expect(page.locator(".nodes")).to_have_text(re.compile("observed|refused"), timeout=30_000)
    return page


def expect_passed(page: Page, count: int) -> None:
    """So many have passed."""
    expect(page.locator(".counts")).to_have_attribute("data-passed", str(count))


def rows(page: Page) -> Locator:
    return page.locator(".exchanges tbody tr")


def requests_shown(page: Page) -> list[str]:
    """The requests in the rows, the newest first."""
    return rows(page).locator("a").all_inner_texts()


@contextmanager
def keep_exchanges(gateway: Gateway, api: str) -> Iterator[httpx.Client]:
    """A client of the gateway, whose exchanges with the API are kept."""
    with record_exchanges(gateway, api=api), httpx.Client(base_url=gateway.url, timeout=30) as client:
        yield client


def last_id(gateway: Gateway, api: str, count: int = 1) -> str:
    """The request id of the newest that is kept, once so many are."""
    return str(wait_for_exchanges(gateway, count, api=api)[-1]["id"])


def explain(page: Page, request_id: str) -> Page:
    """Opens the page of one exchange and waits until it is shown."""
    show(page, f"#/exchanges/{request_id}")
    expect(page.locator(".verdict")).to_be_visible()
    return page


def transcript(gateway: Gateway, exchange: str) -> str:
    """The first lines of `gatewright explain`, of a request id or a file, without the request and the duration."""
    words = ["gatewright", "explain", exchange, "--run-dir", str(gateway.run_dir)]
    result = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout.partition("\n")[0].partition(": ")[2].rpartition("; ")[0]


def verdict(page: Page) -> str:
    """The page's sentence, without its capital and the duration."""
    text = page.locator(".verdict").inner_text()
    return (text[0].lower() + text[1:]).rpartition("; ")[0]


def execution_row(page: Page, policy: str, phase: str = "request") -> Locator:
    """The row of a policy's execution."""
    return page.locator(f'tr[data-policy="{policy}"]').filter(
        has=page.locator("td.phase", has_text=re.compile(f"^{phase}$"))
    )


def details(page: Page, policy: str, phase: str = "request") -> Locator:
    """The details below that row, which is opened if it is closed."""
    button = execution_row(page, policy, phase).get_by_role("button")
    if button.get_attribute("aria-expanded") == "false":
        button.click()
    return page.locator(f"[id={json.dumps(button.get_attribute('aria-controls'))}]")


def tab(page: Page, name: str) -> Locator:
    """A message's panel, which is chosen."""
    page.get_by_role("tab", name=name, exact=True).click()
    return page.get_by_role("tabpanel")
