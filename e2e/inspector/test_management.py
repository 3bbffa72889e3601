"""The pages of the management API: they show the document that the controller serves, to a visitor without a token."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Page, expect

from e2e.inspector.accessibility import check_looks
from e2e.inspector.chromium import WIDE
from e2e.inspector.conftest import Open
from e2e.inspector.lone_controller import LoneController
from e2e.inspector.pages import show, table
from e2e.inspector.screenshots import Screenshots

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def visitor(open_page: Open, lone_controller: LoneController) -> Page:
    """Without a token, at the list of operations."""
    origin = lone_controller.start("the-token-of-others").origin
    page = open_page(WIDE, origin)
    page.goto(f"{origin}/#/management")
    expect(page.get_by_role("heading", name="Management API")).to_be_visible()
    return page


def test_operations_and_shapes_are_browsed_without_a_token(
    visitor: Page, lone_controller: LoneController, screenshot: Screenshots
) -> None:
    document = httpx.get(f"{lone_controller.origin}/v1/openapi.json").json()
    listed = visitor.locator("tbody th code").all_inner_texts()
    assert sorted(listed) == sorted(
        f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods
    )
    expect(table(visitor, "Shapes").locator("tbody tr")).to_have_count(len(document["components"]["schemas"]))
    visitor.get_by_label("Find").fill("recordings")
    expect(visitor.locator("tbody th code")).to_have_text(
        ["GET /v1/recordings", "POST /v1/recordings", "GET /v1/recordings/{id}", "DELETE /v1/recordings/{id}"],
        use_inner_text=True,
    )
    check_looks(visitor, lambda: screenshot(visitor, "management"))

    visitor.get_by_role("link", name="POST /v1/recordings").click()
    expect(visitor).to_have_url(re.compile("#/management/operations/createRecording$"))
    statuses = list(document["paths"]["/v1/recordings"]["post"]["responses"])
    expect(table(visitor, "Answers").locator("tbody th")).to_have_text(statuses)
    expect(visitor.locator("main pre")).to_contain_text('"seconds": 60')
    check_looks(visitor, lambda: screenshot(visitor, "management-operation"))

    visitor.get_by_role("link", name="WantedRecording").click()
    expect(visitor).to_have_url(re.compile("#/management/shapes/WantedRecording$"))
    expect(table(visitor, "Fields").locator("tbody th")).to_have_text(["filter", "seconds"])
    check_looks(visitor, lambda: screenshot(visitor, "management-shape"))
    visitor.get_by_role("link", name="ExchangeFilter").click()
    expect(visitor.get_by_role("heading", name="ExchangeFilter")).to_be_visible()
    expect(visitor.get_by_role("dialog")).to_have_count(0)

    for fragment in ("#/management/operations/none", "#/management/shapes/none"):
        show_missing(visitor, fragment)


def show_missing(page: Page, fragment: str) -> None:
    page.evaluate("(fragment) => { location.hash = fragment; }", fragment)
    expect(page.get_by_role("alert")).to_contain_text("is in the management API; the page Management API lists them")


def test_the_overview_leads_to_them(page: Page) -> None:
    show(page, "#/")
    page.get_by_role("link", name="management API").click()
    expect(page.get_by_role("heading", name="Management API")).to_be_visible()
