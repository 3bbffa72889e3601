"""The checks of WCAG 2.2 AA that a program can make on each page: axe-core's rules, the keyboard, reflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT as AXE
from playwright.sync_api import Page

from e2e.inspector.chromium import DARK, NARROW, WIDE, Look, apply_look, looks

HERE = Path(__file__).resolve().parent
CONTRAST = "color-contrast"
OPTIONS: dict[Look, dict[str, Any]] = {
    WIDE: {"rules": {"target-size": {"enabled": True}}},
    NARROW: {"rules": {"target-size": {"enabled": True}, CONTRAST: {"enabled": False}}},
    DARK: {"runOnly": [CONTRAST]},
}
"""By the page's look: narrow, the colours are those of the wide look; dark, nothing but colours is another."""
RUN_AXE = "async (options) => (await axe.run(options)).violations"
IMPACTS = {"serious", "critical"}
MOST_STOPS = 400


def check_looks(page: Page, screenshot: Callable[[], None]) -> list[str]:
    """Runs all checks of this file on the wide page, then those that depend on the look on the narrow and the dark one,
    with a screenshot in each. Returns what Tab stopped at; the page is wide again.
    """
    axe(page)
    stops = keyboard(page)
    reflow(page)
    screenshot()
    for look in (NARROW, DARK):
        apply_look(page, look)
        axe(page)
        screenshot()
    apply_look(page, WIDE)
    return stops


def axe(page: Page) -> None:
    """Fails with what axe-core finds of impact serious or critical, and all that breaks WCAG's levels A and AA."""
    options = {"resultTypes": ["violations"], **OPTIONS[looks.get(page, WIDE)]}
    if page.evaluate("() => globalThis.axe === undefined"):
        page.evaluate(AXE)
    violations: list[dict[str, Any]] = page.evaluate(RUN_AXE, options)
    wrong = [
        violation
        for violation in violations
        if violation["impact"] in IMPACTS or any(tag[:4] == "wcag" for tag in violation["tags"])
    ]
    assert not wrong, f"axe-core, at {page.url}:\n" + "\n".join(_describe(violation) for violation in wrong)


def _describe(violation: dict[str, Any]) -> str:
    nodes = [
        f"    {' '.join(map(str, node['target']))}\n      {node['html'][:160]}\n      "
        + node["failureSummary"].replace("\n", "\n      ")
        for node in violation["nodes"][:5]
    ]
    more = f"\n    and {len(violation['nodes']) - 5} more" if len(violation["nodes"]) > 5 else ""
    return f"  {violation['id']} ({violation['impact']}): {violation['help']}\n" + "\n".join(nodes) + more


# ---------------------------------------------------------------- keyboard

STOPS = (HERE / "keyboard.js").read_text()


def keyboard(page: Page) -> list[str]:
    """Goes through the page by Tab, from its top, and returns the stops in order.

    Fails where something interactive is not reached, where the focus is not to be seen or hidden behind something, and
    where it is caught.
    """
    page.evaluate(STOPS)
    stops, wrong = [], []
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        stop = page.evaluate("() => globalThis.keyboardTest.look()")
        if stop is None:
            break
        stops.append(stop["name"])
        wrong += [f"{stop['name']}: {mistake}" for mistake in stop["wrong"]]
    else:
        wrong.append(f"after {MOST_STOPS} stops there are still others")
    wrong += [f"{name}: Tab does not reach it" for name in page.evaluate("() => globalThis.keyboardTest.missed()")]
    assert not wrong, f"the keyboard, at {page.url}:\n  " + "\n  ".join(wrong)
    return stops


# ---------------------------------------------------------------- reflow

WIDER = (HERE / "reflow.js").read_text()


def reflow(page: Page) -> None:
    """Fails where the page has to be scrolled sideways: at a width of 320 px (400 % zoom), at 200 % zoom, and with
    letters of twice the size. The page has its size again when this returns."""
    for condition, width, height, text in (
        ("320 px wide", 320, 640, "100%"), ("at 200 % zoom", 640, 400, "100%"), ("with large text", 1280, 800, "200%"),
    ):  # fmt: skip
        with _resized(page, width, height, text):
            wider = page.evaluate(WIDER)
            assert not wider, f"{condition}, at {page.url}:\n  " + "\n  ".join(wider)


@contextmanager
def _resized(page: Page, width: int, height: int, text: str) -> Iterator[None]:
    before = page.viewport_size
    assert before
    set_text = "(size) => { document.documentElement.style.fontSize = size; }"
    page.set_viewport_size({"width": width, "height": height})
    page.evaluate(set_text, text)
    page.evaluate("() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
    try:
        yield
    finally:
        page.evaluate(set_text, "")
        page.set_viewport_size(before)
