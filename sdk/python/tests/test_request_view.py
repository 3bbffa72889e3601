"""The one form of a path and a host: conformance/request_views.json, which the engine is held to as well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gatewright import testing
from gatewright.request_view import path_upstream, spell_path

CONFORMANCE = Path(__file__).parents[3] / "conformance"
VIEWS = json.loads((CONFORMANCE / "request_views.json").read_text())
UPSTREAM_PATHS = json.loads((CONFORMANCE / "upstream_paths.json").read_text())["cases"]


@pytest.mark.parametrize("view", VIEWS["paths"], ids=lambda view: f"{view['raw']} of {view['operation']}")
def test_a_path_has_one_spelling(view: dict[str, Any]) -> None:
    spelled = spell_path(view["raw"], view["operation"], strict=view.get("strict", True))
    assert spelled == view["path"]
    ctx = testing.request(path=spelled, operation=f"GET {spelled}")
    assert (ctx.path, list(ctx.path_segments)) == (spelled, view["segments"])


@pytest.mark.parametrize("view", VIEWS["hosts"], ids=lambda view: view["authority"])
def test_a_host_has_one_form(view: dict[str, str]) -> None:
    ctx = testing.request(authority=view["authority"])
    assert (ctx.host, ctx.authority) == (view["host"], view["authority"])


@pytest.mark.parametrize("case", UPSTREAM_PATHS, ids=lambda case: case["name"])
def test_what_becomes_of_a_path_upstream(case: dict[str, Any]) -> None:
    """As replays compute it from a recording."""
    for path, upstream, wanted in case["paths"]:
        assert path_upstream(case["rows"], upstream, case["context"], path) == wanted


def test_a_test_says_which_path_upstream_gets() -> None:
    assert testing.request(path="/orders/7").upstream_path is None
    assert testing.request(path="/orders/7", upstream_path="/api/7").upstream_path == "/api/7"


@pytest.mark.parametrize(("strict", "path"), [(True, "/7"), (False, "/7/")])
def test_without_strict_paths_a_slash_at_the_end_counts(strict: bool, path: str) -> None:
    assert testing.request(path="/7/", operation="GET /*", strict_paths=strict).path == path


def test_a_policy_sees_both_paths() -> None:
    ctx = testing.request(path="/users%3adelete/caf%c3%a9/", operation="POST /*")
    assert (ctx.path, ctx.raw_path) == ("/users:delete/caf%C3%A9", "/users%3adelete/caf%c3%a9/")
    assert ctx.path_segments == ("users:delete", "café")


def test_bytes_that_are_no_utf_8_stay() -> None:
    assert testing.request(path="/%ff").path_segments == ("\udcff",)


@pytest.mark.parametrize(("context", "path"), [("/", "/7"), ("/orders/v1.0", "/orders/v1.0/7"), ("/orders", "/orders")])
def test_the_context_of_the_api_is_what_paths_begin_with(context: str, path: str) -> None:
    ctx = testing.request(path=path, api_context=context)
    assert ctx.api_context == context
    assert ctx.path.startswith(ctx.api_context)
