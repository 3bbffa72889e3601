"""The policy prompt-guard behind a real gateway: what is denied does not leave, wherever an answer is cut, and clients
see that the gateway has ended it."""

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
from gatewright import llm

from e2e.kit import model_events
from e2e.kit.gateway import Gateway, api, attach, eventually, running
from e2e.kit.model_upstream import ModelUpstream
from e2e.kit.places import ROOT
from e2e.kit.scraping import scrape
from e2e.kit.upstream import Recorded, Reply, Upstream, echo

pytestmark = pytest.mark.timeout(180)
KEY = "sk-abcdefghijklmnopqrstuv"
RULES = [
    {"name": "key", "regex": r"\bsk-[a-z0-9]{20,40}\b"},
    {"name": "project", "words": ["Blue Heron"], "action": "redact"},
]
CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture(scope="module")
def guard_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    manifest = tmp_path_factory.mktemp("manifest") / "build.yaml"
    manifest.write_text(yaml.safe_dump({"version": "v1", "policies": [{"name": "prompt-guard"}]}))
    output = ROOT / "build" / "e2e-prompt-guard"
    subprocess.run(["gatewright", "build", "--manifest", str(manifest), "--output", str(output)], check=True)
    with running(output, manifest.parent / "state") as gateway:
        yield gateway


def deploy(gateway: Gateway, name: str, url: str, **params: Any) -> str:
    """The URL of an API with the policy."""
    gateway.deploy(api(name, url, [attach("prompt-guard", {"deny": RULES, **params}, timeout="10s")]))
    return f"{gateway.url}/{name}"


def verdicts(gateway: Gateway, name: str, **labels: str) -> int:
    return int(scrape(gateway).value("gatewright_policy_prompt_guard_findings_total", api=name, **labels))


def cut(text: str, random: Random) -> list[str]:
    places = sorted(random.randrange(len(text)) for _ in range(random.randrange(1, 9)))
    return [text[at:to] for at, to in zip([0, *places], [*places, len(text)], strict=True)]


def text_of(body: bytes) -> tuple[str, llm.AnswerReader]:
    reader = llm.AnswerReader("chat", "text/event-stream", with_texts=True)
    return "".join(delta.text for delta in [*reader.feed(body), *reader.end()]), reader


def compressed(content_type: str, body: bytes) -> Callable[[Recorded], Reply]:
    headers = [("content-type", content_type), ("content-encoding", "gzip")]
    return lambda _: Reply(200, headers, gzip.compress(body))


def test_what_is_denied_leaves_over_no_cut_of_a_stream(guard_gateway: Gateway, upstream: Upstream) -> None:
    random = Random(11)  # noqa: S311 - the same cuts each time
    with ModelUpstream() as model:
        plain = deploy(guard_gateway, "cuts", model.url)
        unpacked = deploy(guard_gateway, "cuts-gzip", upstream.url)
        for number in range(40):
            body = b"".join(model_events.completion(cut(f"About Blue Heron: use {KEY} now", random)))
            pieces = [part.encode("latin-1") for part in cut(body.decode("latin-1"), random) if part]
            upstream.reply = compressed("text/event-stream", body)
            with model.answer_with(pieces):
                url = plain if number % 2 else unpacked
                answer = httpx.post(f"{url}/v1/chat/completions", json={**CHAT, "stream": True}, timeout=30)
            text, reader = text_of(answer.content)
            assert "About [redacted]: use ".startswith(text), text
            assert reader.error is not None
            assert reader.error.code == "prompt_guard"
            assert answer.content.endswith(b"data: [DONE]\n\n")
    blocked = {"rule": "key", "direction": "response", "action": "block"}
    eventually("all are counted", lambda: verdicts(guard_gateway, "cuts", **blocked) == 20)


def test_text_before_a_match_leaves_at_once(guard_gateway: Gateway) -> None:
    """Each event is sent when the client has the one before: a gateway that holds one back waits for ever."""
    events = model_events.completion(["Ask the ", "bl", "ue heron", " today!"])
    received = b""
    with ModelUpstream() as model, model.answer_with(events, permits=1):
        url = deploy(guard_gateway, "at-once", model.url, deny=RULES[1:])
        with httpx.stream("POST", f"{url}/v1/chat/completions", json={**CHAT, "stream": True}, timeout=30) as answer:
            for chunk in answer.iter_bytes():
                received += chunk
                model.permit()
    assert text_of(received)[0] == "Ask the [redacted] today!"


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_whole_answer_is_kept_back(guard_gateway: Gateway, upstream: Upstream, is_compressed: bool) -> None:
    name = f"whole-{'gzip' if is_compressed else 'plain'}"
    url = deploy(guard_gateway, name, upstream.url)
    document = {"model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": f"Use {KEY}"}}]}
    body = json.dumps(document).encode()
    plain = Reply(200, [("content-type", "application/json")], body)
    upstream.reply = compressed("application/json", body) if is_compressed else lambda _: plain
    answer = httpx.post(f"{url}/v1/chat/completions", json=CHAT, timeout=30)
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
    assert "key of deny" in answer.json()["detail"]
    assert KEY not in answer.text
    eventually("it is counted", lambda: verdicts(guard_gateway, name, rule="key", action="block") == 1)


def test_a_moderation_service_decides_about_prompts(guard_gateway: Gateway, upstream: Upstream) -> None:
    """It and the provider are one server here; the texts say what it finds, or that it fails."""
    upstream.reply = moderate_or_echo
    service = {"url": f"{upstream.url}/v1/moderations", "token": "for-the-service"}
    closed = deploy(guard_gateway, "moderated", upstream.url, moderation=service)
    lenient = deploy(guard_gateway, "lenient", upstream.url, moderation=service | {"whenUnanswered": "pass"})

    def ask(url: str, text: str) -> tuple[int, str]:
        prompt = {"model": "m", "messages": [{"role": "user", "content": text}]}
        answer = httpx.post(f"{url}/v1/chat/completions", json=prompt, timeout=30)
        return answer.status_code, answer.json().get("detail", "")

    assert ask(closed, "Hi") == (200, "")
    assert ask(closed, "a violent one") == (403, "the gateway refuses this prompt: violence of moderation")
    assert ask(closed, "it fails") == (503, "the moderation service gave no verdict on this prompt")
    assert ask(lenient, "it fails") == (200, "")
    asked = [request for request in upstream.received if request.target == "/v1/moderations"]
    assert [json.loads(request.body)["input"] for request in asked] == [
        ["Hi"],
        ["a violent one"],
        ["it fails"],
        ["it fails"],
    ]
    assert {request.value("authorization") for request in asked} == {"Bearer for-the-service"}
    passed = [request for request in upstream.received if request not in asked]
    assert len(passed) == 2, "what is refused reaches no provider"


def moderate_or_echo(request: Recorded) -> Reply:
    if request.target != "/v1/moderations":
        return echo(request)
    texts = json.loads(request.body)["input"]
    if any("fails" in text for text in texts):
        return Reply(500)
    found = [{"flagged": "violent" in text, "categories": {"violence": "violent" in text}} for text in texts]
    scores = [result | {"category_scores": {"violence": 0.5}} for result in found]
    return Reply(200, [("content-type", "application/json")], json.dumps({"results": scores}).encode())


def test_openais_client_sees_how_it_ended(guard_gateway: Gateway) -> None:
    import openai  # here, for it takes seconds, in each process that collects this file

    events = model_events.completion(["The key ", "is long and is ", KEY[:9], KEY[9:], " so"])
    with ModelUpstream() as model, model.answer_with(events):
        url = deploy(guard_gateway, "openai", model.url, refusal={"as": "provider", "text": "No."})
        with openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0, timeout=30) as client:
            stream = client.chat.completions.create(model="m", messages=[], stream=True)
            with pytest.raises(openai.APIError, match="key of deny"):
                list(stream)
            denied: list[Any] = [{"role": "user", "content": f"my {KEY}"}]
            answer = client.chat.completions.create(model="m", messages=denied)
            assert (answer.choices[0].message.refusal, answer.choices[0].finish_reason) == ("No.", "content_filter")
            chunks = list(client.chat.completions.create(model="m", messages=denied, stream=True))
            assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, "content_filter"]


def test_anthropics_client_sees_how_it_ended(guard_gateway: Gateway) -> None:
    import anthropic  # here, for it takes seconds, in each process that collects this file

    with ModelUpstream() as model, model.answer_with(model_events.message(["The key is ", KEY, " so"])):
        url = deploy(guard_gateway, "anthropic", model.url, refusal={"as": "provider", "text": "No."})
        with anthropic.Anthropic(base_url=url, api_key="k", max_retries=0, timeout=30) as client:
            plain: list[Any] = [{"role": "user", "content": "Hi"}]
            with (
                pytest.raises(anthropic.APIStatusError, match="key of deny"),
                client.messages.stream(model="m", max_tokens=9, messages=plain) as stream,
            ):
                stream.until_done()
            denied: list[Any] = [{"role": "user", "content": f"my {KEY}"}]
            answer = client.messages.create(model="m", max_tokens=9, messages=denied)
            assert answer.stop_reason == "refusal"
            with client.messages.stream(model="m", max_tokens=9, messages=denied) as stream:
                assert (stream.get_final_text(), stream.get_final_message().stop_reason) == ("No.", "refusal")
