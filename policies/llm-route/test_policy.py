from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sdk import testing
from sdk.policy import Attempt, ImmediateResponse, PolicyMetadata, UpstreamRequestModifications

policy = testing.load_policy(__file__)
ME = PolicyMetadata("llm-route", "v1.0.0", api_name="models")
CHAT = "/v1/chat/completions"
BOTH = [{"upstream": "openai"}, {"upstream": "azure", "model": "gpt-4o-eu"}]


def rule(*names: str, targets: list[dict[str, Any]] = BOTH, **more: Any) -> dict[str, Any]:
    return {"names": list(names), "targets": targets, **more}


def route(model: Any, *models: dict[str, Any], path: str = CHAT, body: bytes | None = None, **params: Any) -> Any:
    values = testing.params(policy, models=list(models), **params)
    body = json.dumps({"model": model, "messages": []}).encode() if body is None else body
    with testing.prepared(policy, values) as prepared:
        request = testing.request("POST", path, body=body, prepared=prepared, policy=ME)
        return policy.on_request(request, values)


def order(model: str, *models: dict[str, Any]) -> list[str]:
    return [attempt.upstream for attempt in route(model, *models).attempts]


# ------------------------------------------------------------------ which rule


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4o", "exact"),
        ("alias", "exact"),
        ("gpt-4o-mini", "longer"),
        ("gpt-5", "pattern"),
        ("gpt-", "pattern"),
        ("other", "any"),
        ("", "any"),
        ("GPT-4o", "any"),
    ],
)
def test_an_exact_name_counts_before_the_longest_pattern(model: str, expected: str) -> None:
    rules = [
        rule("*", targets=[{"upstream": "any"}]),
        rule("gpt-*", targets=[{"upstream": "pattern"}]),
        rule("gpt-4o*", targets=[{"upstream": "longer"}]),
        rule("gpt-4o", "alias", targets=[{"upstream": "exact"}]),
    ]
    assert route(model, *rules).upstream == expected


def test_an_unknown_model_is_refused_for_all_clients() -> None:
    action = route("other", rule("gpt-4o"))
    assert isinstance(action, ImmediateResponse)
    answer = json.loads(action.body)
    assert (action.status_code, answer["type"], answer["error"]["code"]) == (404, "error", "model_not_found")


def test_an_unknown_model_may_pass() -> None:
    assert route("other", rule("gpt-4o"), unknownModels="pass") is None


@pytest.mark.parametrize(("path", "body"), [("/v1/models", b"{}"), (CHAT, b"no JSON"), (CHAT, b""), (CHAT, b"[]")])
def test_what_is_no_request_to_a_model_passes(path: str, body: bytes) -> None:
    assert route("", rule("*"), path=path, body=body) is None


@pytest.mark.parametrize(
    ("models", "problem"),
    [
        (
            [rule("a", targets=[{"upstream": "x"}, {"upstream": "x", "model": "y"}])],
            "models\\[0\\].targets: expected each",
        ),
        ([rule("a"), rule("b", "a")], "models\\[1\\].names: expected each name once, got 'a' twice"),
        ([rule("a*", "a*")], "models\\[0\\].names: expected each name once, got 'a\\*' twice"),
    ],
)
def test_what_contradicts_itself_is_refused_when_it_is_published(models: list[Any], problem: str) -> None:
    with pytest.raises(Exception, match=problem):
        route("a", *models)


# ------------------------------------------------------------------ the attempts


def test_each_attempt_has_its_upstreams_name_of_the_model() -> None:
    action = route("gpt-4o", rule("gpt-4o"))
    assert action.attempts == [
        Attempt("openai"),
        Attempt("azure", body='{"model": "gpt-4o-eu", "messages": []}'),
    ]
    assert (action.upstream, action.body, list(action.remove_headers)) == (None, None, [])


def test_keys_of_the_gateway_replace_those_of_the_client() -> None:
    value = testing.secret("sk-1")
    targets: list[dict[str, Any]] = [
        {"upstream": "openai", "credential": {"value": value}},
        {"upstream": "azure", "credential": {"value": value, "header": "Api-Key", "prefix": ""}},
        {"upstream": "own"},
    ]
    action = route("a", rule("a", targets=targets))
    assert [dict(attempt.set_headers) for attempt in action.attempts] == [
        {"authorization": "Bearer sk-1"},
        {"api-key": "sk-1"},
        {},
    ]
    assert set(action.remove_headers) == {"authorization", "x-api-key", "api-key", "x-goog-api-key"}


def test_one_target_needs_no_failover() -> None:
    target = {"upstream": "azure", "model": "b", "path": "/deployments/b", "credential": {"value": testing.secret("k")}}
    action = route("a", rule("a", targets=[target]))
    assert (action.upstream, action.path, action.set_headers) == (
        "azure",
        "/deployments/b",
        {"authorization": "Bearer k"},
    )
    assert json.loads(action.body)["model"] == "b"
    assert action.attempts == []


def test_geminis_model_is_in_the_path() -> None:
    body = b'{"contents": []}'
    action = route("", rule("g"), path="/v1beta/models/g:streamGenerateContent", body=body)
    assert action.attempts == [
        Attempt("openai"),
        Attempt("azure", path="/v1beta/models/gpt-4o-eu:streamGenerateContent"),
    ]


def test_a_name_that_stands_twice_goes_upstream_once() -> None:
    body = b'{"model": "secret", "messages": [], "model": "gpt-4o"}'
    for attempt in route("", rule("gpt-4o"), body=body).attempts:
        assert attempt.body.count('"model"') == 1


def test_the_cheapest_is_first_and_without_a_price_last() -> None:
    targets = [{"upstream": "a"}, {"upstream": "b", "price": "10"}, {"upstream": "c", "price": "9.5"}]
    assert order("m", rule("m", order="price", targets=targets)) == ["c", "b", "a"]


def test_weights_decide_who_is_first_and_who_follows() -> None:
    targets = [{"upstream": "a", "weight": 3}, {"upstream": "b", "weight": 1}, {"upstream": "c", "weight": 0}]
    drawn = policy.Rules(testing.params(policy, models=[rule("m", order="weight", targets=targets)])["models"])
    drawn.random.seed(7)
    orders = Counter(tuple(target.upstream for target in drawn.find("m").in_order(drawn.random)) for _ in range(4000))
    assert set(orders) == {("a", "b", "c"), ("b", "a", "c")}
    assert 2850 < orders["a", "b", "c"] < 3150


# ------------------------------------------------------------------ hostile input


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@given(model=VALUES, more=st.dictionaries(st.sampled_from(["messages", "stream", "n", "\ud800", "x"]), VALUES))
def test_whatever_a_client_sends_each_upstream_is_named_once(model: Any, more: dict[str, Any]) -> None:
    body = json.dumps({"messages": [], "model": model, **more}).encode()
    action = route("", rule("*"), body=body)
    if action is not None:
        assert isinstance(action, UpstreamRequestModifications)
        assert [attempt.upstream for attempt in action.attempts] == ["openai", "azure"]
        sent = json.loads(action.attempts[1].body or b"")
        assert sent.pop("model") == "gpt-4o-eu"


@given(body=st.binary(max_size=100), path=st.sampled_from([CHAT, "/v1/messages", "/v1beta/models/a:generateContent"]))
def test_any_bytes_pass_or_are_routed(body: bytes, path: str) -> None:
    assert route("", rule("*"), path=path, body=body) is None or body


# ------------------------------------------------------------------ the answer


@pytest.mark.parametrize(("upstream", "attempt"), [("openai", "1"), ("azure", "2"), (None, "0")])
def test_the_attempt_that_answered_is_counted(upstream: str | None, attempt: str) -> None:
    testing.reset_metrics(policy)
    values = testing.params(policy, models=[rule("gpt-4o", "alias")])
    with testing.prepared(policy, values) as prepared:
        body = b'{"model": "alias", "messages": []}'
        request = testing.request("POST", CHAT, body=body, prepared=prepared, policy=ME, upstream=upstream)
        policy.on_request(request, values)
        assert policy.on_response(testing.response(200, request=request), values) is None
    labels = {"api": "models", "model": "gpt-4o", "upstream": upstream or "", "attempt": attempt}
    assert policy.ANSWERS.value(**labels) == 1
    assert request.metadata["llm-route"]["answeredBy"] == (upstream or "")


def test_an_answer_to_another_request_is_not_counted() -> None:
    testing.reset_metrics(policy)
    response = testing.response(200, request=testing.request("GET", "/", policy=ME))
    assert policy.on_response(response, testing.params(policy, models=[rule("a")])) is None
    assert policy.ANSWERS.value(api="models", model="a", upstream="openai", attempt="1") == 0
