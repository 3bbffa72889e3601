from __future__ import annotations

import re

import pytest
from gatewright_controller.paths import PathSyntaxError, parse_path, resolve_context
from gatewright_controller.translate.envoy_types import PathMatch
from gatewright_controller.translate.routes import path_match
from hypothesis import given
from hypothesis import strategies as st

SEGMENTS = st.sampled_from(["a", "b", "{x}", "{y}"])
TEMPLATES = st.tuples(st.lists(SEGMENTS, max_size=3, unique=True), st.booleans()).map(
    lambda parts: "/" + "/".join([*parts[0], *(["*"] if parts[1] else [])])
)
PATHS = st.lists(st.sampled_from(["a", "b", "c", "a.b", ""]), max_size=4).map(lambda parts: "/" + "/".join(parts))


def matches(match: PathMatch, path: str) -> bool:
    """What Envoy does with a match; held to the real one in translate/test_envoy.py."""
    match match.kind:
        case "exact":
            return path == match.value
        case "prefix":
            return path == match.value or path.startswith(f"{match.value}/")
        case "regex":
            return re.fullmatch(match.value, path) is not None
    return True


@given(TEMPLATES, TEMPLATES, PATHS)
def test_what_is_covered_matches_too(one: str, other: str, path: str) -> None:
    if parse_path(one).covers(parse_path(other)) and matches(path_match("/", parse_path(other)), path):
        assert matches(path_match("/", parse_path(one)), path)


@given(TEMPLATES)
def test_a_path_covers_itself_and_its_shape_is_stable(path: str) -> None:
    template = parse_path(path)
    assert template.covers(template)
    assert template.shape.shape == template.shape


@given(TEMPLATES, PATHS)
def test_routes_stay_under_their_context_on_a_segment_boundary(template: str, path: str) -> None:
    if matches(path_match("/orders.v1", parse_path(template)), path):
        assert path == "/orders.v1" or path.startswith("/orders.v1/")


def test_precedence_is_literal_then_parameter_then_wildcard() -> None:
    paths = ["/*", "/{x}", "/a/*", "/a/{x}", "/a/b", "/{x}/b", "/a", "/", "/a/b/*", "/{x}/*"]
    ordered = sorted(paths, key=lambda path: parse_path(path).precedence)
    assert ordered == ["/", "/a", "/a/b", "/a/{x}", "/{x}", "/{x}/b", "/a/b/*", "/a/*", "/{x}/*", "/*"]


@pytest.mark.parametrize(
    ("context", "path", "expected"),
    [
        ("/orders/v1.0", "/", PathMatch("regex", r"/orders/v1\.0/?")),
        ("/", "/", PathMatch("exact", "/")),
        ("/orders", "/items", PathMatch("exact", "/orders/items")),
        ("/orders", "/items/", PathMatch("exact", "/orders/items/")),
        ("/orders", "/{id}/lines", PathMatch("regex", "/orders/[^/]+/lines")),
        ("/orders", "/files/*", PathMatch("prefix", "/orders/files")),
        ("/orders", "/*", PathMatch("prefix", "/orders")),
        ("/", "/*", PathMatch("everything")),
        ("/", "/{a}/*", PathMatch("regex", "/[^/]+(?:/.*)?")),
    ],
)
def test_a_template_becomes_the_cheapest_match(context: str, path: str, expected: PathMatch) -> None:
    assert path_match(context, parse_path(path)) == expected


@pytest.mark.parametrize(
    ("context", "resolved"),
    [("/orders/$version", "/orders/v1.0"), ("/", "/"), ("/a/b-$version", "/a/b-v1.0"), ("/plain", "/plain")],
)
def test_the_version_stands_in_the_context(context: str, resolved: str) -> None:
    assert resolve_context(context, "v1.0") == resolved


@pytest.mark.parametrize(
    "context",
    ["", "orders", "/a/", "//a", "/a/../b", "/{id}", "/a*", "/a b", "/a%2fb", "/ä", "/$v", "/a?b", "/a#b", "/a|b"],
)
def test_other_contexts_are_refused(context: str) -> None:
    with pytest.raises(PathSyntaxError):
        resolve_context(context, "v1.0")
