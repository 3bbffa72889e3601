import asyncio
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from gatewright import testing
from gatewright.action import ActionError


def test_a_policy_is_loaded_from_beside_its_test_or_from_above(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "tests").mkdir(parents=True)
        (tmp_path / name / "words.py").write_text(f"WORD = {name!r}\n")
        (tmp_path / name / "policy.py").write_text("from .words import WORD\n")
    first = testing.load_policy(str(tmp_path / "one" / "test_policy.py"))
    second = testing.load_policy(str(tmp_path / "two" / "tests" / "test_policy.py"))
    assert (first.WORD, second.WORD) == ("one", "two")


def test_a_policy_is_loaded_anew(tmp_path: Path) -> None:
    (tmp_path / "policy.py").write_text("seen = []\n")
    first = testing.load_policy(str(tmp_path / "test_policy.py"))
    first.seen.append(1)
    assert testing.load_policy(str(tmp_path / "test_policy.py")).seen == []


def test_no_policy_is_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected policy\.py beside"):
        testing.load_policy(str(tmp_path / "a" / "b" / "test_policy.py"))


@pytest.fixture
def returning(tmp_path: Path) -> Callable[..., Any]:
    """A policy whose hooks return what an expression says."""

    def load(expression: str, start: str = "def") -> Any:
        hooks = "".join(f"{start} {hook}(ctx, params):\n    return {expression}\n" for hook in testing.HOOKS)
        (tmp_path / "policy.py").write_text(f"from sdk.policy import *\n{hooks}")
        return testing.load_policy(str(tmp_path / "test_policy.py"))

    return load


REFUSED = [
    ('UpstreamRequestModifications(set_headers={"Host": "a"})', "expected a header that policies can change, got str"),
    ('UpstreamRequestModifications(set_headers={"connection": "close"})', "it belongs to one connection"),
    (
        'UpstreamRequestModifications(append_headers={"x-a": "1\\r\\nx-b: 2"})',
        "a value without control characters, but tabs",
    ),
    ('UpstreamRequestModifications(remove_headers=["x-envoy-retry-on"])', "x-envoy-\\* steers the proxy"),
    ('UpstreamRequestModifications(set_headers={"x-gatewright-route": "a"})', "is the gateway's own"),
    ('UpstreamRequestModifications(set_headers={"x-count": 3})', "expected str, bytes or a list of them, got int 3"),
    ('UpstreamRequestModifications(path="/a?b=c")', "path: expected a path like"),
    ('UpstreamRequestModifications(path="/a/%2e%2E/b")', "path: expected no dot segments"),
    ('UpstreamRequestModifications(method="CONNECT")', "method: expected"),
    ('UpstreamRequestModifications(authority="a b")', "authority: expected a host"),
    ('UpstreamRequestModifications(upstream="")', "upstream: expected the name of an upstream"),
    ("UpstreamRequestModifications(upstream=3)", "upstream: expected the name of an upstream"),
    ('UpstreamRequestModifications(analytics_metadata={"a": b""})', "expected a JSON value"),
    ("UpstreamResponseModifications()", "expected on_request to return UpstreamRequestModifications"),
    ("ImmediateResponse(102)", "status_code: expected an int from 200 to 599, got int 102"),
    ("ImmediateResponse(200, body={})", "body: expected bytes or str, got dict"),
    ("ImmediateResponse(200, body=bytes(61 << 20))", "body: expected at most 62914560 bytes, got 63963136"),
    ("{}", "expected on_request to return UpstreamRequestModifications, ImmediateResponse or None, got dict"),
]


@pytest.mark.parametrize(("expression", "sentence"), REFUSED)
def test_an_action_that_the_gateway_refuses_fails_the_test(
    returning: Callable[..., Any], expression: str, sentence: str
) -> None:
    with pytest.raises(ActionError, match=sentence):
        returning(expression).on_request(testing.request(), {})


@pytest.mark.parametrize(
    "expression", ["None", "ImmediateResponse(204)", 'UpstreamRequestModifications(set_headers={"x-a": ["1", b"2"]})']
)
def test_what_the_gateway_takes_is_returned_as_it_is(returning: Callable[..., Any], expression: str) -> None:
    assert repr(returning(expression).on_request(testing.request(), {})).startswith(expression.partition("(")[0])


def test_responses_and_coroutines_are_checked_too(returning: Callable[..., Any]) -> None:
    policy = returning("UpstreamResponseModifications(status_code=42)", "async def")
    with pytest.raises(ActionError, match="status_code: expected"):
        asyncio.run(policy.on_response(testing.response(), {}))


def test_a_response_shares_what_its_request_has() -> None:
    ctx = testing.request(metadata={"tenant": "blue"}, prepared=["made once"])
    ctx.metadata["quota"] = 7
    answer = testing.response(404, headers={"Retry-After": "3"}, request=ctx)
    assert dict(answer.metadata) == {"tenant": "blue", "quota": 7}
    assert (answer.prepared, answer.request, answer.headers["retry-after"]) == (["made once"], ctx, "3")


def test_a_response_may_have_its_requests_body() -> None:
    assert testing.response(request=testing.request("POST", body=b"asked")).request.body == b"asked"
    assert testing.response().request.body is None


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_policy_called_without_what_it_prepares_says_what_is_missing(tmp_path: Path, kind: str) -> None:
    (tmp_path / "policy.py").write_text(
        f"def prepare(params): return object()\n{kind} on_request(ctx, params): return ctx.prepared.pool\n"
    )
    policy = testing.load_policy(str(tmp_path / "test_policy.py"))
    call = policy.on_request if kind == "def" else lambda *arguments: asyncio.run(policy.on_request(*arguments))
    with pytest.raises(AttributeError) as caught:
        call(testing.request(), {})
    assert "testing.request(prepared=made)" in caught.value.__notes__[0]


DEFINITION = """\
name: quota
version: v1.0.0
runtime: python
processingMode: {requestHeaderMode: PROCESS}
parameters:
  type: object
  additionalProperties: false
  required: [url]
  properties:
    url: {type: string}
    seconds: {type: integer, default: 60}
    key: {type: string, format: secret}
    nested: {type: object, default: {}, properties: {deep: {type: array, items: {type: string}, default: [a]}}}
"""


@pytest.fixture
def quota(tmp_path: Path) -> ModuleType:
    (tmp_path / "policy.py").write_text("def on_request(ctx, params): ...\n")
    (tmp_path / "policy-definition.yaml").write_text(DEFINITION)
    return testing.load_policy(str(tmp_path / "test_policy.py"))


def test_params_of_a_policy_have_the_defaults_of_its_definition(quota: ModuleType) -> None:
    named = testing.secret("abc", name="upstream-key")
    for key in (named, testing.secret("abc")):
        params = testing.params(quota, url="https://a", key=key)
        assert params == {"url": "https://a", "seconds": 60, "key": key, "nested": {"deep": ["a"]}}
        assert params["key"] is key
    with pytest.raises(TypeError, match="read-only"):
        params["nested"]["deep"] = []


def test_params_that_no_api_may_have_are_refused(quota: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"params") as caught:
        testing.params(quota, seconds="60", more=1)
    mistakes = str(caught.value).splitlines()
    assert sorted(line.split(": ")[0] for line in mistakes) == ["params.more", "params.seconds", "params.url"]
    assert testing.params({"seconds": "60"}, more=1) == {"seconds": "60", "more": 1}
