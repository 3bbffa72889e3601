"""The policy llm-usage behind a real gateway: answers of each shape, cut and compressed, are counted to the token, and
clients get them as if there were no policy."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import httpx
import pytest
import yaml
from gatewright.streams import SseEvent

from e2e.kit import model_events
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.model_upstream import ModelUpstream
from e2e.kit.places import ROOT
from e2e.kit.scraping import scrape
from e2e.kit.upstream import Recorded, Reply, Upstream

pytestmark = pytest.mark.timeout(180)
ANSWERS: dict[str, Json] = yaml.safe_load((ROOT / "sdk/python/tests/llm/answers.yaml").read_text())
"""Answers of providers' published formats, with what is read of them."""
CHAT: Json = {"messages": [], "stream": True, "stream_options": {"include_usage": True}}
REQUESTS: dict[str, tuple[str, Json]] = {
    "chat": ("/v1/chat/completions", CHAT),
    "completions": ("/v1/completions", {"prompt": "Hi", "stream": True, "stream_options": {"include_usage": True}}),
    "responses": ("/v1/responses", {"model": "m", "input": "Hi"}),
    "messages": ("/v1/messages", {"model": "m", "messages": []}),
    "gemini": ("/v1beta/models/m:streamGenerateContent", {"contents": []}),
    "embeddings": ("/v1/embeddings", {"model": "m", "input": "Hi"}),
}
USAGE_EVENT = SseEvent(json.dumps({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})).encode()

GEN_AI = {
    "gen_ai.operation.name": "chat", "gen_ai.request.model": "fake", "gen_ai.response.model": "fake",
    "gen_ai.usage.input_tokens": 3, "gen_ai.usage.output_tokens": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def usage_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    manifest = tmp_path_factory.mktemp("manifest") / "build.yaml"
    manifest.write_text(yaml.safe_dump({"version": "v1", "policies": [{"name": "llm-usage"}]}))
    output = ROOT / "build" / "e2e-llm-usage"
    subprocess.run(["gatewright", "build", "--manifest", str(manifest), "--output", str(output)], check=True)
    with running(output, manifest.parent / "state") as gateway:
        yield gateway


def deploy(gateway: Gateway, name: str, url: str, **params: Any) -> str:
    """The URL of an API with the policy."""
    gateway.deploy(api(name, url, [attach("llm-usage", params, timeout="10s")]))
    return f"{gateway.url}/{name}"


def count(gateway: Gateway, name: str, **labels: str) -> int:
    return int(scrape(gateway).value(f"gatewright_policy_llm_{name}_total", **labels))


def outcomes(gateway: Gateway, name: str) -> dict[str, int]:
    kinds = ("counted", "no_usage", "aborted", "error", "unknown_shape")
    page = scrape(gateway)
    values = {kind: int(page.value("gatewright_policy_llm_requests_total", api=name, outcome=kind)) for kind in kinds}
    return {kind: value for kind, value in values.items() if value}


def cut(body: bytes, random: Random) -> list[bytes]:
    places = sorted(random.randrange(len(body)) for _ in range(random.randrange(8)))
    pieces = [body[at:to] for at, to in zip([0, *places], [*places, len(body)], strict=True)]
    return [piece for piece in pieces if piece]


def compressed(content_type: str, body: bytes) -> Callable[[Recorded], Reply]:
    reply = Reply(200, [("content-type", content_type), ("content-encoding", "gzip")], gzip.compress(body))
    return lambda _: reply


@pytest.mark.parametrize("is_compressed", [False, True])
def test_each_answer_is_counted_to_the_token_and_passes_unchanged(
    usage_gateway: Gateway, upstream: Upstream, is_compressed: bool
) -> None:
    name = f"answers-{'compressed' if is_compressed else 'cut'}"
    random = Random(7)  # noqa: S311 - the same cuts each time
    with ModelUpstream() as model:
        url = deploy(usage_gateway, name, upstream.url if is_compressed else model.url)
        for answer in ANSWERS.values():
            path, request = REQUESTS[answer["shape"]]
            body = answer["body"].encode()
            model.content_type = answer["content_type"]
            upstream.reply = compressed(answer["content_type"], body)
            with model.answer_with(cut(body, random)):
                assert httpx.post(url + path, json=request, timeout=30).content == body
    usages = [answer["usage"] for answer in ANSWERS.values() if answer["usage"]]
    names = ("input_tokens", "output_tokens", "cached_tokens", "cache_written_tokens", "reasoning_tokens")
    expected = {kind: sum(usage[at] for usage in usages) for at, kind in enumerate(names)}
    eventually("all answers are counted", lambda: sum(outcomes(usage_gateway, name).values()) == len(ANSWERS))
    assert {kind: count(usage_gateway, kind, api=name) for kind in names} == expected
    found = outcomes(usage_gateway, name)
    assert found["error"] == sum("error" in answer for answer in ANSWERS.values())
    assert found["no_usage"] + found["aborted"] + found["error"] >= len(ANSWERS) - len(usages)


def test_each_event_passes_at_once_but_the_chunk_that_the_client_has_not_asked_for(usage_gateway: Gateway) -> None:
    """Each is sent when the client has the one before: a gateway that holds one back waits for ever."""
    *events, done = model_events.completion(["Ask ", "Ada ", "today!"])
    received = b""
    with ModelUpstream() as model, model.answer_with([*events, USAGE_EVENT + done], permits=1):
        url = deploy(usage_gateway, "at-once", model.url, prices={"fake": {"input": "1", "output": "2"}}, genAi=True)
        request = {"model": "fake", "messages": [], "stream": True}
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=request, timeout=30) as answer:
            for chunk in answer.iter_bytes():
                received += chunk
                model.permit()
    assert received == b"".join(events) + done
    eventually("the answer is counted", lambda: outcomes(usage_gateway, "at-once") == {"counted": 1})
    assert count(usage_gateway, "input_tokens", api="at-once", model="fake") == 3
    assert count(usage_gateway, "cost_billionths", api="at-once", model="fake") == 3 * 1000 + 2 * 2000
    eventually("the access log has its line", lambda: usage_gateway.access_records("at-once"))
    (line,) = usage_gateway.access_records("at-once")
    tokens = {"input": 3, "output": 2, "cached": 0, "cacheWritten": 0, "reasoning": 0}
    expected = {"shape": "chat", "model": "fake", "streams": True, "outcome": "counted", **tokens, "cost": "0.000007"}
    assert line["analytics"] == {"llm": expected, **GEN_AI}


def test_openais_client_sees_usage_only_if_it_asks(usage_gateway: Gateway, upstream: Upstream) -> None:
    import openai  # here, for it takes seconds, in each process that collects this file

    *events, done = model_events.completion(["Hi"])

    def reply(request: Recorded) -> Reply:
        asked = json.loads(request.body).get("stream_options") == {"include_usage": True}
        body = [*events, USAGE_EVENT, done] if asked else [*events, done]
        return Reply(200, [("content-type", "text/event-stream")], b"".join(body))

    upstream.reply = reply
    url = deploy(usage_gateway, "openai", upstream.url)
    seen = []
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0, timeout=30) as client:
        for more in ({}, {"stream_options": {"include_usage": True}}):
            stream = client.chat.completions.create(model="fake", messages=[], stream=True, **more)  # type: ignore[call-overload]
            chunks = list(stream)
            seen.append((len(chunks), [chunk.usage.prompt_tokens for chunk in chunks if chunk.usage]))
    assert seen == [(len(events), []), (len(events) + 1, [3])]
    eventually("both are counted", lambda: outcomes(usage_gateway, "openai") == {"counted": 2})
    assert count(usage_gateway, "input_tokens", api="openai") == 6


def test_a_client_that_leaves_is_counted_with_the_usage_so_far(usage_gateway: Gateway) -> None:
    events = model_events.message(["Ask ", "Ada"])
    with ModelUpstream() as model, model.answer_with(events, permits=3):
        url = deploy(usage_gateway, "leaves", model.url)
        request = {"model": "fake", "messages": [], "stream": True}
        with httpx.stream("POST", f"{url}/v1/messages", json=request, timeout=30) as answer:
            next(answer.iter_bytes())
        eventually("the request is counted", lambda: outcomes(usage_gateway, "leaves") == {"aborted": 1})
    assert count(usage_gateway, "input_tokens", api="leaves", model="fake") == 1
    assert count(usage_gateway, "output_tokens", api="leaves", model="fake") == 1
    eventually("the access log has its line", lambda: usage_gateway.access_records("leaves"))
    (line,) = usage_gateway.access_records("leaves")
    assert line["analytics"] == {"llm": {"shape": "messages", "model": "fake", "streams": True}}


def test_an_answer_of_a_provider_that_leaves_is_aborted(usage_gateway: Gateway, upstream: Upstream) -> None:
    upstream.reply = lambda _: Reply(200, [("content-type", "application/json")], b'{"model": "fake", "choices": [')
    url = deploy(usage_gateway, "cut-short", upstream.url)
    request = {"model": "fake", "messages": []}
    assert httpx.post(f"{url}/v1/chat/completions", json=request, timeout=30).status_code == 200
    assert httpx.get(f"{url}/v1/models", timeout=30).status_code == 200
    expected = {"aborted": 1, "unknown_shape": 1}
    eventually("both are counted", lambda: outcomes(usage_gateway, "cut-short") == expected)
