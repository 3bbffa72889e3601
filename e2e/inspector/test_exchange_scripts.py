"""What the page's modules make of exchanges that a test's gateway does not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from e2e.inspector.chromium import WIDE, Faults, opened
from e2e.inspector.pages import inspector_of
from e2e.kit.gateway import Gateway


@pytest.fixture(scope="module")
def scripted(chromium: Browser, inspected: Gateway) -> Iterator[Page]:
    """A page that has the modules; nobody is signed in."""
    with opened(chromium, WIDE, inspector_of(inspected), Faults()) as page:
        page.goto("/assets/icon.svg")
        yield page


def call(page: Page, module: str, function: str, *arguments: object) -> Any:
    script = """async ([module, name, given]) => {
      const found = (await import(`/assets/lib/exchange/${module}.js`))[name](...given);
      return found instanceof URLSearchParams ? found.toString() : found;
    }"""
    return page.evaluate(script, [module, function, list(arguments)])


def exchange(*executions: dict[str, object], **more: object) -> dict[str, object]:
    return {"policies": ["a:v1.0.0", "b:v1.1.0"], "executions": executions, "outcome": "completed", **more}


def shadow(**more: object) -> dict[str, object]:
    return {"policy": "b:v1.1.0", "phase": "request", "shadow": True, "outcome": "changed", **more}


def test_a_shadow_attachment_answers_and_fails_for_nobody(scripted: Page) -> None:
    differs, fails = (
        shadow(comparison="different", comparedWith=0),
        shadow(outcome="failed", failure={"class": "timeout"}),
    )
    assert call(scripted, "verdict", "notes", exchange(differs)) == ["b:v1.1.0 in shadow: different"]
    assert call(scripted, "verdict", "notes", exchange(fails, fails)) == ["b:v1.1.0 in shadow: failed: timeout"]
    assert call(scripted, "verdict", "notes", exchange(shadow(comparison="same"))) == []
    for each, said in (
        (differs, "it differs from a:v1.0.0"),
        (shadow(comparison="same", comparedWith=0), "the same as a:v1.0.0"),
        (shadow(comparison="different"), "it would change the exchange"),
        (shadow(comparison="same"), "the same as no change"),
        (fails, ""),
    ):
        assert call(scripted, "verdict", "comparison", exchange(), each) == said
    found = call(scripted, "summary", "summary", {**exchange(fails), "request": {"headers": []}})
    assert found["badges"] == ["shadow"]


def test_an_answer_in_the_place_of_another_is_compared_with_it(scripted: Page) -> None:
    before = {"status": 401, "headers": [["x-a", "1"]], "body": {"size": 2, "text": "no"}}
    change = {"what": "answer", "before": before, "after": {**before, "status": 403, "headers": [["x-a", "2"]]}}
    assert call(scripted, "changes", "heading", change) == "answer 401 → 403"
    lines = call(scripted, "changes", "lines", change)
    assert [f"{line['sign']}{line['text']}" for line in lines] == ["-x-a: 1", "+x-a: 2", " ", " no"]


CHANGES: list[tuple[dict[str, object], str, list[str]]] = [
    ({"what": "header", "name": "x-a", "before": ["1", "2"], "after": ["2"]}, "header x-a", ["-1", "-2", "+2"]),
    ({"what": "header", "name": "x-a", "before": ["1"]}, "header x-a", ["-1"]),
    ({"what": "trailer", "name": "x-a", "after": ["1"]}, "trailer x-a", ["+1"]),
    ({"what": "metadata", "name": "user", "before": None, "after": {"id": 7}}, "metadata user", ["-null", '+{"id":7}']),
    ({"what": "analytics", "name": "model", "after": "small"}, "analytics model", ['+"small"']),
    ({"what": "method", "before": "GET", "after": "POST"}, "method", ["-GET", "+POST"]),
    ({"what": "path", "before": "/a", "after": "/b"}, "path", ["-/a", "+/b"]),
    ({"what": "query", "before": "a=1"}, "query", ["-a=1"]),
    ({"what": "upstream", "after": "blue"}, "upstream", ["+blue"]),
    ({"what": "status", "before": 200, "after": 404}, "status", ["-200", "+404"]),
    ({"what": "body", "before": {"size": 3, "base64": "AAEC"}, "after": {"size": 1, "text": "x"}}, "body, 3 → 1 bytes",
     ["-(3 bytes that are no text)", "+x"]),
    ({"what": "body", "after": {"size": 9, "text": "begins", "truncated": True}}, "body, 9 bytes",
     ["+begins", "+… (the rest was not recorded)"]),
    ({"what": "body", "before": {"size": 13, "text": '{"a":1,"b":2}'}, "after": {"size": 2, "text": "no"}},
     "body, 13 → 2 bytes", ['-{"a":1,"b":2}', "+no"]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "heading", "lines"), CHANGES, ids=[str(each[0]["what"]) for each in CHANGES])
def test_each_kind_of_change(scripted: Page, change: dict[str, object], heading: str, lines: list[str]) -> None:
    assert call(scripted, "changes", "heading", change) == heading
    found = call(scripted, "changes", "lines", change)
    assert [f"{line['sign']}{line['text']}" for line in found] == lines


FILTERS: list[tuple[dict[str, str], dict[str, object], str]] = [
    ({}, {}, "all exchanges"),
    ({"errors": "true", "api": "orders"}, {"errors": True, "api": "orders"}, "errors only, api orders"),
    ({"status": "5xx, 404"}, {"status": ["5xx", "404"]}, "status 5xx or 404"),
    ({"header": "x-user=ann=1"}, {"header": {"name": "x-user", "value": "ann=1"}}, "header x-user=ann=1"),
    ({"header": "x-user"}, {"header": {"name": "x-user"}}, "header x-user"),
    ({"sample": "0.1", "id": "7"}, {"id": "7", "sample": 0.1}, "id 7, a share of 0.1"),
    ({"sample": "few"}, {"sample": "few"}, "a share of few"),
]


@pytest.mark.parametrize(("texts", "document", "words"), FILTERS, ids=[each[2] for each in FILTERS])
def test_a_filter_in_json_and_in_words(
    scripted: Page, texts: dict[str, str], document: dict[str, object], words: str
) -> None:
    assert call(scripted, "filter", "asDocument", texts) == document
    assert call(scripted, "filter", "inWords", document) == words
