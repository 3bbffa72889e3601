from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from gatewright import action, testing
from gatewright.cookies import Cookies, set_cookie
from gatewright.policy import UpstreamRequestModifications
from gatewright.query import QueryParams
from hypothesis import given
from hypothesis import strategies as st

QUERIES = st.text(st.sampled_from("ab=&+%20AfF\u00e9"), max_size=30)
NAMES = st.text(min_size=1, max_size=5)


# ------------------------------------------------------------------ query


def test_a_query_is_read_as_forms_are() -> None:
    params = testing.request(query="tag=a&tag=b%20c&q=x+y&flag&a%3D=1=2").query_params
    assert params["tag"] == "a"
    assert params.get_all("tag") == ["a", "b c"]
    assert dict(params) == {"tag": "a", "q": "x y", "flag": "", "a=": "1=2"}
    assert (len(params), params.get("none"), params.get_all("none")) == (4, None, [])
    with pytest.raises(KeyError):
        params["none"]


@given(QUERIES)
def test_it_is_read_as_the_standard_library_reads_it(query: str) -> None:
    wanted = parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
    assert QueryParams(query).pairs() == [(name, value) for name, value in wanted]
    assert str(QueryParams(query)) == query


@given(QUERIES, NAMES, st.text(max_size=8))
def test_what_is_not_named_stays_byte_for_byte(query: str, name: str, value: str) -> None:
    before = QueryParams(query)
    after = before.replaced({name: value})
    assert after.get_all(name) == [value]
    assert after.without(name).pairs() == before.without(name).pairs()
    assert str(before.replaced({"new name": value}).without("new name")) in (query, query + "&")
    assert action.target("query", str(QueryParams("").replaced({name: value})))


def test_edits() -> None:
    params = QueryParams("a=1&b=%7E&a=2&c")
    assert str(params.replaced(a=3)) == "a=3&b=%7E&c"
    assert str(params.replaced(a=["x", "y"], d=True)) == "a=x&a=y&b=%7E&c&d=true"
    assert str(params.replaced({"e f": "g&h"})) == "a=1&b=%7E&a=2&c&e%20f=g%26h"
    assert str(params.replaced(a=[])) == "b=%7E&c"
    assert str(params.without("a", "none")) == "b=%7E&c"
    assert str(params) == "a=1&b=%7E&a=2&c"
    with pytest.raises(TypeError, match=r"'a': expected a str, a number, a bool, or a list of str, got NoneType"):
        params.replaced(a=None)  # type: ignore[arg-type]


def test_an_edited_query_is_an_action() -> None:
    query = testing.request(query="a=\xff").query_params.replaced(b="\u20ac")
    action.check("on_request", UpstreamRequestModifications(query=str(query.without("a"))))


# ------------------------------------------------------------------ cookies


def test_cookies_are_read_as_they_stand_there() -> None:
    ctx = testing.request(headers=[("cookie", 'a=1; b="x%20y";c=d=e;; a=2'), ("Cookie", "nameless")])
    assert dict(ctx.cookies) == {"a": "1", "b": '"x%20y"', "c": "d=e", "": "nameless"}
    assert ctx.cookies.get_all("a") == ["1", "2"]
    assert (len(ctx.cookies), ctx.cookies.get("A")) == (4, None)
    assert len(testing.request().cookies) == 0


def test_edited_cookies_are_headers_of_an_action() -> None:
    cookies = Cookies(["a=1; b=2; a=3"])
    assert cookies.without("b").headers == {"cookie": "a=1; a=3"}
    assert cookies.replaced(a="9", d="4").headers == {"cookie": "a=9; b=2; d=4"}
    assert cookies.without("a", "b").headers == {}
    action.check("on_request", UpstreamRequestModifications(append_headers=cookies.without("a").headers))


def test_their_values_are_in_no_representation() -> None:
    assert repr(Cookies(["session=s3cret"])) == "Cookies(session)"
    with pytest.raises(ValueError, match="'session'") as refused:
        Cookies().replaced(session="s3 cret")
    assert "s3 cret" not in str(refused.value)


@pytest.mark.parametrize("name", ["", "a b", "a;b", "a=b", "a\r\nx"])
def test_no_name_ends_the_header(name: str) -> None:
    with pytest.raises(ValueError, match="expected a name"):
        Cookies().replaced({name: "1"})
    with pytest.raises(ValueError, match="expected a name"):
        set_cookie(name, "1")


@given(st.text(st.characters(codec="utf-8"), max_size=10))
def test_a_value_that_is_taken_comes_back(value: str) -> None:
    try:
        after = Cookies(["a=1"]).replaced(b=value)
    except ValueError:
        return
    assert dict(Cookies([str(after)])) == {"a": "1", "b": value}


def test_a_set_cookie() -> None:
    assert set_cookie("id", "7") == "id=7; Path=/; Secure; HttpOnly; SameSite=Lax"
    header = set_cookie(
        "id", "", max_age=0, path="/a", domain="example.org", secure=False, http_only=False, same_site="None"
    )
    assert header == "id=; Max-Age=0; Path=/a; Domain=example.org; SameSite=None"
    for attribute in ("path", "domain"):
        with pytest.raises(ValueError, match="without semicolons"):
            set_cookie("id", "7", **{attribute: "/; HttpOnly=no"})  # type: ignore[arg-type]
