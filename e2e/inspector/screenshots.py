"""Screenshots that are compared with those of the last change: screenshots/NAME-LOOK.png, written with `--update`.

It is the layout that is compared, which letters that are drawn a little otherwise do not change. With the variable
STRICT_SCREENSHOTS, and with the release of the browser and the fonts that a file says it was made with, it is every
pixel.
"""

from __future__ import annotations

import functools
import io
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops, ImageFilter, ImageOps
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import FloatRect, Locator, Page

from e2e.inspector.chromium import looks
from e2e.kit.places import ROOT

FOLDER = Path(__file__).resolve().parent / "screenshots"
OUTPUT = ROOT / "build" / "inspector-screenshots"
COLOURS = 16
"""Of a file's palette: a page has few, and its letters need the rest."""
STRICT = bool(os.environ.get("STRICT_SCREENSHOTS"))
SECONDS = 10.0
"""How long a page may take to come to rest."""
WIDEST, HIGHEST = 10_000, 1600
"""Pixels of a page that are compared."""

STRICT_LEVEL, STRICT_SHARE = 48, 0.0005
"""A pixel differs if one of its colours differs by so many of 255; so many of all may."""
LOOSE_LEVEL, LOOSE_SHARE, LOOSE_HEIGHT = 64, 0.05, 0.05
"""The tolerance of blurred pixels of a quarter of the size, and of the height of the page."""

STEADY = (Path(__file__).resolve().parent / "steady.js").read_text()
"""Puts one word in the place of each that is another every time: ids, times, durations, sizes, ports, releases."""

WIDTHS = """
() => {
  const canvas = document.createElement("canvas").getContext("2d");
  return ["system-ui", "sans-serif", "monospace", "bold 1px sans-serif"].map((font) => {
    canvas.font = font.includes("px") ? font.replace("1px", "100px") : `100px ${font}`;
    return Math.round(canvas.measureText("Gatewright 0123456789 →✓").width);
  });
}
"""


@dataclass(frozen=True)
class Screenshots:
    """Call it with a page. update: the files are written, and nothing is compared."""

    update: bool = False

    def __call__(self, page: Page, name: str, mask: Sequence[Locator] = (), of: Locator | None = None) -> None:
        """Compares the page, as soon as it has come to rest, with the file of this name in the page's look.

        mask: parts that vary and are no text of the kinds of `STEADY`: charts, counts. of: one element instead of the
        whole page.
        """
        file = FOLDER / f"{name}-{looks[page].name}.png"
        made_with = _rendering_of(page)
        take = functools.partial(_take, page, mask, of)
        if self.update:
            _write(file, _take_at_rest(take), made_with)
            return
        assert file.exists(), f"no screenshot {file.name}: look at the page, and write it with --update"
        expected = Image.open(file)
        strict = STRICT and expected.info.get("made-with") == made_with
        differs = _compare_strictly if strict else _compare_loosely
        end = time.monotonic() + SECONDS
        while wrong := differs(actual := take(), expected.convert("RGB")):
            if time.monotonic() > end:
                _write_difference(file.stem, actual, expected.convert("RGB"))
                how = "" if strict else " (its layout)"
                raise AssertionError(
                    f"{file.name}: {wrong}{how}; see {OUTPUT}/{file.stem}.*.png, and if the page is meant to be so, "
                    f"write it with --update"
                )


def _take(page: Page, mask: Sequence[Locator], of: Locator | None) -> Image.Image:
    page.evaluate(STEADY)
    how: dict[str, Any] = {"animations": "disabled", "caret": "hide", "scale": "css", "mask_color": "#808080"}
    clip: FloatRect = {"x": 0, "y": 0, "width": WIDEST, "height": HIGHEST}  # parts outside of the page are cut off
    data = (
        of.screenshot(mask=list(mask), **how)
        if of
        else page.screenshot(full_page=True, clip=clip, mask=list(mask), **how)
    )
    return Image.open(io.BytesIO(data)).convert("RGB")


def _take_at_rest(take: functools.partial[Image.Image]) -> Image.Image:
    """A screenshot equal to the one taken half a second before."""
    end = time.monotonic() + SECONDS
    last = take()
    while time.monotonic() < end:
        time.sleep(0.5)
        now = take()
        if not _compare_strictly(now, last):
            return now
        last = now
    raise AssertionError("expected a page that comes to rest, got one that goes on changing: mask what changes")


def _rendering_of(page: Page) -> str:
    browser = page.context.browser
    assert browser
    return json.dumps({"chromium": browser.version.partition(".")[0], "widths": page.evaluate(WIDTHS)})


def _write(file: Path, image: Image.Image, made_with: str) -> None:
    """Writes the file with few colours, and only if it looks different: a repository keeps every version."""
    if file.exists():
        before = Image.open(file)
        if before.info.get("made-with") == made_with and not _compare_strictly(image, before.convert("RGB")):
            return
    about = PngInfo()
    about.add_text("made-with", made_with)
    file.parent.mkdir(exist_ok=True)
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True, pnginfo=about)


def _compare_strictly(actual: Image.Image, expected: Image.Image) -> str:
    """The difference; "" if there is none."""
    if actual.size != expected.size:
        return f"expected {_size(expected)}, got {_size(actual)}"
    return _share(_difference(actual, expected), STRICT_LEVEL, STRICT_SHARE)


def _compare_loosely(actual: Image.Image, expected: Image.Image) -> str:
    """The difference of the layouts alone; "" if there is none."""
    if actual.width != expected.width or abs(actual.height / expected.height - 1) > LOOSE_HEIGHT:
        return f"expected about {_size(expected)}, got {_size(actual)}"
    size = (expected.width // 4, expected.height // 4)
    left, right = (image.resize(size).filter(ImageFilter.GaussianBlur(2)) for image in (actual, expected))
    return _share(_difference(left, right), LOOSE_LEVEL, LOOSE_SHARE)


def _difference(left: Image.Image, right: Image.Image) -> Image.Image:
    """The greatest difference of the colours of each pixel."""
    red, green, blue = ImageChops.difference(left, right).split()
    return ImageChops.lighter(ImageChops.lighter(red, green), blue)


def _share(difference: Image.Image, level: int, most: float) -> str:
    differing = sum(difference.histogram()[level + 1 :])
    share = differing / (difference.width * difference.height)
    where = difference.point(lambda value: 255 * (value > level)).getbbox()
    return (
        "" if share <= most else f"expected at most {most:.2%} of its pixels to differ, got {share:.2%} within {where}"
    )


def _size(image: Image.Image) -> str:
    return f"{image.width}×{image.height}"


def _write_difference(stem: str, actual: Image.Image, expected: Image.Image) -> None:
    """Actual, expected, and both with what differs in red, under build/."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    actual.save(OUTPUT / f"{stem}.actual.png")
    expected.save(OUTPUT / f"{stem}.expected.png")
    size = (max(actual.width, expected.width), max(actual.height, expected.height))
    left, right = (_pad(image, size) for image in (actual, expected))
    mask = _difference(left, right).point(lambda value: 255 * (value > STRICT_LEVEL))
    faint = ImageOps.grayscale(left).point(lambda value: 160 + value // 3).convert("RGB")
    faint.paste((220, 0, 0), mask=mask)
    faint.save(OUTPUT / f"{stem}.diff.png")


def _pad(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    padded = Image.new("RGB", size, "magenta")
    padded.paste(image)
    return padded
