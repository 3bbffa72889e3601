"""The page's differences of texts, and how it shows what is not seen, by property."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page

from e2e.inspector.chromium import WIDE, Faults, opened
from e2e.inspector.pages import inspector_of
from e2e.kit.gateway import Gateway

LINES = st.lists(st.sampled_from(["a", "b", "c", "", "é"]), max_size=12)
PAIRS = st.lists(st.tuples(LINES, LINES), min_size=20, max_size=60)
"""Many at once: each call of the browser takes its time."""


@pytest.fixture(scope="module")
def scripted(chromium: Browser, inspected: Gateway) -> Iterator[Page]:
    """A page that has the modules; nobody is signed in."""
    with opened(chromium, WIDE, inspector_of(inspected), Faults()) as page:
        page.goto("/assets/icon.svg")
        yield page


def diffed(page: Page, pairs: list[tuple[list[str], list[str]]]) -> list[list[tuple[str, str]]]:
    script = """async (pairs) => {
      const { diffLines } = await import("/assets/lib/text_diff.js");
      return pairs.map(([before, after]) => diffLines(before, after).map(({ sign, text }) => [sign, text]));
    }"""
    found: list[list[tuple[str, str]]] = page.evaluate(script, pairs)
    return found


@settings(max_examples=30, deadline=None)
@given(pairs=PAIRS)
def test_a_difference_is_both_texts(scripted: Page, pairs: list[tuple[list[str], list[str]]]) -> None:
    """Without what came it is the one, without what went the other; and no shorter one is found by another way."""
    for (before, after), lines in zip(pairs, diffed(scripted, pairs), strict=True):
        assert [text for sign, text in lines if sign != "+"] == before
        assert [text for sign, text in lines if sign != "-"] == after
        same = sum(sign == " " for sign, _ in lines)
        blocks = difflib.SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
        assert same >= sum(block.size for block in blocks)


def test_what_is_too_long_is_replaced_as_a_whole(scripted: Page) -> None:
    script = """async () => {
      const { diffLines } = await import("/assets/lib/text_diff.js");
      const before = Array.from({ length: 200000 }, (_, at) => `line ${at}`);
      const after = before.map((line, at) => (at > 10 && at < 199990 ? `${line}.` : line));
      const lines = diffLines(before, after);
      const same = lines.filter(({ sign }) => sign === " ").length;
      return { same, all: lines.length };
    }"""
    found = scripted.evaluate(script)
    assert (found["same"], found["all"]) == (21, 21 + 2 * 199979)


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20), max_size=40))
def test_what_is_not_seen_is_escaped_as_in_the_terminal(scripted: Page, texts: list[str]) -> None:
    script = """async (texts) => {
      const { visible } = await import("/assets/lib/visible_text.js");
      return texts.map(visible);
    }"""
    for text, shown in zip(texts, scripted.evaluate(script, texts), strict=True):
        assert "".join(escaped(one) for one in text) == shown or not known(text)


def escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def known(text: str) -> bool:
    """Python and the browser may have other versions of Unicode: a character that one of them does not know is open."""
    return all(unicodedata.category(one) != "Cn" for one in text)
