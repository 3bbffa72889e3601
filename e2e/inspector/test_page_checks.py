"""The checks of pages find mistakes and pass good pages."""

from __future__ import annotations

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Page

from e2e.inspector import screenshots
from e2e.inspector.accessibility import axe, check_looks, keyboard, reflow
from e2e.inspector.chromium import DARK, NARROW, WIDE, Faults, Look, apply_look, looks
from e2e.inspector.conftest import Open

MOST_BYTES = 2_200_000
SAVE = "<button>Save</button>"
GOOD = """<!doctype html><html lang="en"><title>Good</title><body><main><h1>Good</h1>
<label>Name <input></label> <button>Save</button> <a href="#x">Elsewhere</a>
<div style="overflow: auto" tabindex="0" role="region" aria-label="Rows"><p style="width: 3000px">Wide</p></div>
</main></body></html>"""


@pytest.fixture
def blank(next_page: Open) -> Page:
    return next_page(WIDE, "http://127.0.0.1:1")


def show_html(page: Page, html: str) -> Page:
    page.set_content(html)
    return page


def test_a_good_page_passes_all_checks(blank: Page) -> None:
    show_html(blank, GOOD)
    axe(blank)
    assert keyboard(blank) == ["<input> “”", "<button> “Save”", "<a> “Elsewhere”", "<div> “Rows”"]
    reflow(blank)


AXE = {
    "label (critical)": ("<label>Name <input></label>", "<input>"),
    "color-contrast (serious)": (SAVE, "<button style='color: #999; background: #fff'>Save</button>"),
    "aria-valid-attr-value (critical)": (SAVE, "<button aria-pressed='perhaps'>Save</button>"),
    "html-has-lang (serious)": ('<html lang="en">', "<html>"),
    "target-size (serious)": (
        '<a href="#x">Elsewhere</a>',
        "<a href='#x' style='font: 3px a; display: block; width: 4px'>E</a><a href='#y' style='font: 3px a'>F</a>",
    ),
}


@pytest.mark.parametrize("look", [WIDE, NARROW, DARK], ids=lambda look: look.name)
def test_axe_finds_violations(blank: Page, look: Look) -> None:
    """Each look is checked for its differences: narrow for all but the colours, dark for the colours alone."""
    apply_look(blank, look)
    for rule, (part, instead) in AXE.items():
        assert part in GOOD
        show_html(blank, GOOD.replace(part, instead))
        if look == WIDE or (look == DARK) == rule.startswith("color-contrast"):
            with pytest.raises(AssertionError) as caught:
                axe(blank)
            assert f"  {rule}: " in str(caught.value)
        else:
            axe(blank)


@pytest.mark.parametrize(
    ("condition", "style", "mistake"),
    [
        ("max-width: 40rem", "font: 3px a; display: block; width: 4px", "target-size"),
        ("prefers-color-scheme: dark", "color: #555; background: #444", "color-contrast"),
    ],
    ids=["narrow", "dark"],
)
def test_a_mistake_in_a_single_look_is_found(blank: Page, condition: str, style: str, mistake: str) -> None:
    rule = f"<style>@media ({condition}) {{ p a {{ {style} }} }}</style>"
    links = '<p><a href="#y">One</a> <a href="#z" style="margin-left: 20px">Other</a></p>'
    show_html(blank, GOOD.replace(SAVE, f"{rule}{SAVE}{links}"))
    looks_taken: list[Look] = []
    with pytest.raises(AssertionError, match=mistake):
        check_looks(blank, lambda: looks_taken.append(looks[blank]))
    assert WIDE in looks_taken


KEYBOARD = {
    "“Save”: nothing shows that it has the focus": f"<style>button {{ outline: none }}</style>{SAVE}",
    "“Save”: it is outside of what is shown": "<button style='position: absolute; left: -999px'>Save</button>",
    "it is behind <p> “All”": f"{SAVE}<p style='position: fixed; inset: 0; margin: 0; background: red'>All</p>",
    "“Save”: Tab does not reach it": "<button onfocus='this.blur()'>Save</button>",
    "“Elsewhere”: Tab does not reach it": (
        "<button onkeydown='if (event.key === `Tab`) event.preventDefault()'>Save</button>"
    ),
}


def test_the_keyboard_check_finds_mistakes(blank: Page) -> None:
    for mistake, instead in KEYBOARD.items():
        with pytest.raises(AssertionError) as caught:
            keyboard(show_html(blank, GOOD.replace(SAVE, instead)))
        assert mistake in str(caught.value)


def test_the_focus_may_be_shown_around_its_element(blank: Page) -> None:
    around = "<style>p:focus-within { outline: 2px solid } button { outline: none }</style><p><button>Save</button></p>"
    assert "<button> “Save”" in (keyboard(show_html(blank, GOOD.replace(SAVE, around))) or ())


def test_the_reflow_check_finds_mistakes(blank: Page) -> None:
    for style, where in {
        "width: 330px": "320 px wide",
        "min-width: 25rem": "320 px wide",
        "max-width: 100%": "",
    }.items():
        show_html(blank, GOOD.replace("<h1>", f"<h1 style='{style}'>"))
        if not where:
            reflow(blank)
            continue
        with pytest.raises(AssertionError, match=rf"{where}.*\n.*<h1 .*“Good”"):
            reflow(blank)


def test_errors_of_a_page_are_found(blank: Page, faults: Faults) -> None:
    with blank.expect_event("console"):
        show_html(blank, "<script>console.error('an error of the page')</script>")
    with blank.expect_event("pageerror"):
        blank.evaluate("() => { setTimeout(() => { throw new Error('uncaught in a test'); }); }")
    with blank.expect_request("**"):
        blank.evaluate("() => { fetch('http://127.0.0.1:9/').catch(() => {}); }")
    with pytest.raises(AssertionError) as caught:
        faults.check()
    for words in ("an error of the page", "uncaught in a test", "a request that leaves http://127.0.0.1:1: GET"):
        assert words in str(caught.value)
    faults.allow("")


# ---------------------------------------------------------------- screenshots


def draw_texts(*texts: str) -> Image.Image:
    image = Image.new("RGB", (1280, 800), "white")
    for number, text in enumerate(texts):
        ImageDraw.Draw(image).text((20, 40 * number), text, "black", font_size=18)
    return image


def test_different_screenshots_are_distinguished() -> None:
    rows = ["one row of a table with some words", "another row", "a third row of the same table"]
    page = draw_texts(*rows)
    assert screenshots._compare_strictly(page.quantize(screenshots.COLOURS).convert("RGB"), page) == ""
    assert "pixels to differ" in screenshots._compare_strictly(draw_texts(*rows[:2]), page)
    assert screenshots._compare_loosely(draw_texts(*rows[:2], "a third line of the same table"), page) == ""
    taller = page.crop((0, 0, 1280, 900))
    assert "expected 1280×800, got 1280×900" in screenshots._compare_strictly(taller, page)
    assert "expected about 1280×800, got 1280×900" in screenshots._compare_loosely(taller, page)
    dark = Image.eval(page, lambda value: 255 - value)
    assert "pixels to differ" in screenshots._compare_loosely(dark, page)


def test_screenshots_stay_small_and_are_of_pages_that_are_tested() -> None:
    files = sorted(screenshots.FOLDER.glob("*.png"))
    assert sum(file.stat().st_size for file in files) < MOST_BYTES
    tests = "".join(file.read_text() for file in screenshots.FOLDER.parent.glob("test_*.py"))
    names = {file.stem.rpartition("-")[0] for file in files}
    names_taken = {name for name in names if f'"{name}"' in tests or f'"{name.rpartition("-")[0]}"' in tests}
    assert names - names_taken == set(), "expected none that no test takes any more"
