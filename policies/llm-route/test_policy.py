from __future__ import annotations

import json
import re
import sys
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sdk import testing
from sdk.policy import Attempt, ImmediateResponse, PolicyMetadata, UpstreamRequestModifications

policy = testing.load_policy(__file__)
Latencies = sys.modules[policy.Rules.__module__].Latencies
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


@pytest.mark.parametrize("name", ["gpt-*-mini", "*-mini", "gpt-**"])
def test_a_star_before_the_end_of_a_name_is_refused(name: str) -> None:
    """It would stand for itself, so the rule would fit no model."""
    message = r"params\.models\[0\]\.names\[1\]: expected .* at its end alone, got '{}'; .* such as gpt-\*"
    with pytest.raises(ValueError, match=message.format(re.escape(name))):
        testing.params(policy, models=[rule("gpt-*", name)])


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


# ------------------------------------------------------------------ the fastest


def latencies(seed: int, **seconds: float) -> Any:
    measured = Latencies(Random(seed))  # noqa: S311 - the same orders each time
    for upstream, value in seconds.items():
        measured.add(upstream, value)
    return measured


def test_the_fastest_is_first_and_unknown_ones_before_it() -> None:
    measured = latencies(1, a=2.0, b=0.5, c=1.0)
    orders = Counter(tuple(measured.in_order(["a", "b", "c"])) for _ in range(4000))
    assert orders["b", "c", "a"] > 3700
    assert orders["c", "b", "a"] + orders["a", "b", "c"] == 4000 - orders["b", "c", "a"]
    assert min(orders["c", "b", "a"], orders["a", "b", "c"]) > 50
    first = Counter(measured.in_order(["a", "b", "x", "y"])[0] for _ in range(4000))
    assert min(first["x"], first["y"]) > 1800


def test_one_slow_answer_is_a_fifth_of_the_average() -> None:
    measured = latencies(1, a=1.0, b=1.5)
    measured.add("a", 3.0)  # 1.4
    assert Counter(measured.in_order(["a", "b"])[0] for _ in range(100))["a"] > 80
    measured.add("a", 3.0)  # 1.72
    assert Counter(measured.in_order(["a", "b"])[0] for _ in range(100))["b"] > 80


@pytest.mark.parametrize(
    ("answered", "status", "first"),
    [
        ("first", 200, "second"),  # of which nothing is known
        ("first", 404, "second"),
        ("first", 529, "second"),
        ("second", 200, "second"),  # the first has failed, and the second's own time is not known
        ("second", 500, "either"),
        (None, 500, "either"),
    ],
)
def test_answers_tell_how_fast_targets_are(answered: str | None, status: int, first: str) -> None:
    values = testing.params(policy, models=[rule("m", order="latency", targets=targets_of("first", "second"))])
    with testing.prepared(policy, values) as prepared, testing.clock() as clock:
        prepared.random.seed(1)
        note = {"model": "m", "upstreams": ["first", "second"], "began": policy.clock.monotonic()}
        clock.advance(2)
        request = testing.request(prepared=prepared, policy=ME, upstream=answered, metadata={"llm-route": note})
        policy.on_response(testing.response(status, request=request), values)
        found = prepared.find("m")
        firsts = Counter(found.in_order(prepared.random)[0].upstream for _ in range(200))
    if first == "either":
        assert min(firsts["first"], firsts["second"]) > 60
    else:
        assert firsts[first] > 180


def targets_of(*upstreams: str) -> list[dict[str, Any]]:
    return [{"upstream": upstream} for upstream in upstreams]


# ------------------------------------------------------------------ translation

MIXED: list[dict[str, Any]] = [
    {"upstream": "openai", "format": "openai", "model": "gpt"},
    {"upstream": "anthropic", "format": "anthropic", "model": "claude", "maxTokens": 99},
]


def asked(path: str = CHAT, targets: list[dict[str, Any]] = MIXED, **document: Any) -> Any:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}], **document}).encode()
    return route("", rule("m", targets=targets), path=path, body=body)


def test_a_chat_goes_as_a_message_to_anthropic() -> None:
    action = asked()
    first, second = action.attempts
    assert (first.path, json.loads(first.body)["model"], first.set_headers) == (None, "gpt", {})
    assert (second.path, second.set_headers) == ("/v1/messages", {"anthropic-version": "2023-06-01"})
    hi = {"role": "user", "content": "Hi"}
    assert json.loads(second.body) == {"model": "claude", "max_tokens": 99, "messages": [hi]}
    assert action.remove_headers == ["accept-encoding"]


def test_a_message_goes_as_a_chat_to_openai() -> None:
    targets = [MIXED[0] | {"limitName": "max_tokens", "credential": {"value": testing.secret("k")}}, MIXED[1]]
    first, second = asked("/v1/messages", targets, max_tokens=5).attempts
    assert (first.path, first.set_headers) == ("/v1/chat/completions", {"authorization": "Bearer k"})
    assert json.loads(first.body)["max_tokens"] == 5
    assert (second.path, json.loads(second.body)["model"]) == (None, "claude")


def test_a_targets_own_path_counts() -> None:
    assert asked(targets=[MIXED[1] | {"path": "/anthropic/v1/messages"}]).path == "/anthropic/v1/messages"


def test_a_target_that_cannot_take_a_request_is_left_out() -> None:
    action = asked(n=2)
    assert (action.upstream, action.attempts) == ("openai", [])
    assert "accept-encoding" not in action.remove_headers


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1beta/models/m:generateContent"])
def test_a_request_that_no_target_can_take_is_refused(path: str) -> None:
    body = b'{"model": "m", "messages": [], "n": 2, "prompt": "x", "contents": []}'
    action = route("", rule("m", targets=[MIXED[1]]), path=path, body=body)
    assert action.status_code == 400
    message = json.loads(action.body)["error"]["message"]
    assert message.startswith("no provider of the model 'm' can take this request: ")


def answer(
    upstream: str | None,
    body: bytes,
    *,
    path: str = CHAT,
    content_type: str = "application/json",
    status: int = 200,
    sizes: int = 7,
    **document: Any,
) -> Any:
    """The client's answer to a request that `upstream` has answered with this body."""
    values = testing.params(policy, models=[rule("m", targets=MIXED)])
    sent = json.dumps({"model": "m", "max_tokens": 9, "messages": [], **document}).encode()
    with testing.prepared(policy, values) as prepared:
        request = testing.request("POST", path, body=sent, prepared=prepared, policy=ME, upstream=upstream)
        policy.on_request(request, values)
        response = testing.response(status, headers={"content-type": content_type}, request=request)
        assert policy.on_response(response, values) is None
        chunks = testing.stream(body, sizes=sizes)
        return testing.run_stream(policy.on_response_stream, chunks, ctx=response, params=values)


MESSAGE = (
    b'{"type": "message", "model": "claude", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"}'
)
COMPLETION = b'{"model": "gpt", "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]}'
EVENTS = b"""data: {"model":"gpt","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}

data: [DONE]

"""


def test_the_answer_is_translated_by_who_has_answered() -> None:
    chat = json.loads(answer("anthropic", MESSAGE).body)
    assert (chat["model"], chat["choices"][0]["message"]["content"]) == ("claude", "Hi")
    message = json.loads(answer("openai", COMPLETION, path="/v1/messages").body)
    assert message["content"] == [{"type": "text", "text": "Hi"}]
    for upstream, path, body in (
        ("openai", CHAT, COMPLETION),
        ("anthropic", "/v1/messages", MESSAGE),
        (None, CHAT, MESSAGE),
    ):
        assert answer(upstream, body, path=path).body == body


def test_a_stream_is_translated_piece_by_piece() -> None:
    result = answer("openai", EVENTS, path="/v1/messages", content_type="text/event-stream; charset=utf-8", stream=True)
    assert len(result.chunks) > 1
    assert result.body.endswith(b'event: message_stop\ndata: {"type": "message_stop"}\n\n')


@pytest.mark.parametrize("asks", [True, False])
def test_the_chunk_of_usage_is_for_clients_that_ask(asks: bool) -> None:
    stop = b'data: {"type":"message_delta","delta":{},"usage":{"output_tokens":3}}\n\ndata: {"type":"message_stop"}\n\n'
    options = {"include_usage": asks}
    result = answer("anthropic", stop, content_type="text/event-stream", stream=True, stream_options=options)
    assert (b'"completion_tokens": 3' in result.body) == asks


def test_errors_are_translated_and_other_answers_pass() -> None:
    error = b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'
    translated = json.loads(answer("anthropic", error, status=529).body)["error"]
    assert (translated["type"], translated["message"]) == ("overloaded_error", "Overloaded")
    assert answer("anthropic", b"no JSON", status=502).body == b"no JSON"
    assert answer("anthropic", b"<html>", content_type="text/html").body == b"<html>"


@pytest.mark.parametrize("body", [b"{", b"{}", b"[" * 100_000])
def test_an_answer_that_is_none_is_a_bad_gateway(body: bytes) -> None:
    rejected = answer("anthropic", body, sizes=50_000).rejected
    assert rejected.status_code == 502
    assert "the provider's answer cannot be translated: " in json.loads(rejected.body)["error"]["message"]


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
