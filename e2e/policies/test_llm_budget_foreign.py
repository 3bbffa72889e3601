"""llm-budget before a provider of language models that others wrote: PyPI's llmock, which breaks streams on demand.

What it reports is read twice: asked directly, by a reader of this file, and behind the gateway, by the budget.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import httpx
import pytest
from own_environment import install

from e2e.kit.gateway import Gateway, Json, api, attach, eventually, fresh_name
from e2e.kit.listening import free_port

EXCHANGES = 150
SHAPES = ("chat", "embeddings", "responses", "messages", "gemini")
NEVER = 10**15


@pytest.fixture(scope="module")
def llmock() -> Iterator[str]:
    """Its URL."""
    program, port = install("llmock") / "bin" / "llmock", free_port()
    command = [str(program), "serve", "--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    process = subprocess.Popen([*command, "--response-style", "echo"], stdout=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        eventually("llmock answers", lambda: _serves(url), 60)
        yield url
    finally:
        process.kill()
        process.wait()


def _serves(url: str) -> bool:
    try:
        return httpx.get(f"{url}/_llmock/requests").status_code == 200
    except httpx.TransportError:
        return False


@dataclass(frozen=True)
class Question:
    shape: str
    path: str
    document: Json
    fault: Json | None
    asks: bool


def draw(random: Random) -> Question:
    shape = random.choice(SHAPES)
    streams = shape != "embeddings" and random.random() < 0.7
    text, limit = "word " * random.randint(1, 40), random.randint(1, 60)
    messages, stream = [{"role": "user", "content": text}], {"stream": True} if streams else {}
    paths_and_documents: dict[str, tuple[str, Json]] = {
        "chat": ("/v1/chat/completions", {"model": "gpt-4o", "messages": messages, "max_tokens": limit, **stream}),
        "embeddings": ("/v1/embeddings", {"model": "text-embedding-3-small", "input": text}),
        "responses": ("/v1/responses", {"model": "gpt-4o", "input": text, "max_output_tokens": limit, **stream}),
        "messages": (
            "/anthropic/v1/messages",
            {"model": "claude", "messages": messages, "max_tokens": limit, **stream},
        ),
        "gemini": (
            f"/gemini/v1beta/models/gemini-pro:{'streamGenerateContent?alt=sse' if streams else 'generateContent'}",
            {"contents": [{"role": "user", "parts": [{"text": text}]}], "generationConfig": {"maxOutputTokens": limit}},
        ),
    }
    return Question(shape, *paths_and_documents[shape], fault_of(random, shape, streams), random.random() < 0.5)


def fault_of(random: Random, shape: str, streams: bool) -> Json | None:
    """messages report usage at once: of a stream of theirs that is reset it is not certain what the gateway has got."""
    kinds = ["truncate", "malformed"] + ["disconnect"] * (shape != "messages")
    if random.random() < 0.2:
        return {"type": "fail", "status": random.choice([429, 500, 503])}
    if streams and random.random() < 0.4:
        return {"type": "stream_fault", "kind": random.choice(kinds), "after_chunks": random.randint(1, 6)}
    return None


def reported_tokens(body: str) -> int:
    """By the last number of each name, wherever an event or the document has it."""
    lines = [line.removeprefix("data:") for line in body.splitlines() if line.startswith("data:")]
    counts: dict[str, int] = {}
    for text in lines or [body]:
        try:
            document = json.loads(text)
        except ValueError:
            continue
        for holder in (document, document.get("message"), document.get("response")):
            usage: Any = (holder or {}).get("usage") or (holder or {}).get("usageMetadata") or {}
            counts |= {name: count for name, count in usage.items() if isinstance(count, int)}
    names = ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens")
    return sum(counts.get(name, 0) for name in (*names, "promptTokenCount", "candidatesTokenCount"))


@dataclass
class Talk:
    client: httpx.Client
    llmock: str
    gateway: str

    def ask(self, url: str, question: Question, key: str, *, asks: bool) -> tuple[int, str]:
        """The status, and as much of the body as comes."""
        document = question.document
        if question.shape == "chat" and document.get("stream") and asks:
            document = {**document, "stream_options": {"include_usage": True}}
        if question.fault is not None:
            added = self.client.post(f"{self.llmock}/_llmock/scenario", json={"behaviors": [question.fault]})
            assert added.status_code == 201, added.text
        got = ""
        headers = {"x-key": key, "authorization": "Bearer any", "x-api-key": "any", "anthropic-version": "2023-06-01"}
        with self.client.stream("POST", url + question.path, json=document, headers=headers) as answer:
            try:
                for piece in answer.iter_text():
                    got += piece
            except httpx.RemoteProtocolError:
                assert question.fault is not None
            return answer.status_code, got

    def spent(self, key: str) -> tuple[int, int]:
        """What is spent and reserved, by the refusal of a request that can never fit."""
        document = {"model": "m", "messages": [], "max_tokens": NEVER}
        refused = self.client.post(f"{self.gateway}/v1/chat/completions", json=document, headers={"x-key": key})
        found = re.search(r"of which (\d+) tokens are spent and (\d+) tokens reserved", refused.text)
        assert found is not None, refused.text
        return int(found[1]), int(found[2])


def test_what_a_foreign_provider_reports_is_what_is_spent(gateway: Gateway, llmock: str) -> None:
    name, random = fresh_name("foreign"), Random(7)  # noqa: S311 — no secret
    budget = {"name": "key", "tokens": 10**9, "period": "month", "per": [{"from": "header", "name": "x-key"}]}
    params = {"budgets": [budget], "holdSeconds": 5}  # which ends a reservation whose answer was reset before it began
    gateway.deploy(api(name, llmock, [attach("llm-budget", params, timeout="10s")]))
    invoice: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    with httpx.Client(timeout=30) as client:
        talk = Talk(client, llmock, f"{gateway.url}/{name}")
        for number in range(EXCHANGES):
            question, key = draw(random), f"{name}-{number % 3}"
            direct, body = talk.ask(llmock, question, key, asks=True)
            status, _ = talk.ask(talk.gateway, question, key, asks=question.asks)
            is_reset = question.fault is not None and question.fault.get("kind") == "disconnect"
            assert status == direct or (is_reset and status == 502), question  # reset before the client had the headers
            tokens = reported_tokens(body)
            invoice[key] += tokens
            outcomes[f"{question.shape}, {'usage' if tokens else 'none'}"] += 1
            eventually(
                f"what {question} has cost is counted: {(invoice[key], 0)}",
                lambda key=key: talk.spent(key) == (invoice[key], 0),  # type: ignore[misc]
            )
    print(dict(outcomes))
    assert all(outcomes[f"{shape}, usage"] for shape in SHAPES), outcomes
    assert sum(outcomes[f"{shape}, none"] for shape in SHAPES) > EXCHANGES // 10
