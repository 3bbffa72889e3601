"""gatewright.bearer: which token a request has, and what a challenge says, whatever is in them."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import Any
from urllib.request import parse_http_list, parse_keqv_list

import pytest
from gatewright import action, bearer, testing
from gatewright.bearer import RefusedError
from gatewright.headers import Headers
from gatewright.policy import ImmediateResponse
from hypothesis import example, given
from hypothesis import strategies as st

UNICODE = st.text(st.characters(codec="utf-8"), max_size=20)
WIRE = st.text(st.characters(codec="utf-8", exclude_characters="\0") | st.sampled_from("\udc80\udcff \t"), max_size=20)
"""What a header's value can be, as policies read it."""
VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)
SCHEMES = st.sampled_from(["Bearer", "bearer", "BEARER", "bEARER"])
TEXTS = st.text(max_size=30)


def headers(*lines: str) -> Headers:
    return testing.request(headers=[("authorization", line) for line in lines]).headers


# ------------------------------------------------------------------ tokens


@given(SCHEMES, st.integers(1, 4), VISIBLE, st.integers(0, 2))
def test_a_token_is_read_whatever_the_case_and_the_spaces(scheme: str, before: int, text: str, after: int) -> None:
    read = headers(f"{scheme}{' ' * before}{text}{' ' * after}")
    assert bearer.token(read) == text
    assert bearer.raw_token(read) == text


@given(WIRE | st.builds("{}{}".format, SCHEMES, WIRE))
def test_any_value_has_a_token_or_none_or_a_malformed_one(value: str) -> None:
    """A scheme is a token of RFC 9110, 5.6.2."""
    scheme, rest = re.findall(r"(?s)\A([!#$%&'*+.^_`|~0-9A-Za-z-]*)(.*)\Z", value)[0]
    read = headers(value)
    if scheme.lower() != "bearer":
        assert bearer.token(read) is None
        assert bearer.raw_token(read) is None
    elif re.fullmatch(r" *[!-~]+ *", rest):
        assert bearer.token(read) == bearer.raw_token(read) == rest.strip(" ")
    else:
        assert bearer.raw_token(read) == rest.strip(" ")
        with pytest.raises(RefusedError) as refused:
            bearer.token(read)
        assert (refused.value.reason, refused.value.error) == ("malformed", "invalid_token")


@pytest.mark.parametrize(
    ("line", "raw"),
    [
        ("Bearer", ""), ("Bearer ", ""), ("Bearer\tx", "\tx"), ("Bearer \tx", "\tx"), ("Bearer x\t", "x\t"),
        ("Bearer a b", "a b"), ("Bearer a, Bearer b", "a, Bearer b"),
        ("Bearer \u00e4", "\u00e4"), ("Bearer \udcff", "\udcff"), ("Bearer x\x7f", "x\x7f"),
        ("Bearer \u00a0x", "\u00a0x"),
    ],
)  # fmt: skip
def test_malformed_tokens(line: str, raw: str) -> None:
    assert bearer.raw_token(headers(line)) == raw
    with pytest.raises(RefusedError, match="the token is not well-formed"):
        bearer.token(headers(line))


@pytest.mark.parametrize(
    "line", ["", " ", "Basic YTpi", "Bearerx y", "Bearer-x y", "xBearer y", "DPoP x", "\tBearer x"]
)
def test_credentials_of_other_schemes_are_no_bearer_token(line: str) -> None:
    assert bearer.token(headers(line)) is None
    assert bearer.token(headers()) is None


def test_a_token_has_a_bound() -> None:
    assert bearer.token(headers("Bearer " + "a" * 8192)) == "a" * 8192
    assert bearer.token(headers("Bearer aaaa"), longest=4) == "aaaa"
    with pytest.raises(RefusedError, match="not well-formed"):
        bearer.token(headers("Bearer " + "a" * 8193))
    with pytest.raises(RefusedError, match="not well-formed"):
        bearer.token(headers("Bearer aaaaa"), longest=4)
    assert bearer.raw_token(headers("Bearer " + "a" * 9000)) == "a" * 9000


@pytest.mark.parametrize("lines", [("Bearer a", "Bearer a"), ("Bearer a", "Basic YTpi"), ("Basic YTpi", ""), ("", "")])
def test_several_headers_are_an_invalid_request(lines: tuple[str, ...]) -> None:
    for read in (bearer.token, bearer.raw_token):
        with pytest.raises(RefusedError) as refused:
            read(headers(*lines))
        assert (refused.value.reason, refused.value.error, refused.value.status) == ("several", "invalid_request", 400)


def test_only_returns_one_token_or_none() -> None:
    assert bearer.only(["a"]) == "a"
    assert bearer.only([]) is None
    with pytest.raises(RefusedError, match="expected one token, got several"):
        bearer.only(["a", "a"])


# ------------------------------------------------------------------ answers


def challenge(answer: ImmediateResponse) -> dict[str, str]:
    """As the standard library reads the attributes."""
    scheme, _, attributes = str(answer.headers["www-authenticate"]).partition(" ")
    assert scheme == "Bearer"
    return parse_keqv_list(parse_http_list(attributes))


@pytest.mark.parametrize(
    ("refused", "status", "says"),
    [
        (bearer.missing(), 401, "Bearer"),
        (RefusedError("expired"), 401, 'Bearer error="invalid_token"'),
        (RefusedError("expired", "it is over"), 401, 'Bearer error="invalid_token", error_description="it is over"'),
        (RefusedError("several", error="invalid_request"), 400, 'Bearer error="invalid_request"'),
        (
            RefusedError("scopes", "more", "insufficient_scope", "read write"), 403,
            'Bearer error="insufficient_scope", error_description="more", scope="read write"',
        ),
    ],
)  # fmt: skip
def test_answers_say_what_rfc_6750_asks_for(refused: RefusedError, status: int, says: str) -> None:
    answer = refused.answer()
    assert (answer.status_code, refused.status, type(answer.status_code)) == (status, status, int)
    assert answer.headers == {"content-type": "application/problem+json", "www-authenticate": says}
    problem = json.loads(answer.body)
    detail = {"detail": refused.text} if refused.text else {}
    assert problem == {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status} | detail


def test_a_realm_stands_first() -> None:
    assert bearer.missing().answer(realm="orders").headers["www-authenticate"] == 'Bearer realm="orders"'
    answer = RefusedError("expired").answer("orders")
    assert answer.headers["www-authenticate"] == 'Bearer realm="orders", error="invalid_token"'


def test_an_answer_503_has_no_challenge() -> None:
    answer = RefusedError("away", "not known yet", "unavailable").answer(realm="orders")
    assert answer.headers == {"content-type": "application/problem+json", "retry-after": "5"}
    assert json.loads(answer.body) == {
        "type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": "not known yet",
    }  # fmt: skip


@given(TEXTS, TEXTS, TEXTS)
@example('a", error="x', "a\\", "a\r\nset-cookie: x=1")
@example("\ud800", "\0", "\x7f\u2028")
def test_whatever_the_texts_are_they_stay_in_their_places(realm: str, text: str, scope: str) -> None:
    answer = RefusedError("reason", text, "insufficient_scope", scope).answer(realm)
    action.check("on_request", answer)
    attributes = challenge(answer)
    assert attributes.pop("error") == "insufficient_scope"
    wanted = {"realm": realm, "error_description": text, "scope": scope}
    assert attributes == {name: re.sub(r'[^ -~]|["\\]', "?", value) for name, value in wanted.items() if value}
    assert json.loads(answer.body).get("detail", "") == text


def test_an_unknown_error_code_raises_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"error: expected one of '', .*'unavailable', got 'invalid_tokens'"):
        RefusedError("reason", error="invalid_tokens")  # type: ignore[arg-type]


# ------------------------------------------------------------------ JSON


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | UNICODE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(UNICODE, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(UNICODE, JSON, max_size=4), st.booleans())
def test_an_object_is_read_as_it_was_written(value: dict[str, Any], ascii_only: bool) -> None:
    assert bearer.json_object(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "Expecting value"), (b"\xef\xbb\xbf{}", "BOM|Expecting value"), (b"{", "Expecting property name"),
        (b"{} {}", "Extra data"), (b"[]", "expected a JSON object"), (b"null", "expected a JSON object"),
        (b'"text"', "expected a JSON object"), (b"\xff", "can't decode"), (b'{"a":1,"a":1}', "each member once"),
        (b'{"a":[{"b":1,"\\u0062":2}]}', "each member once"), (b'{"a":NaN}', "got NaN"),
        (b'{"a":1e400}', "a float can"), (b'{"a":' + b"9" * 5000 + b"}", "Exceeds the limit"),
        (b'{"a":-Infinity}', "got -Infinity"), (b'{"a":"\\ud800"}', "surrogates"), (b'{"\\uDfff":1}', "surrogates"),
        (b'{"a":' + b"[" * 100_000, "nested so deeply"),
    ],
)  # fmt: skip
def test_what_readers_might_read_in_two_ways_is_refused(raw: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        bearer.json_object(raw)


def test_what_only_looks_like_half_a_pair_is_read() -> None:
    assert bearer.json_object(b'{"a":"\\ud83d\\ude00","b":"\\\\ud800"}') == {"a": "\U0001f600", "b": "\\ud800"}
