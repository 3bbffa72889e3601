"""PyPI's clients `openai`, `anthropic` and `litellm`, unchanged, behind llm-usage and llm-budget: they get the objects
that the provider itself gives them, and a refusal of the budget as an error that they know. With llm-route the client
of one provider uses the other."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import yaml
from own_environment import install

from e2e.kit import model_events
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.model_upstream import ModelUpstream
from e2e.kit.places import ROOT
from e2e.kit.scraping import scrape
from e2e.kit.upstream import Recorded, Reply, Upstream

pytestmark = pytest.mark.timeout(300)
ANSWERS: dict[str, Json] = yaml.safe_load((ROOT / "sdk/python/tests/llm/answers.yaml").read_text())
"""Answers of providers' published formats. The model of a request names the one that the provider gives."""
HI: list[Any] = [{"role": "user", "content": "Hi"}]
PARAMETERS = {"type": "object", "properties": {"location": {"type": "string"}}}
WEATHER: Json = {"name": "get_weather", "description": "The weather at a place"}
CHAT_TOOLS: list[Any] = [{"type": "function", "function": {**WEATHER, "parameters": PARAMETERS}}]
MESSAGES_TOOLS: list[Any] = [{**WEATHER, "input_schema": PARAMETERS}]
USAGE_ASKED: Json = {"stream_options": {"include_usage": True}}
NEVER = 10**12


@pytest.fixture(scope="module")
def llm_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    manifest = tmp_path_factory.mktemp("manifest") / "build.yaml"
    policies = [{"name": "llm-usage"}, {"name": "llm-budget"}, {"name": "llm-route"}]
    manifest.write_text(yaml.safe_dump({"version": "v1", "policies": policies}))
    output = ROOT / "build" / "e2e-llm-clients"
    subprocess.run(["gatewright", "build", "--manifest", str(manifest), "--output", str(output)], check=True)
    with running(output, manifest.parent / "state") as gateway:
        yield gateway


def deploy(gateway: Gateway, name: str, url: str, *, tokens: int, across: str = "", to: str = "") -> str:
    """The URL of an API with both policies. across: the name of a budget that several APIs have together. to: the
    format of the provider, for llm-route."""
    budget = {"name": across or f"{name}-tokens", "tokens": tokens, "period": "month", "per": []}
    params = {"budgets": [budget], "acrossApis": bool(across)}
    policies = [attach("llm-usage", {}), attach("llm-budget", params, timeout="10s")]
    if to:
        routes = {"models": [{"names": ["*"], "targets": [{"upstream": "main", "format": to}]}]}
        policies.append(attach("llm-route", routes, timeout="10s"))
    gateway.deploy(api(name, url, policies))
    return f"{gateway.url}/{name}"


def spent(url: str) -> tuple[int, int]:
    """The tokens that are spent and reserved, by the refusal of a request that can never fit."""
    document = {"model": "chat", "messages": [], "max_tokens": NEVER}
    refused = httpx.post(f"{url}/v1/chat/completions", json=document, timeout=30)
    found = re.search(r"of which (\d+) tokens are spent and (\d+) tokens reserved", refused.text)
    assert found is not None, refused.text
    return int(found[1]), int(found[2])


def refusals(gateway: Gateway, budget: str) -> int:
    return int(scrape(gateway).value("gatewright_policy_llm_budget_refused_total", budget=budget))


def input_tokens(gateway: Gateway, name: str) -> int:
    return int(scrape(gateway).value("gatewright_policy_llm_input_tokens_total", api=name))


def provide(request: Recorded) -> Reply:
    """The answer that the request's model names. A chat's stream reports usage only if it was asked for."""
    document = json.loads(request.body)
    answer = ANSWERS[document["model"]]
    body: str = answer["body"]
    if document["model"].startswith("chat-stream") and document.get("stream_options") != {"include_usage": True}:
        events = [event for event in body.split("\n\n") if '"choices":[],' not in event]
        body = "\n\n".join(events).replace(',"usage":null', "")
    status = 400 if document["model"].endswith("-error") else 200
    return Reply(status, [("content-type", answer["content_type"])], body.encode())


def openai_client(url: str, **options: Any) -> Any:
    import openai  # here, for it takes seconds, in each process that collects this file

    return openai.OpenAI(base_url=f"{url}/v1", api_key="k", timeout=60, **options)


def anthropic_client(url: str, **options: Any) -> Any:
    import anthropic

    return anthropic.Anthropic(base_url=url, api_key="k", timeout=60, **options)


def chat(url: str, model: str, **more: Any) -> Any:
    with openai_client(url) as client:
        return client.chat.completions.create(model=model, messages=HI, max_tokens=50, **more)


def chat_stream(url: str, **more: Any) -> list[Any]:
    with openai_client(url) as client:
        return list(client.chat.completions.create(model="chat-stream", messages=HI, stream=True, **more))


def responses(url: str) -> Any:
    with openai_client(url) as client:
        return client.responses.create(model="responses", input="Hi")


def responses_stream(url: str) -> list[Any]:
    with openai_client(url) as client:
        return list(client.responses.create(model="responses-stream", input="Hi", stream=True))


def embeddings(url: str) -> Any:
    with openai_client(url) as client:
        return client.embeddings.create(model="embeddings", input="Hi", encoding_format="float")


def messages(url: str, **more: Any) -> Any:
    with anthropic_client(url) as client:
        return client.messages.create(model="messages", messages=HI, max_tokens=50, **more)


def messages_stream(url: str) -> list[Any]:
    with anthropic_client(url) as client:
        return list(client.messages.create(model="messages-stream", messages=HI, max_tokens=50, stream=True))


CALLS: dict[str, tuple[Callable[[str], Any], str]] = {
    "chat": (lambda url: chat(url, "chat"), "chat"),
    "chat with tools": (lambda url: chat(url, "chat-tools", tools=CHAT_TOOLS), "chat-tools"),
    "chat, streamed": (chat_stream, "chat-stream"),
    "chat, streamed with usage": (lambda url: chat_stream(url, **USAGE_ASKED), "chat-stream"),
    "responses": (responses, "responses"),
    "responses, streamed": (responses_stream, "responses-stream"),
    "embeddings": (embeddings, "embeddings"),
    "messages": (messages, "messages"),
    "messages with tools": (lambda url: messages(url, tools=MESSAGES_TOOLS), "messages"),
    "messages, streamed": (messages_stream, "messages-stream"),
}
"""Each call, and the answer that the provider gives it."""


def as_json(result: Any) -> list[Json]:
    """The object or the objects of a stream, with the names of their classes."""
    items = result if isinstance(result, list) else [result]
    return [{"class": type(item).__name__, **item.model_dump(mode="json")} for item in items]


def test_clients_get_the_objects_that_the_provider_gives_them(llm_gateway: Gateway, upstream: Upstream) -> None:
    upstream.reply = provide
    url = deploy(llm_gateway, "same", upstream.url, tokens=10**9)
    total = 0
    for name, (call, answer) in CALLS.items():
        direct = as_json(call(upstream.url))
        assert direct, name
        assert as_json(call(url)) == direct, name
        tokens_in, tokens_out, *_ = ANSWERS[answer]["usage"]
        total += tokens_in + tokens_out
        eventually(f"{name} is spent", lambda total=total: spent(url) == (total, 0))  # type: ignore[misc]
    expected = sum(ANSWERS[answer]["usage"][0] for _, answer in CALLS.values())
    eventually(f"llm-usage counts {expected} tokens of input", lambda: input_tokens(llm_gateway, "same") == expected)


# ------------------------------------------------------------------ clients of the other format

TOOL_CALL = ("get_weather", {"location": "Bern"})


def test_a_client_of_openai_uses_anthropics_models(llm_gateway: Gateway, upstream: Upstream) -> None:
    import openai

    upstream.reply = provide
    url = deploy(llm_gateway, "to-anthropic", upstream.url, tokens=10**9, to="anthropic")
    (choice,) = (whole := chat(url, "messages", tools=CHAT_TOOLS)).choices
    (called,) = choice.message.tool_calls
    assert (choice.message.content, choice.finish_reason, whole.usage.total_tokens) == ("Hello!", "tool_calls", 2402)
    assert (called.function.name, json.loads(called.function.arguments)) == ("get_weather", {"location": "Paris"})
    with openai_client(url) as client:
        chunks = list(client.chat.completions.create(model="messages-stream", messages=HI, stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello!"
        with client.chat.completions.stream(
            model="messages-stream-tools", messages=HI, tools=CHAT_TOOLS, **USAGE_ASKED
        ) as stream:
            final = stream.get_final_completion()
        (called,) = final.choices[0].message.tool_calls
        assert (called.function.name, json.loads(called.function.arguments)) == TOOL_CALL
        assert (final.usage.total_tokens, final.choices[0].finish_reason) == (103, "tool_calls")
        with pytest.raises(openai.BadRequestError, match=r"No such model\."):
            client.chat.completions.create(model="messages-error", messages=HI)
        with pytest.raises(openai.BadRequestError, match="n: Anthropic's messages have nothing like it"):
            client.chat.completions.create(model="messages", messages=HI, n=2)
    asked = [(request.target, request.values("anthropic-version")) for request in upstream.received]
    assert asked == [("/v1/messages", [b"2023-06-01"])] * 4
    eventually("all tokens are spent", lambda: spent(url) == (2402 + 150 + 103, 0))


def test_a_client_of_anthropic_uses_openais_models(llm_gateway: Gateway, upstream: Upstream) -> None:
    import anthropic

    upstream.reply = provide
    url = deploy(llm_gateway, "to-openai", upstream.url, tokens=10**9, to="openai")
    with anthropic_client(url) as client:
        ask: Json = {"messages": HI, "max_tokens": 50}
        (use,) = (whole := client.messages.create(model="chat-tools", tools=MESSAGES_TOOLS, **ask)).content
        assert (use.name, use.input, whole.stop_reason) == ("get_weather", {"city": "Paris"}, "tool_use")
        assert (whole.usage.input_tokens, whole.usage.output_tokens) == (82, 17)
        with client.messages.stream(model="chat-stream", **ask) as stream:
            assert "".join(stream.text_stream) == "Grüezi 👋"
            final = stream.get_final_message()
        assert (final.usage.input_tokens, final.usage.output_tokens, final.stop_reason) == (19, 10, "end_turn")
        with client.messages.stream(model="chat-stream-tools", tools=MESSAGES_TOOLS, **ask) as stream:
            (use,) = (final := stream.get_final_message()).content
        assert ((use.name, use.input), final.usage.output_tokens) == (TOOL_CALL, 12)
        with pytest.raises(anthropic.BadRequestError, match="Rate limit reached") as refused:
            client.messages.create(model="chat-error", **ask)
        assert "invalid_request_error" in str(refused.value)  # by its status
    assert [request.target for request in upstream.received] == ["/v1/chat/completions"] * 4
    eventually("all tokens are spent", lambda: spent(url) == (99 + 29 + 72, 0))


def test_the_next_provider_may_speak_another_format(llm_gateway: Gateway, upstream: Upstream) -> None:
    def overloaded_before_messages(request: Recorded) -> Reply:
        error = b'{"error":{"message":"Overloaded","type":"server_error"}}'
        is_chat = request.target.endswith("/chat/completions")
        return Reply(503, [("content-type", "application/json")], error) if is_chat else provide(request)

    upstream.reply = overloaded_before_messages
    targets = [
        {"upstream": "main", "format": "openai"},
        {"upstream": "second", "format": "anthropic", "model": "messages-stream"},
    ]
    budgets = [{"name": "both-tokens", "tokens": 10**9, "period": "month", "per": []}]
    routes = {"models": [{"names": ["*"], "targets": targets}]}
    policies = [attach("llm-budget", {"budgets": budgets}, timeout="10s"), attach("llm-route", routes, timeout="10s")]
    document = api("both", upstream.url, policies)
    document["spec"]["upstream"]["second"] = {"url": f"{upstream.url}/second"}
    llm_gateway.deploy({**document, "spec": document["spec"] | {"failover": True}})
    url = f"{llm_gateway.url}/both"
    chunks = chat_stream(url)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello!"
    asked = [(request.target, request.values("accept-encoding")) for request in upstream.received]
    assert asked == [("/v1/chat/completions", [b"identity"]), ("/second/v1/messages", [b"identity"])]
    eventually("the second's tokens are spent", lambda: spent(url) == (150, 0))


LITELLM: list[Json] = [
    {"provider": "openai", "model": "chat"},
    {"provider": "openai", "model": "chat-tools", "tools": True},
    {"provider": "openai", "model": "chat-stream", "stream": True},
    {"provider": "openai", "model": "chat-stream-tools", "stream": True, "tools": True},
    {"provider": "openai", "model": "chat-error"},
    {"provider": "anthropic", "model": "messages", "tools": True},
    {"provider": "anthropic", "model": "messages-stream-tools", "stream": True, "tools": True},
    {"provider": "anthropic", "model": "messages-error"},
]
TRANSLATED: list[Json] = [
    {"provider": "openai", "model": "messages", "tools": True},
    {"provider": "openai", "model": "messages-stream-tools", "stream": True, "tools": True},
]


@pytest.mark.slow("litellm, which takes seconds to import, asks 18 times")
def test_litellm_gets_what_the_provider_gives_it(llm_gateway: Gateway, upstream: Upstream) -> None:
    upstream.reply = provide
    url = deploy(llm_gateway, "litellm", upstream.url, tokens=10**9)
    other = deploy(llm_gateway, "litellm-other", upstream.url, tokens=10**9, to="anthropic")
    direct, through = ([call | {"url": base} for call in LITELLM] for base in (upstream.url, url))
    calls = [*direct, *through, *(call | {"url": other} for call in TRANSLATED)]
    results = run_litellm(calls)
    count = len(LITELLM)
    assert results[count : 2 * count] == results[:count]
    assert [result.get("error") for result in results[:count]].count(None) == count - 2
    whole, streamed = results[2 * count :]
    called = ["get_weather", '{"location": "Paris"}']
    assert whole == {"content": "Hello!", "calls": [called], "reason": "tool_calls", "tokens": [2009, 393]}
    assert (streamed["calls"], streamed["tokens"]) == ([["get_weather", '{"location": "Bern"}']], [70, 33])


def run_litellm(calls: list[Json]) -> list[Json]:
    command = [str(install("litellm") / "bin" / "python"), str(ROOT / "e2e/kit/programs/litellm_calls.py")]
    offline = os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    program = subprocess.run(
        command, input=json.dumps(calls), stdout=subprocess.PIPE, text=True, check=True, env=offline
    )
    results: list[Json] = json.loads(program.stdout)
    return results


# ------------------------------------------------------------------ refusals


def test_an_error_of_the_provider_is_the_same_error(llm_gateway: Gateway, upstream: Upstream) -> None:
    import anthropic
    import openai

    upstream.reply = provide
    url = deploy(llm_gateway, "provider-errors", upstream.url, tokens=10**9)
    bodies = []
    for base in (upstream.url, url):
        with pytest.raises(openai.BadRequestError) as of_openai:
            chat(base, "chat-error")
        with anthropic_client(base) as client, pytest.raises(anthropic.BadRequestError) as of_anthropic:
            client.messages.create(model="messages-error", messages=HI, max_tokens=50)
        bodies.append((str(of_openai.value), of_openai.value.body, str(of_anthropic.value), of_anthropic.value.body))
    assert bodies[0] == bodies[1]
    eventually("errors have cost nothing", lambda: spent(url) == (0, 0))


def test_a_request_that_can_never_fit_raises_at_once(llm_gateway: Gateway, upstream: Upstream) -> None:
    """The clients would try twice more, had the refusal not said that it is of no use."""
    import anthropic
    import openai

    upstream.reply = provide
    url = deploy(llm_gateway, "never", upstream.url, tokens=20)
    with pytest.raises(openai.RateLimitError) as of_openai:
        chat(url, "chat")
    with pytest.raises(anthropic.RateLimitError) as of_anthropic:
        messages(url)
    for error in (of_openai.value, of_anthropic.value):
        assert error.status_code == 429
        assert "retry-after" not in error.response.headers
        assert error.request.headers["x-stainless-retry-count"] == "0"
        for text in ("the budget never-tokens has 20 tokens each month", "limit its output, or shorten its prompt"):
            assert text in str(error), error
    assert upstream.received == []
    assert spent(url) == (0, 0)


def test_a_spent_budget_raises_at_once(llm_gateway: Gateway, upstream: Upstream) -> None:
    """retry-after is the rest of the month, for which Anthropic's client would wait."""
    import anthropic
    import openai

    upstream.reply = provide
    url = deploy(llm_gateway, "spent", upstream.url, tokens=1200)
    chat(url, "chat")  # 1163 tokens
    eventually("the answer is spent", lambda: spent(url) == (1163, 0))
    with pytest.raises(openai.RateLimitError) as of_openai:
        chat(url, "chat")
    with pytest.raises(anthropic.RateLimitError) as of_anthropic:
        messages(url)
    for error in (of_openai.value, of_anthropic.value):
        assert "1163 tokens are spent and 0 tokens reserved" in str(error)
        assert int(error.response.headers["retry-after"]) > 1
        assert error.request.headers["x-stainless-retry-count"] == "0"
    assert len(upstream.received) == 1


def test_a_client_that_is_kept_out_by_one_under_way_gets_its_answer_by_its_retry(
    llm_gateway: Gateway, upstream: Upstream
) -> None:
    *events, done = model_events.completion(["Hi"])
    upstream.reply = provide
    with ModelUpstream() as model, model.answer_with([*events, done], permits=1), ThreadPoolExecutor(1) as executor:
        slow = deploy(llm_gateway, "slow", model.url, tokens=100, across="shared")
        url = deploy(llm_gateway, "beside", upstream.url, tokens=100, across="shared")
        with openai_client(slow) as client:
            stream = client.chat.completions.create(model="m", messages=HI, stream=True, max_tokens=60)
            next(stream)
            answer = executor.submit(chat, url, "chat-tools")
            eventually("the second is refused", lambda: refusals(llm_gateway, "shared") >= 1)
            assert upstream.received == []
            for _ in events:
                model.permit()
            list(stream)
        assert answer.result(60).choices[0].message.tool_calls[0].function.name == "get_weather"
    eventually("the second is spent", lambda: spent(url) == (99, 0))


def test_a_client_that_leaves_a_stream_gives_back_what_was_reserved(llm_gateway: Gateway) -> None:
    """And the provider sees it leave. A message's usage so far is spent; a chat's is not known yet, so it is free."""
    chunks, events = model_events.completion(["Ask ", "Ada"]), model_events.message(["Ask ", "Ada"])
    with ModelUpstream() as model:
        url = deploy(llm_gateway, "leaving", model.url, tokens=10**6)
        with model.answer_with(chunks, permits=2), openai_client(url) as client:
            with client.chat.completions.create(model="m", messages=HI, stream=True, max_tokens=60) as stream:
                next(stream)
            assert model.gone.wait(30)
        eventually("the chat is free", lambda: spent(url) == (0, 0))
        with model.answer_with(events, permits=3), anthropic_client(url) as client:
            with client.messages.create(model="m", messages=HI, stream=True, max_tokens=60) as stream:
                next(iter(stream))
            assert model.gone.wait(30)
        eventually("the usage so far is spent", lambda: spent(url) == (2, 0))
