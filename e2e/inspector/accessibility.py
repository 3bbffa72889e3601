"""What WCAG 2.2 AA asks of each page, as far as a program can tell: axe-core's rules, the keyboard, reflow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

OPTIONS = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
IMPACTS = {"serious", "critical"}
MOST_STOPS = 400


def axe(page: Page) -> None:
    """Fails with what axe-core finds of impact serious or critical, and all that breaks a criterion of WCAG's A or AA."""
    found: list[dict[str, Any]] = Axe().run(page, options=OPTIONS).response["violations"]
    wrong = [each for each in found if each["impact"] in IMPACTS or any(tag[:4] == "wcag" for tag in each["tags"])]
    assert not wrong, f"axe-core, at {page.url}:\n" + "\n".join(_told(each) for each in wrong)


def _told(violation: dict[str, Any]) -> str:
    nodes = [
        f"    {' '.join(map(str, node['target']))}\n      {node['html'][:160]}\n      "
        + node["failureSummary"].replace("\n", "\n      ")
        for node in violation["nodes"][:5]
    ]
    more = f"\n    and {len(violation['nodes']) - 5} more" if len(violation["nodes"]) > 5 else ""
    return f"  {violation['id']} ({violation['impact']}): {violation['help']}\n" + "\n".join(nodes) + more


# ---------------------------------------------------------------- keyboard

ABOUT_STOPS = """
() => {
  const drawn = (element, pseudo) => {
    const style = getComputedStyle(element, pseudo);
    return [style.outlineStyle, style.outlineWidth, style.outlineColor, style.boxShadow, style.borderTopColor,
      style.borderBottomColor, style.backgroundColor, style.textDecorationLine].join("|");
  };
  const named = (element) => {
    const text = (element.getAttribute("aria-label") || element.textContent || element.name || "").trim().slice(0, 40);
    return `<${element.localName}${element.id ? ` id=${element.id}` : ""}> “${text}”`;
  };
  const shown = (element) =>
    element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && element.getClientRects().length > 0;
  const tabbable = (element) => {
    if (element.tabIndex < 0 || element.matches(":disabled") || element.closest("[inert]") || !shown(element)) return false;
    if (element.matches("input[type=radio]") && element.name) {
      const group = [...document.querySelectorAll(`input[type=radio][name="${CSS.escape(element.name)}"]`)];
      return element === (group.find((one) => one.checked) ?? group[0]);
    }
    const dialog = document.querySelector("dialog:modal");
    return !dialog || dialog.contains(element);
  };
  const all = "a[href], button, input, select, textarea, summary, iframe, [tabindex], [contenteditable]";
  globalThis.keyboardTest = {
    wanted: [...document.querySelectorAll(all)].filter(tabbable),
    stops: [],
    resting: new Map([...document.querySelectorAll("*")].map((element) => [element, drawn(element)])),
    look() {
      const element = document.activeElement;
      if (!element || element === document.body || this.stops.includes(element)) return null;
      this.stops.push(element);
      const box = element.getBoundingClientRect();
      const inside = box.width > 0 && box.height > 0 && box.right > 0 && box.bottom > 0 &&
        box.left < innerWidth && box.top < innerHeight;
      const [x, y] = [Math.min(Math.max(box.left + box.width / 2, 1), innerWidth - 1),
        Math.min(Math.max(box.top + Math.min(box.height / 2, 20), 1), innerHeight - 1)];
      const top = document.elementFromPoint(x, y);
      const covered = !top || !(element.contains(top) || top.contains(element) || element.labels?.[0]?.contains(top));
      const marked = [element, ...(element.labels ?? [])].some((one) => drawn(one) !== this.resting.get(one));
      const wrong = [];
      if (!inside) wrong.push("it is outside of what is shown");
      else if (covered) wrong.push(`it is behind ${named(top)}`);
      if (!marked) wrong.push("nothing shows that it has the focus");
      return { name: named(element), wrong };
    },
    missed() {
      return this.wanted.filter((element) => element.isConnected && tabbable(element) && !this.stops.includes(element))
        .map(named);
    },
  };
}
"""


def keyboard(page: Page) -> list[str]:
    """Goes through the page by Tab, and answers what it stopped at, in order.

    Fails where something interactive is not reached, where the focus is not to be seen or hidden behind something, and
    where it is caught.
    """
    page.evaluate("() => { document.activeElement?.blur(); window.getSelection()?.removeAllRanges(); scrollTo(0, 0); }")
    page.evaluate(ABOUT_STOPS)
    stops, wrong = [], []
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        stop = page.evaluate("() => globalThis.keyboardTest.look()")
        if stop is None:
            break
        stops.append(stop["name"])
        wrong += [f"{stop['name']}: {each}" for each in stop["wrong"]]
    else:
        wrong.append(f"after {MOST_STOPS} stops there are still others")
    wrong += [f"{name}: Tab does not reach it" for name in page.evaluate("() => globalThis.keyboardTest.missed()")]
    assert not wrong, f"the keyboard, at {page.url}:\n  " + "\n  ".join(wrong)
    return stops


# ---------------------------------------------------------------- reflow

WIDER = """
() => {
  const width = document.documentElement.clientWidth;
  const scrolls = (element) => {
    for (let one = element.parentElement; one && one !== document.body; one = one.parentElement) {
      if (/auto|scroll|hidden|clip/.test(getComputedStyle(one).overflowX)) return true;
    }
    return false;
  };
  if (document.scrollingElement.scrollWidth <= width) return [];
  return [...document.body.querySelectorAll("*")]
    .filter((element) => element.getBoundingClientRect().right > width + 1 && !scrolls(element))
    .slice(0, 8)
    .map((element) => `<${element.localName} class="${element.getAttribute("class") ?? ""}"> ends at ` +
      `${Math.round(element.getBoundingClientRect().right)} of ${width}: “${element.textContent.trim().slice(0, 40)}”`)
    .concat([`the page is ${document.scrollingElement.scrollWidth} wide`]);
}
"""


def reflow(page: Page) -> None:
    """Fails where the page has to be scrolled sideways: at a width of 320 px (400 % zoom), at 200 % zoom, and with
    letters of twice the size. The page has its size again when this returns."""
    for what, width, height, text in (
        ("320 px wide", 320, 640, "100%"), ("at 200 % zoom", 640, 400, "100%"), ("with large text", 1280, 800, "200%"),
    ):  # fmt: skip
        with _resized(page, width, height, text):
            wider = page.evaluate(WIDER)
            assert not wider, f"{what}, at {page.url}:\n  " + "\n  ".join(wider)


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
