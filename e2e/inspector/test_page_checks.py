"""The checks of pages find what they are for, and leave what is right."""

from __future__ import annotations

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Page

from e2e.inspector import screenshots
from e2e.inspector.accessibility import axe, keyboard, reflow
from e2e.inspector.chromium import WIDE, Faults
from e2e.inspector.conftest import Open

MOST_BYTES = 2_000_000
SAVE = "<button>Save</button>"
GOOD = """<!doctype html><html lang="en"><title>Good</title><body><main><h1>Good</h1>
<label>Name <input></label> <button>Save</button> <a href="#x">Elsewhere</a>
<div style="overflow: auto" tabindex="0" role="region" aria-label="Rows"><p style="width: 3000px">Wide</p></div>
</main></body></html>"""


@pytest.fixture
def blank(next_page: Open) -> Page:
    return next_page(WIDE, "http://127.0.0.1:1")


def shows(page: Page, html: str) -> Page:
    page.set_content(html)
    return page


def test_what_is_right_is_left(blank: Page) -> None:
    shows(blank, GOOD)
    axe(blank)
    assert keyboard(blank) == ["<input> “”", "<button> “Save”", "<a> “Elsewhere”", "<div> “Rows”"]
    reflow(blank)


@pytest.mark.parametrize(
    ("instead", "of", "found"),
    [
        ("<input>", "<label>Name <input></label>", "label (critical)"),
        ("<button style='color: #999; background: #fff'>Save</button>", SAVE, "color-contrast (serious)"),
        ("<button aria-pressed='perhaps'>Save</button>", SAVE, "aria-valid-attr-value (critical)"),
        ("<html>", '<html lang="en">', "html-has-lang (serious)"),
        ("<a href='#x' style='font: 3px a; display: block; width: 4px'>E</a><a href='#y' style='font: 3px a'>F</a>",
         '<a href="#x">Elsewhere</a>', "target-size (serious)"),
    ],
)  # fmt: skip
def test_axe_finds(blank: Page, instead: str, of: str, found: str) -> None:
    assert of in GOOD
    with pytest.raises(AssertionError) as caught:
        axe(shows(blank, GOOD.replace(of, instead)))
    assert f"  {found}: " in str(caught.value)


@pytest.mark.parametrize(
    ("instead", "found"),
    [
        ("<style>button { outline: none }</style><button>Save</button>", "“Save”: nothing shows that it has the focus"),
        ("<button style='position: absolute; left: -999px'>Save</button>", "“Save”: it is outside of what is shown"),
        (f"{SAVE}<p style='position: fixed; inset: 0; margin: 0; background: red'>All</p>", "it is behind <p> “All”"),
        ("<button onfocus='this.blur()'>Save</button>", "“Save”: Tab does not reach it"),
        ("<button onkeydown='if (event.key === `Tab`) event.preventDefault()'>Save</button>",
         "“Elsewhere”: Tab does not reach it"),
    ],
)  # fmt: skip
def test_the_keyboard_finds(blank: Page, instead: str, found: str) -> None:
    with pytest.raises(AssertionError) as caught:
        keyboard(shows(blank, GOOD.replace(SAVE, instead)))
    assert found in str(caught.value)


def test_the_focus_may_be_shown_around_what_has_it(blank: Page) -> None:
    around = "<style>p:focus-within { outline: 2px solid } button { outline: none }</style><p><button>Save</button></p>"
    assert "<button> “Save”" in (keyboard(shows(blank, GOOD.replace(SAVE, around))) or ())


@pytest.mark.parametrize(
    ("style", "where"),
    [("width: 330px", "320 px wide"), ("min-width: 25rem", "320 px wide"), ("max-width: 100%", "")],
)  # fmt: skip
def test_reflow_finds(blank: Page, style: str, where: str) -> None:
    shows(blank, GOOD.replace("<h1>", f"<h1 style='{style}'>"))
    if not where:
        return reflow(blank)
    with pytest.raises(AssertionError, match=rf"{where}.*\n.*<h1 .*“Good”"):
        reflow(blank)
    return None


def test_faults_are_found(blank: Page, faults: Faults) -> None:
    with blank.expect_event("console"):
        shows(blank, "<script>console.error('an error of the page')</script>")
    with blank.expect_event("pageerror"):
        blank.evaluate("() => { setTimeout(() => { throw new Error('nobody caught this'); }); }")
    with blank.expect_request("**"):
        blank.evaluate("() => { fetch('http://127.0.0.1:9/').catch(() => {}); }")
    with pytest.raises(AssertionError) as caught:
        faults.check()
    for each in ("an error of the page", "nobody caught this", "a request that leaves http://127.0.0.1:1: GET"):
        assert each in str(caught.value)
    faults.allow("")


# ---------------------------------------------------------------- screenshots


def drawn(*texts: str) -> Image.Image:
    image = Image.new("RGB", (1280, 800), "white")
    for number, text in enumerate(texts):
        ImageDraw.Draw(image).text((20, 40 * number), text, "black", font_size=18)
    return image


def test_screenshots_that_differ_are_told_apart() -> None:
    rows = ["one row of a table with some words", "another row", "a third row of the same table"]
    page = drawn(*rows)
    assert screenshots._strictly(page.quantize(screenshots.COLOURS).convert("RGB"), page) == ""
    assert "pixels to differ" in screenshots._strictly(drawn(*rows[:2]), page)
    assert screenshots._loosely(drawn(*rows[:2], "a third line of the same table"), page) == ""
    taller = page.crop((0, 0, 1280, 900))
    assert "expected 1280×800, got 1280×900" in screenshots._strictly(taller, page)
    assert "expected about 1280×800, got 1280×900" in screenshots._loosely(taller, page)
    dark = Image.eval(page, lambda value: 255 - value)
    assert "pixels to differ" in screenshots._loosely(dark, page)


def test_screenshots_stay_small_and_are_of_pages_that_are_tested() -> None:
    files = sorted(screenshots.FOLDER.glob("*.png"))
    assert sum(file.stat().st_size for file in files) < MOST_BYTES
    tests = "".join(file.read_text() for file in screenshots.FOLDER.parent.glob("test_*.py"))
    names = {file.stem.rpartition("-")[0] for file in files}
    taken = {name for name in names if f'"{name}"' in tests or f'"{name.rpartition("-")[0]}"' in tests}
    assert names - taken == set(), "expected none that no test takes any more"
