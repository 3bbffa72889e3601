"""The frame around the Inspector's pages: sign-in, menu, colours, and what is said when the controller does not answer."""

from __future__ import annotations

from playwright.sync_api import Page

from e2e.inspector.accessibility import axe, keyboard, reflow
from e2e.inspector.screenshots import Screenshots


def test_the_overview_is_for_everybody(view: Page, screenshot: Screenshots) -> None:
    axe(view)
    stops = keyboard(view)
    assert stops[:3] == ["<a> “Skip to the content”", "<a> “Gatewright”", "<a> “Overview”"]
    reflow(view)
    screenshot(view, "overview")
