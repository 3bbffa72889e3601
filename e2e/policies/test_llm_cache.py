"""The policy llm-cache behind a real gateway: what a hit costs in a budget and in the usage, before them and after."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import yaml

from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.model_upstream import ModelUpstream
from e2e.kit.places import ROOT
from e2e.kit.scraping import scrape
from e2e.kit.upstream import Recorded, Reply, Upstream

pytestmark = pytest.mark.timeout(180)
QUESTION: Json = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0, "max_tokens": 20}
ANSWER = {
    "model": "m",
    "choices": [{"message": {"content": "Hello"}}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 4},
}
TOKENS = 13


@pytest.fixture(scope="module")
def cache_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    manifest = tmp_path_factory.mktemp("manifest") / "build.yaml"
    policies = [{"name": name} for name in ("llm-cache", "llm-budget", "llm-usage")]
    manifest.write_text(yaml.safe_dump({"version": "v1", "policies": policies}))
    output = ROOT / "build" / "e2e-llm-cache"
    subprocess.run(["gatewright", "build", "--manifest", str(manifest), "--output", str(output)], check=True)
    with running(output, manifest.parent / "state", "--executors", "2") as gateway:
        yield gateway


def deploy(gateway: Gateway, name: str, url: str, order: str) -> str:
    """The URL of an API with the policies in this order; its budget has its name."""
    budget = {"name": name, "tokens": 1000, "period": "month", "per": []}
    attachments = {
        "cache": attach("llm-cache", {"waitSeconds": 5}, timeout="10s"),
        "budget": attach("llm-budget", {"budgets": [budget]}),
        "usage": attach("llm-usage"),
    }
    gateway.deploy(api(name, url, [attachments[part] for part in order.split()]))
    return f"{gateway.url}/{name}/v1/chat/completions"


def ask(url: str, key: str = "a", **changed: object) -> httpx.Response:
    return httpx.post(url, json={**QUESTION, **changed}, headers={"authorization": f"Bearer {key}"}, timeout=30)


def spent(gateway: Gateway, name: str) -> tuple[int, int]:
    """The tokens that the budget has settled, and those that the usage has counted."""
    page = scrape(gateway)
    usage = sum(page.value(f"gatewright_policy_llm_{kind}_tokens_total", api=name) for kind in ("input", "output"))
    return int(page.value("gatewright_policy_llm_budget_spent_total", budget=name)), int(usage)


@contextmanager
def saving(gateway: Gateway, tokens: int) -> Iterator[None]:
    """Waits until the metric has counted what the hits of the block save: it comes later than the answers, and would
    count in the next test."""

    def saved() -> int:
        return int(scrape(gateway).value("gatewright_policy_llm_cache_tokens_saved_total"))

    before = saved()
    yield
    eventually("what is saved is counted", lambda: saved() - before == tokens)


def answer_compressed(upstream: Upstream) -> None:
    headers = [("content-type", "application/json"), ("content-encoding", "gzip"), ("x-request-id", "of-the-provider")]
    upstream.reply = lambda _: Reply(200, headers, gzip.compress(json.dumps(ANSWER).encode()))


@pytest.mark.parametrize(
    ("name", "order", "counted"), [("first", "cache budget usage", 1), ("last", "budget usage cache", 3)]
)
def test_a_hit_costs_nothing_where_the_cache_is_before_those_that_count(
    cache_gateway: Gateway, upstream: Upstream, name: str, order: str, counted: int
) -> None:
    """Behind them it has the usage of the first answer, and is counted with it again."""
    answer_compressed(upstream)
    url = deploy(cache_gateway, name, upstream.url, order)
    with saving(cache_gateway, 2 * TOKENS):
        answers = [ask(url) for _ in range(3)]
    assert [answer.json() for answer in answers] == [ANSWER] * 3
    states = [answer.headers["cache-status"].partition("; ttl")[0] for answer in answers]
    assert states == ["gatewright; fwd=miss", "gatewright; hit", "gatewright; hit"]
    assert len(upstream.to("/")) == 1
    expected = counted * TOKENS
    eventually("all is counted", lambda: spent(cache_gateway, name) == (expected, expected))


def test_clients_have_answers_of_their_own_and_forms_have_entries_of_their_own(
    cache_gateway: Gateway, upstream: Upstream
) -> None:
    answer_compressed(upstream)
    url = deploy(cache_gateway, "clients", upstream.url, "cache")
    for key, changed in (("a", {}), ("b", {}), ("a", {"stream": True}), ("a", {"temperature": 1}), ("a", {"seed": 1})):
        assert "hit" not in ask(url, key, **changed).headers["cache-status"], (key, changed)
    with saving(cache_gateway, TOKENS):
        assert "hit" in ask(url, "b").headers["cache-status"]


def test_a_stream_is_replayed_byte_for_byte_and_only_if_it_came_to_its_end(cache_gateway: Gateway) -> None:
    delta = b'data: {"model":"m","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
    usage = b'data: {"model":"m","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}\n\n'
    done = b"data: [DONE]\n\n"
    with ModelUpstream() as model:
        url = deploy(cache_gateway, "streamed", model.url, "cache budget usage")
        with model.answer_with([delta, delta]):  # a provider that breaks off
            assert ask(url, stream=True).content == 2 * delta
        with model.answer_with([delta[:9], delta[9:] + usage[:20], usage[20:], done]):
            assert ask(url, stream=True).content == delta + done
    again = ask(url, stream=True)  # nothing answers there any more
    assert (again.status_code, again.content, again.headers["content-type"]) == (200, delta + done, "text/event-stream")


def test_a_question_of_nearly_the_same_meaning_is_answered(cache_gateway: Gateway, upstream: Upstream) -> None:
    """All questions have the same embedding. Each of the two processes knows those that it has asked about."""

    def reply(request: Recorded) -> Reply:
        is_embedding = request.target.endswith("/embeddings")
        document = {"data": [{"index": 0, "embedding": [0.6, 0.8]}]} if is_embedding else ANSWER
        return Reply(200, [("content-type", "application/json")], json.dumps(document).encode())

    upstream.reply = reply
    semantic = {"url": f"{upstream.url}/v1/embeddings", "model": "e", "timeoutMilliseconds": 5000}
    policies = [attach("llm-cache", {"semantic": semantic}, timeout="20s")]
    cache_gateway.deploy(api("near", upstream.url, policies))
    url = f"{cache_gateway.url}/near/v1/chat/completions"
    messages: list[Json] = []
    with saving(cache_gateway, TOKENS):
        for number in range(20):
            messages = [{"role": "user", "content": f"Hi, I am {number}"}]
            answer = ask(url, messages=messages)
            assert answer.json() == ANSWER
            if "hit" in (state := answer.headers["cache-status"]):
                break
            assert state == "gatewright; fwd=miss"
        assert re.fullmatch(r"gatewright; hit; ttl=\d+; detail=near-1\.000", state)
    other = ask(url, messages=[{"role": "system", "content": "Be rude."}, *messages])
    assert other.headers["cache-status"] == "gatewright; fwd=miss"
