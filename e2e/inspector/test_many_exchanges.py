"""5,000 exchanges a second pass: the page neither freezes nor grows, and can be paused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from e2e.inspector.chromium import WIDE
from e2e.inspector.conftest import Open
from e2e.inspector.lone_controller import LoneController
from e2e.inspector.pages import inspector_of, management_token, show, sign_in
from e2e.inspector.sample import ANSWERED, ask_each
from e2e.inspector.watching import MemoryProbe, begin_frames, end_frames
from e2e.kit.gateway import Gateway, eventually

pytestmark = [pytest.mark.alone, pytest.mark.timeout(180)]
RATE, SECONDS = 5000, 12
MOST_GROWN = 4_000_000
"""Bytes, after 30,000 exchanges more, which are 60 MB of JSON: what waits just then, and what was compiled."""
MOST_NODES = 3000
"""Of documents, which wait to be collected just then: a row has 25, and 4,000 times one is filled anew meanwhile."""
TOKEN = "the-token-of-this-test"  # noqa: S105


def record_each(gateway: Gateway, file: Path) -> Path:
    """One exchange of each sample API as an engine has recorded it, a line each."""
    headers = {"authorization": f"Bearer {management_token(gateway)}", "accept": "application/x-ndjson"}
    with httpx.Client(base_url=inspector_of(gateway), headers=headers, timeout=30) as client:
        answer = client.post("/v1/recordings", json={"seconds": 60})
        assert answer.status_code == 201, answer.text
        assert ask_each(gateway) == ANSWERED

        def kept_exchanges() -> list[str]:
            lines = client.get("/v1/exchanges", params={"kept": "true"}).text.splitlines()
            events = [json.loads(line) for line in lines if line]
            exchanges = [json.dumps(event["exchange"]) for event in events if "exchange" in event]
            return exchanges if len(exchanges) >= len(ANSWERED) - 1 else []  # `plain` passes no engine

        eventually("the exchanges are recorded", kept_exchanges, 30)
        file.write_text("\n".join(kept_exchanges()))
        client.delete(f"/v1/recordings/{answer.json()['id']}")
    return file


@contextmanager
def run_reporting_node(address: str, file: Path, rate: int, total: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "e2e.inspector.reporting_node", address, str(file)]
    command += ["--rate", str(rate), "--total", str(total)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def wait_for(page: Page, seconds: float) -> None:
    """Waits until the exchanges that a node sends in so many seconds have passed or were dropped."""
    page.wait_for_function(
        """(count) => {
          const { passed, dropped } = document.querySelector(".counts").dataset;
          return Number(passed) + Number(dropped) >= count;
        }""",
        arg=RATE * seconds,
        timeout=90_000,
    )


def test_the_live_page_stays_quick_and_small(
    open_page: Open, gateway: Gateway, lone_controller: LoneController, tmp_path: Path
) -> None:
    templates = record_each(gateway, tmp_path / "exchanges.ndjson")
    lone_controller.start(TOKEN)
    page = sign_in(open_page(WIDE, lone_controller.origin), lone_controller.origin, TOKEN)
    probe = MemoryProbe(page)
    show(page, "#/exchanges")
    expect(page.locator(".counts[data-state=watching]")).to_be_visible()
    begin_frames(page)
    page.wait_for_timeout(2000)
    idle = end_frames(page)
    begin_frames(page)
    with run_reporting_node(lone_controller.node_address, templates, RATE, RATE * SECONDS) as node:
        wait_for(page, 5)
        early = probe.read()
        wait_for(page, 8)
        page.get_by_role("button", name="Pause").click()
        expect(page.locator(".counts[data-state=paused]")).to_be_visible()
        rows = page.locator(".exchanges tbody")
        frozen = rows.inner_text()
        wait_for(page, 9)
        assert rows.inner_text() == frozen, "expected rows that stay while it is paused"
        page.get_by_role("button", name="Resume").click()
        expect(page.locator(".counts[data-state=watching]")).to_be_visible()
        assert rows.inner_text() != frozen
        wait_for(page, 11)
        late = probe.read()
        wait_for(page, SECONDS)
        busy = end_frames(page)
        assert node.stdout
        summary = json.loads(node.stdout.readline())
    counts = page.locator(".counts")
    figures = f"idle: {idle}; busy: {busy}; early: {early}; late: {late}; told: {summary}; {counts.inner_text()}"
    print(figures)
    assert int(counts.get_attribute("data-passed") or 0) >= RATE * SECONDS // 2, figures
    assert probe.workers == 1, "expected the page's worker to be measured"
    assert busy.usual <= max(1000, 10 * idle.usual), figures
    assert busy.longest <= max(4000, 20 * idle.longest), figures
    assert late.heap <= early.heap + MOST_GROWN, figures
    assert late.nodes <= early.nodes + MOST_NODES, figures
    assert late.nodes < 30_000, figures
    assert late.listeners <= early.listeners + 20, figures
