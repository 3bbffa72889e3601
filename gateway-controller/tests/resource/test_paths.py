from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes

import pytest
from gatewright.path_params import path_params_in
from gatewright_controller.resource.paths import (
    PathIndex,
    PathSyntaxError,
    PathTemplate,
    check_context,
    context_of,
    parse_path,
)
from gatewright_controller.translate.envoy import PathMatch
from gatewright_controller.translate.route_table import path_match
from hypothesis import given
from hypothesis import strategies as st

SEGMENTS = st.sampled_from(["a", "b", "{x}", "{y}"])
TEMPLATES = st.tuples(st.lists(SEGMENTS, max_size=3, unique=True), st.booleans()).map(
    lambda parts: "/" + "/".join([*parts[0], *(["*"] if parts[1] else [])])
)
PATHS = st.lists(st.sampled_from(["a", "b", "c", "a.b", ""]), max_size=4).map(lambda parts: "/" + "/".join(parts))


def matches(match: PathMatch, path: str) -> bool:
    """Matches as Envoy does; translate/test_envoy.py compares the real one."""
    match match.kind:
        case "exact":
            return path == match.value
        case "prefix":
            return path == match.value or path.startswith(f"{match.value}/")
        case "regex":
            return re.fullmatch(match.value, path) is not None
    return True


@given(TEMPLATES, TEMPLATES, PATHS)
def test_what_is_covered_matches_too(wide: str, narrow: str, path: str) -> None:
    if parse_path(wide).covers(parse_path(narrow)) and matches(path_match("/", parse_path(narrow)), path):
        assert matches(path_match("/", parse_path(wide)), path)


@given(st.lists(TEMPLATES, max_size=12), TEMPLATES)
def test_an_index_finds_what_a_look_at_each_would(written: list[str], path: str) -> None:
    templates, wanted = {parse_path(text).shape for text in written}, parse_path(path).shape
    index = PathIndex(templates)
    assert sorted(index.covering(wanted), key=str) == sorted(
        (template for template in templates if template.covers(wanted)), key=str
    )
    assert index.is_met(wanted) is any(template.meets(wanted) for template in templates)
    assert (wanted in index) is (wanted in templates)


@given(TEMPLATES)
def test_a_path_covers_itself_and_its_shape_is_stable(path: str) -> None:
    template = parse_path(path)
    assert template.covers(template)
    assert template.shape.shape == template.shape


@given(TEMPLATES, PATHS)
def test_routes_stay_under_their_context_on_a_segment_boundary(template: str, path: str) -> None:
    if matches(path_match("/orders.v1", parse_path(template)), path):
        assert path == "/orders.v1" or path.startswith("/orders.v1/")


CONFORMANCE = Path(__file__).parents[3] / "conformance"
PARAMS = json.loads((CONFORMANCE / "path_params.json").read_text("utf-8"))
VIEWS = json.loads((CONFORMANCE / "request_views.json").read_text("utf-8"))["paths"]
PARTS = st.sampled_from(["a", "b", "%3A", ":", "%2F", "a%20b", "%", "x.y", "caf%c3%a9", "", "{x}"])
WRITTEN = st.sampled_from(["a", "b", "{x}", "{y}", "a:b", "caf%C3%A9", "{z-1}"])


@pytest.mark.parametrize("case", PARAMS, ids=lambda case: f"{case['template']} {case['path']}")
def test_a_path_has_parameters_where_its_route_takes_it(case: dict[str, Any]) -> None:
    """conformance/path_params.json says of each path which parameters it has, or that it meets no such route."""
    match = path_match(case["context"], parse_path(case["template"]))
    assert matches(match, case["path"]) is (case["params"] is not None)


def literal(path: str) -> PathTemplate | None:
    try:
        return parse_path(path)
    except PathSyntaxError:
        return None


@pytest.mark.parametrize("view", [view for view in VIEWS if literal(view["path"])], ids=lambda view: view["raw"])
def test_the_route_of_a_path_takes_all_that_policies_see_as_that_path(view: dict[str, Any]) -> None:
    """conformance/request_views.json says which paths policies see as one."""
    raw = view["raw"] if view["path"].endswith("/") else view["raw"].removesuffix("/")
    assert matches(path_match("/", parse_path(view["path"])), raw)


@given(
    st.sampled_from(["/", "/orders", "/orders/v1.0"]),
    st.tuples(st.lists(WRITTEN, min_size=1, max_size=4, unique=True), st.sampled_from(["", "/", "/*"])),
    st.data(),
)
def test_parameters_are_found_in_every_path_that_a_route_takes(
    context: str, written: tuple[list[str], str], data: st.DataObject
) -> None:
    """By the same rule as the engine: a template's segments, in order, are the path's."""
    template = "/" + "/".join(written[0]) + written[1]
    parts = [data.draw(PARTS) if part[0] == "{" else part for part in written[0]]
    rest = data.draw(st.lists(PARTS, max_size=2))
    path = context.rstrip("/") + "/" + "/".join([*parts, *(rest if written[1] == "/*" else [])])
    path += "/" if written[1] == "/" else ""
    takes = matches(path_match(context, parse_path(template)), path)
    expected = {part[1:-1]: sent for part, sent in zip(written[0], parts, strict=True) if part[0] == "{"}
    assert takes is all(expected.values())
    if takes:
        found = path_params_in(context, f"GET {template}", path)
        assert found == {name: unquote(sent, errors="surrogateescape") for name, sent in expected.items()}


def test_precedence_is_literal_then_parameter_then_wildcard() -> None:
    paths = ["/*", "/{x}", "/a/*", "/a/{x}", "/a/b", "/{x}/b", "/a", "/", "/a/b/*", "/{x}/*"]
    ordered = sorted(paths, key=lambda path: parse_path(path).precedence)
    assert ordered == ["/", "/a", "/a/b", "/a/{x}", "/{x}", "/{x}/b", "/a/b/*", "/a/*", "/{x}/*", "/*"]


@pytest.mark.parametrize(
    ("context", "path", "expected"),
    [
        ("/orders/v1.0", "/", PathMatch("regex", r"^/orders/v1\.0/?")),
        ("/", "/", PathMatch("exact", "/")),
        ("/orders", "/items", PathMatch("exact", "/orders/items")),
        ("/orders", "/items/", PathMatch("exact", "/orders/items/")),
        ("/orders", "/{id}/lines", PathMatch("regex", "^/orders/[^/]+/lines")),
        ("/orders", "/files/*", PathMatch("prefix", "/orders/files")),
        ("/orders", "/*", PathMatch("prefix", "/orders")),
        ("/", "/*", PathMatch("everything")),
        ("/", "/{a}/*", PathMatch("regex", "^/[^/]+(?:/.*)?")),
        ("/x", "/a:b", PathMatch("regex", "^/x/a(?::|%3[Aa])b")),
        ("/x", "/a%3ab/", PathMatch("regex", "^/x/a(?::|%3[Aa])b/")),
        ("/x", "/caf%C3%a9/{id}", PathMatch("regex", "^/x/caf%[Cc]3%[Aa]9/[^/]+")),
        ("/x", "/a%20b/*", PathMatch("regex", "^/x/a%20b(?:/.*)?")),
        ("/x", "/50%25", PathMatch("regex", "^/x/50(?:%|%25)")),
        ("/x", "/a%2541", PathMatch("regex", "^/x/a%2541")),
    ],
)
def test_a_template_becomes_the_cheapest_match(context: str, path: str, expected: PathMatch) -> None:
    assert path_match(context, parse_path(path)) == expected


@pytest.mark.parametrize(
    ("context", "resolved"),
    [("/orders/$version", "/orders/v1.0"), ("/", "/"), ("/a/b-$version", "/a/b-v1.0"), ("/plain~_", "/plain~_")],
)
def test_the_version_stands_in_the_context(context: str, resolved: str) -> None:
    check_context(context, "v1.0")
    assert context_of(context, "v1.0") == resolved


@pytest.mark.parametrize(
    "context",
    [
        *("", "orders", "/a/", "//a", "/a/../b", "/{id}", "/a*", "/a b", "/a%2fb", "/ä", "/$v", "/a?b", "/a#b", "/a|b"),
        *("/v1:x", "/%64up", "/caf%C3%A9", "/a;b"),
    ],
)
def test_other_contexts_are_refused(context: str) -> None:
    with pytest.raises(PathSyntaxError):
        check_context(context, "v1.0")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/%41dmin", "expected no encoded 'A', got '%41dmin' in '/%41dmin'; write 'A'"),
        ("/a%2D", "expected no encoded '-'"),
        ("/a%2fb", "expected no escaped slash"),
        ("/a%5Cb", "expected no escaped slash"),
        ("/a%00", "expected no '%00'"),
        ("/café", "percent-encoded, as 'caf%C3%A9'"),
        ("/%2e%2e/a", "expected no encoded '.'"),
    ],
)
def test_a_path_that_no_request_has_is_refused(path: str, reason: str) -> None:
    with pytest.raises(PathSyntaxError, match=re.escape(reason)):
        parse_path(path)


# ---------------------------------------------------------------- spellings

RAW = "!$&'()+,;=:@"  # those that a definition may have as they are
CHARACTERS = st.sampled_from([*"aB7-._~", *RAW, *'*[]%"<>^`{|} é€', "\x7f", "\x01"])
LITERALS = st.text(CHARACTERS, min_size=1, max_size=5).filter(lambda text: text not in (".", ".."))


def written(literal: str) -> str:
    """The literal as a definition has it."""
    return quote(literal, safe=RAW)


def as_envoy_passes_it_on(sent: str) -> str | None:
    """What its normalisation makes of a segment (`e2e/routing/test_paths.py` asks the real one); None: it refuses it.

    It decodes unreserved characters, and encodes what no URL has.
    """
    if not sent.isascii() or any(character < " " or character in "\x7f #?/\\" for character in sent):
        return None
    parts = re.findall("%[0-9A-Fa-f]{2}|.", sent)
    out = ""
    for part in parts:
        decoded = unquote_to_bytes(part).decode("latin-1")
        if len(part) == 3 and re.fullmatch(r"[A-Za-z0-9\-._~]", decoded):
            out = re.sub("%([0-9A-Fa-f]?)$", r"%25\1", out) + decoded
        else:
            out += quote(part) if part in '"<>^`{|}' else part
    return out


@st.composite
def spelled(draw: st.DrawFn, literal: str) -> str:
    """The literal as a client may write it: each byte raw or encoded, in either case of its digits."""
    out = ""
    for byte in literal.encode():
        pair = draw(st.sampled_from([f"%{byte:02x}", f"%{byte:02X}", *([chr(byte)] if 32 < byte < 127 else [])]))
        out += pair
    return out


@given(st.data(), LITERALS, st.sampled_from(["", "/x", "/{id}", "/*"]))
def test_what_an_upstream_decodes_to_a_literal_matches_it(data: st.DataObject, literal: str, rest: str) -> None:
    sent = as_envoy_passes_it_on(data.draw(spelled(literal)))
    if sent is None or unquote_to_bytes(sent) != literal.encode():
        return
    asked = "/x/" + sent + ("" if rest == "/*" else "/x" if rest else "")
    assert matches(path_match("/x", parse_path(f"/{written(literal)}{rest}")), asked)


@given(st.data(), LITERALS, LITERALS)
def test_what_is_decoded_to_another_path_does_not_match(data: st.DataObject, literal: str, other: str) -> None:
    sent = as_envoy_passes_it_on(data.draw(spelled(other)))
    if sent is None:
        return
    matched = matches(path_match("/", parse_path(f"/{written(literal)}")), f"/{sent}")
    assert matched == (unquote_to_bytes(sent) == literal.encode())


@given(st.data(), LITERALS)
def test_two_spellings_are_one_template(data: st.DataObject, literal: str) -> None:
    text = "".join(
        data.draw(
            st.sampled_from([quote(character, safe=RAW), quote(character, safe=""), quote(character, safe="").lower()])
        )
        if not character.isalnum() or not character.isascii()
        else character
        for character in literal
    )
    assert parse_path(f"/{text}/{{a}}").shape == parse_path(f"/{written(literal)}/{{b}}").shape


@given(TEMPLATES, st.booleans(), TEMPLATES, st.booleans(), PATHS)
def test_templates_meet_where_a_path_matches_both(
    first: str, slash: bool, second: str, another: bool, path: str
) -> None:
    templates = [
        parse_path(text + "/" if end and not text.endswith(("/", "*")) else text)
        for text, end in ((first, slash), (second, another))
    ]
    if all(matches(path_match("/", template), path) for template in templates):
        assert templates[0].meets(templates[1])
        assert templates[1].meets(templates[0])
