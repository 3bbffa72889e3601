import json
import logging
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sdk import testing

policy = testing.load_policy(__file__)
DEFAULTS: dict[str, Any] = {
    "statuses": ["2XX"],
    "onFailure": "refuse",
    "maxDepth": 64,
    "maxBytes": 1 << 20,
}
SENT = {"content-type": "application/json; charset=utf-8"}


def execute(body: Any, expression: str, headers: Any = None, **changed: Any) -> Any:
    params = testing.params({**DEFAULTS, "request": expression, **changed})
    sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    with testing.prepared(policy, params) as prepared:
        ctx = testing.request("POST", headers=SENT if headers is None else headers, body=sent, prepared=prepared)
        return policy.on_request(ctx, params)


def transform(value: Any, expression: str, **changed: Any) -> Any:
    action = execute(value, expression, **changed)
    assert action.set_headers == {"content-type": "application/json"}
    assert "content-digest" in action.remove_headers
    return json.loads(action.body)


ORDER = {"id": 7, "items": [{"name": "bolt", "n": 2}, {"name": "nut", "n": 0}], "é": "ü"}


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("items[?n > `0`].name", ["bolt"]),
        ("{order: id, parts: length(items), letter: \"é\"}", {"order": 7, "parts": 2, "letter": "ü"}),
        ("none", None),
        ("sum(items[].n)", 2),
        ("join(', ', items[].name)", "bolt, nut"),
        ("sort_by(items, &n)[0].name", "nut"),
        ("not_null(a, b, id)", 7),
        ("`[1.5, \"a\"]`", [1.5, "a"]),
    ],
)  # fmt: skip
def test_expressions(expression: str, result: Any) -> None:
    assert transform(ORDER, expression) == result


def test_a_large_integer_stays_unchanged() -> None:
    assert execute(b"[123456789012345678901234567890]", "[0]").body == b"123456789012345678901234567890"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("a..b", "for request, got a mistake: Expecting"),
        ("length(", "Incomplete expression"),
        ("a ^ b", "Bad jmespath expression|Unknown token"),
        ("nothing(@)", "got the function nothing; known are abs, avg"),
        ("{a: b[].[nothing(@)]}", "got the function nothing"),
        ("a[?nothing(@)]", "got the function nothing"),
        ("sort_by(@, &nothing(@))", "got the function nothing"),
        ("length(a, b)", "got length with 2 arguments; it takes 1$"),
        ("join(a)", "got join with 1 arguments; it takes 2$"),
        ("not_null()", "got not_null with 0 arguments; it takes 1 or more"),
        ("(" * 4000, "mistake"),
    ],
)
def test_an_invalid_expression_is_refused_at_publish(expression: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        execute({}, expression)


FAILING = [
    (b'{"a": ', "@"),
    (b"\xff", "@"),
    (b"[NaN]", "@"),
    (b"[1e999]", "@"),
    (b"[" + b"9" * 5000 + b"]", "@"),
    (b"[" * (1 << 20), "@"),
    (b"[" * 65 + b"]" * 65, "@"),
    (b'{"a": "x"}', "sum(a)"),
    (b'["a", 1]', "sort(@)"),
    (b'{"a": "1e999"}', "to_number(a)"),
    (b'"\\ud800"', "@"),
    (b'["a"]', "contains([0], `1`)"),
]


@pytest.mark.parametrize(("body", "expression"), FAILING)
def test_a_body_that_cannot_be_transformed(body: bytes, expression: str) -> None:
    answer = execute(body, expression)
    assert answer.status_code == 400
    assert json.loads(answer.body)["detail"] == "the body cannot be transformed"
    assert execute(body, expression, onFailure="pass") is None


@pytest.mark.parametrize(
    ("body", "expression"),
    [
        ({"a": "x" * 500_000, "b": ["y"] * 200_000}, "join(a, b)"),
        ({"a": "x" * 500_000}, "[a, a, a]"),
        ([0], " | ".join(["[@, @]"] * 200)),
        ({"a": "x" * 1000}, " | ".join(["{a: a, b: @, c: @}"] * 200)),
        ("é" * 600_000, "@"),
    ],
)
def test_a_result_that_is_too_large_is_not_built(body: Any, expression: str) -> None:
    began = time.process_time()
    assert execute(body, expression).status_code == 400
    assert time.process_time() - began < 10


def test_a_deeply_nested_expression() -> None:
    assert transform({"a": 1}, "a" + ".a" * 2000) is None


def test_other_types_and_no_body() -> None:
    assert execute(None, "a") is None
    assert execute({}, "a", {}) is None
    assert execute({}, "a", {"content-type": "text/plain"}) is None
    assert execute({}, "a", {"content-type": "text/plain"}, otherTypes="refuse").status_code == 415
    assert execute({}, "a", {"content-type": ["application/json"] * 2}).status_code == 415
    assert execute({}, "a", {"content-type": "application/vnd.x+json"}).body == b"null"


def execute_response(body: bytes, status: int = 200, headers: Any = None, **changed: Any) -> Any:
    params = testing.params({**DEFAULTS, "response": "a", **changed})
    with testing.prepared(policy, params) as prepared:
        request = testing.request(prepared=prepared)
        assert policy.on_request(testing.request(headers=SENT, body=b"{}", prepared=prepared), params) is None
        sent = SENT if headers is None else headers
        return policy.on_response(testing.response(status, headers=sent, body=body, request=request), params)


def test_responses(caplog: pytest.LogCaptureFixture) -> None:
    assert execute_response(b'{"a": 1}').body == b"1"
    assert execute_response(b'{"a": 1}', 404) is None
    assert execute_response(b'{"a": 1}', 404, statuses=["404"]).body == b"1"
    assert execute_response(b"x", headers={"content-type": "text/html"}, otherTypes="pass") is None
    assert execute_response(b"x", headers={"content-type": "text/html"}).status_code == 502
    assert execute_response(b"x", headers={}).status_code == 502
    with caplog.at_level(logging.WARNING):
        refused = execute_response(b"{")
    assert json.loads(refused.body)["detail"] == "the upstream's response cannot be transformed"
    assert "expected JSON" in caplog.text
    assert execute_response(b"{", onFailure="pass") is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda of: st.lists(of, max_size=3) | st.dictionaries(st.text(max_size=3), of, max_size=3),
    max_leaves=10,
)


@settings(deadline=None)
@given(value=VALUES)
def test_the_identity_expression_keeps_the_value(value: Any) -> None:
    assert json.loads(execute(json.dumps(value).encode(), "@").body) == value


@settings(deadline=None)
@given(
    value=VALUES, expression=st.sampled_from(["a[*].b", "sum(@)", "keys(@)", "[?a > b]", "sort_by(@, &a)", "max(@)"])
)
def test_any_value_gets_an_answer(value: Any, expression: str) -> None:
    action = execute(json.dumps(value).encode(), expression)
    assert getattr(action, "status_code", 400) == 400
