"""Path templates of OpenAPI as ours."""

from __future__ import annotations

import pytest
from gatewright_cli.openapi.paths import translate_path
from gatewright_controller.resource.paths import PathSyntaxError, parse_path
from hypothesis import given
from hypothesis import strategies as st

SAME = ["/", "/pets", "/pets/", "/pets/{petId}", "/{a}/{_b-c}", "/users:delete", "/a%20b", "/.well-known/x", "/a,b;c=1"]
SPELLED = {
    "/a b": "/a%20b",
    "/caf%c3%a9/é": "/caf%C3%A9/%C3%A9",
    "/%41%2d": "/A-",
    "/100%": "/100%25",
    "/a*b": "/a%2Ab",
    "/{open": "/%7Bopen",
    "/list[]": "/list%5B%5D",
    "/{pet id}/{pet.id}": "/{pet_id}/{pet_id_2}",
    "/{id}/{id}": "/{id}/{id_2}",
    "/{9}/{}": "/{_9}/{value}",
}
WIDER = {
    "/{id}.json": "/{id_json}",
    "/v{version}/x": "/{vversion}/x",
    "/{a}-{b}": "/{a-b}",
    "/{id}:cancel": "/{id_cancel}",
    "/f({x})": "/{f_x}",
    "/{proxy+}": "/*",
    "/x/{path*}": "/x/*",
    "/x/{name=**}": "/x/*",
    "/{path:.*}/tail": "/*",
    "/*": "/*",
    "/*/tail": "/{any}/tail",
    "/search?q={q}&p=/x": "/search",
    "/page#part": "/page",
    "/search{?q,p}": "/search",
    "/a//b": "/a/b",
    "/a/./b/../c": "/a/c",
    "/a/..": "/",
    "//": "/",
}


@pytest.mark.parametrize("path", SAME)
def test_what_both_can_say_stays_as_it_is(path: str) -> None:
    assert (translate_path(path).path, translate_path(path).changes) == (path, ())


@pytest.mark.parametrize(("path", "ours"), SPELLED.items())
def test_another_spelling_is_no_other_path(path: str, ours: str) -> None:
    assert (translate_path(path).path, translate_path(path).changes) == (ours, ())


@pytest.mark.parametrize(("path", "ours"), WIDER.items())
def test_a_path_that_an_api_cannot_express_becomes_wider_with_a_note(path: str, ours: str) -> None:
    made = translate_path(path)
    assert made.path == ours
    assert made.changes


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("pets", "expected a path that starts with '/', got 'pets'"),
        ("/a%2Fb", "expected no escaped slash, got 'a%2Fb' in '/a%2Fb'"),
        ("/a\\b", "expected no backslash, got 'a\\\\b'"),
        ("/%00", "expected no '%00', which Envoy refuses, got '%00' in '/%00'"),
        ("/" + "a" * 1024, "expected at most 1024 characters, got 1025"),
    ],
)
def test_what_no_path_of_ours_takes_is_refused(path: str, sentence: str) -> None:
    with pytest.raises(PathSyntaxError) as caught:
        translate_path(path)
    assert str(caught.value) == sentence


@given(st.text(st.characters(exclude_categories=["Cs"])).map(lambda text: "/" + text))
def test_any_path_becomes_one_of_ours_or_is_refused(path: str) -> None:
    try:
        made = translate_path(path)
    except PathSyntaxError:
        return
    assert parse_path(made.path)
    assert translate_path(made.path).path == made.path


@given(st.lists(st.from_regex(r"[a-z0-9\-._~:@!$&'()+,=]+|\{[a-z_][a-z0-9_-]*\}", fullmatch=True), max_size=5))
def test_a_path_of_whole_segments_keeps_what_it_matches(segments: list[str]) -> None:
    path = "/" + "/".join(part for part in segments if part not in (".", ".."))
    made = translate_path(path)
    assert made.changes == ()
    unnamed = [part if part[0] != "{" else "{}" for part in path.split("/")[1:] if part]
    assert [part.text if part.kind == 0 else "{}" for part in parse_path(made.path).segments] == unnamed
