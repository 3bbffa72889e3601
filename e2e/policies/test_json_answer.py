"""The policy json-answer behind a real gateway, between a cache and the count of usage, as its page says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import httpx
import pytest
import yaml

from e2e.kit import model_events
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.model_upstream import ModelUpstream
from e2e.kit.places import ROOT
from e2e.kit.scraping import scrape
from e2e.kit.upstream import Recorded, Reply, Upstream

pytestmark = pytest.mark.timeout(180)
SCHEMA: Json = {"type": "object", "required": ["item"]}
QUESTION: Json = {"model": "m", "messages": [{"role": "user", "content": "One tea"}], "temperature": 0}
GOOD = '{"item": "tea"}'


@pytest.fixture(scope="module")
def json_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    manifest = tmp_path_factory.mktemp("manifest") / "build.yaml"
    policies = [{"name": name} for name in ("llm-cache", "json-answer", "llm-budget", "llm-usage")]
    manifest.write_text(yaml.safe_dump({"version": "v1", "policies": policies}))
    output = ROOT / "build" / "e2e-json-answer"
    subprocess.run(["gatewright", "build", "--manifest", str(manifest), "--output", str(output)], check=True)
    with running(output, manifest.parent / "state") as gateway:
        yield gateway


def deploy(gateway: Gateway, name: str, url: str, timeout: str = "1s", **more: Json) -> str:
    attachments = [
        attach("llm-cache", {"per": []}),
        attach("json-answer", {"schema": SCHEMA, "ask": "schema", "fences": "remove", **more}, timeout=timeout),
        attach("llm-budget", {"budgets": [{"name": name, "tokens": 100_000, "per": [], "period": "day"}]}),
        attach("llm-usage"),
    ]
    gateway.deploy(api(name, url, attachments))
    return f"{gateway.url}/{name}/v1/chat/completions"


def test_whole_answers_are_checked_counted_and_kept_only_if_they_are_valid(
    json_gateway: Gateway, upstream: Upstream
) -> None:
    texts = iter(["Certainly!", f"```json\n{GOOD}\n```"])

    def answer(_: Recorded) -> Reply:
        usage = {"prompt_tokens": 9, "completion_tokens": 4}
        document = {"model": "m", "choices": [{"message": {"content": next(texts)}}], "usage": usage}
        return Reply(200, [("content-type", "application/json")], json.dumps(document).encode())

    upstream.reply = answer
    url = deploy(json_gateway, "whole-json", upstream.url)
    refused, passed, kept = (httpx.post(url, json=QUESTION, timeout=30) for _ in range(3))
    assert (refused.status_code, refused.json()["reason"]) == (502, "syntax")
    assert passed.json()["choices"][0]["message"]["content"] == GOOD
    assert kept.content == passed.content
    assert "hit" in kept.headers["cache-status"]
    asked = [json.loads(request.body)["response_format"] for request in upstream.to("/")]
    assert asked == [{"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}] * 2

    def counted() -> int:
        return int(scrape(json_gateway).value("gatewright_policy_llm_input_tokens_total", api="whole-json"))

    eventually("both answers of the provider are counted", lambda: counted() == 2 * 9)


@pytest.mark.parametrize("corrected", [True, False])
def test_a_wrong_answer_is_asked_for_once_more_and_both_are_counted(
    json_gateway: Gateway, upstream: Upstream, corrected: bool
) -> None:
    texts = iter(["Certainly!", GOOD if corrected else "[]", "never"])
    tokens = iter([9, 30, 1000])

    def answer(_: Recorded) -> Reply:
        usage = {"prompt_tokens": next(tokens), "completion_tokens": 4}
        document = {"model": "m", "choices": [{"message": {"content": next(texts)}}], "usage": usage}
        return Reply(200, [("content-type", "application/json")], json.dumps(document).encode())

    upstream.reply = answer
    name = f"again-json-{corrected}".lower()
    url = deploy(json_gateway, name, upstream.url, timeout="20s", retry={"url": json_gateway.url})
    result = httpx.post(url, json=QUESTION, headers={"authorization": "Bearer key"}, timeout=30)
    if corrected:
        assert result.json()["choices"][0]["message"]["content"] == GOOD
    else:
        assert (result.status_code, result.json()["reason"]) == (502, "syntax")
    first, second = upstream.to("/")
    wrong, reason = json.loads(second.body)["messages"][1:]
    assert wrong == {"role": "assistant", "content": "Certainly!"}
    assert "it cannot be parsed" in reason["content"]
    assert json.loads(second.body)["response_format"] == json.loads(first.body)["response_format"]

    def counted() -> tuple[float, float]:
        page = scrape(json_gateway)
        spent = page.value("gatewright_policy_llm_budget_spent_total", budget=name)
        return page.value("gatewright_policy_llm_input_tokens_total", api=name), spent

    eventually("both answers are counted, and spent", lambda: counted() == (9 + 30, 9 + 4 + 30 + 4))


def test_each_event_of_a_stream_passes_at_once_and_an_invalid_one_ends_with_an_error(json_gateway: Gateway) -> None:
    """Each is sent when the client has the one before: a gateway that holds one back waits for ever."""
    with ModelUpstream() as model:
        url = deploy(json_gateway, "streamed-json", model.url)
        for pieces, is_valid in ((["{", '"item": 1', "}"], True), (["Cer", "tain", "ly!"], False)):
            *events, done = model_events.completion(pieces)
            received = b""
            with model.answer_with([*events, done], permits=1):
                request = {**QUESTION, "stream": True, "seed": len(pieces[0])}  # another one for the cache
                with httpx.stream("POST", url, json=request, timeout=30) as answer:
                    for chunk in answer.iter_bytes():
                        received += chunk
                        model.permit()
            assert received.startswith(b"".join(events)), received
            rest = received.removeprefix(b"".join(events))
            assert (rest == done) if is_valid else (b'"invalid_answer"' in rest and done not in rest)
