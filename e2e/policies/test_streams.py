"""A model's answer through a policy that masks it: by common clients, token by token."""

from __future__ import annotations

import importlib.util
import itertools
import random
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import httpx
import pytest

from e2e.kit import model_events
from e2e.kit.gateway import Gateway, api, attach, eventually
from e2e.kit.model_upstream import ModelUpstream
from e2e.kit.places import ROOT

pytestmark = pytest.mark.timeout(120)
SECONDS = 20.0
MASKED = "[masked]"
SAID = (
    "Of course! Write to ada.lovelace@example.org or a+b@mail.example.co.uk, call +41 44 668 18 00, "
    "and pay with 4111 1111 1111 1111 (not with 4111 1111 1111 1112). Ü😀 — bye@"
)
CUTS = 150
"""For each client; 10,000 the sample's own tests try."""

Tokens = Generator[str, None, None]
"""Closed, the client leaves."""


def openai_tokens(gateway: Gateway) -> Tokens:
    """The texts that the client receives, event by event."""
    import openai  # here, for it takes seconds, in each process that collects this file

    messages: Any = [{"role": "user", "content": "Whom can I ask?"}]
    with (
        openai.OpenAI(base_url=f"{gateway.url}/model/v1", api_key="k", max_retries=0, timeout=SECONDS) as client,
        client.chat.completions.create(model="fake", messages=messages, stream=True) as stream,
    ):
        for chunk in stream:
            yield chunk.choices[0].delta.content or ""


def anthropic_tokens(gateway: Gateway) -> Tokens:
    import anthropic

    messages: Any = [{"role": "user", "content": "Whom can I ask?"}]
    with (
        anthropic.Anthropic(base_url=f"{gateway.url}/model", api_key="k", max_retries=0, timeout=SECONDS) as client,
        client.messages.create(model="fake", max_tokens=100, messages=messages, stream=True) as stream,
    ):
        for event in stream:
            yield event.delta.text if event.type == "content_block_delta" and event.delta.type == "text_delta" else ""


Ask = Callable[[Gateway], Tokens]
Make = Callable[[Sequence[str]], list[bytes]]
CLIENTS = pytest.mark.parametrize(
    ("ask", "make"),
    [(openai_tokens, model_events.completion), (anthropic_tokens, model_events.message)],
    ids=["openai", "anthropic"],
)


@pytest.fixture(scope="module")
def model() -> Iterator[ModelUpstream]:
    with ModelUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def masking_gateway(shared_gateway: Gateway, model: ModelUpstream) -> Gateway:
    """A gateway with an API whose answers are masked, by a policy before one that reports how they ended."""
    reports = attach("pass-stream", {"reports": True}, timeout="10s")
    shared_gateway.deploy(api("model", model.url, [attach("mask-pii-stream", timeout="10s"), reports]))
    return shared_gateway


def mask_text(text: str) -> str:
    """As the policy masks it when it has it whole."""
    spec = importlib.util.spec_from_file_location("masking", ROOT / "sample-policies/mask-pii-stream/policy.py")
    assert spec is not None
    assert spec.loader is not None
    policy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(policy)
    masked_text: str = policy.prepare({"kinds": ["email", "card", "phone"], "mask": MASKED}).masked(text)
    return masked_text


def words(text: str) -> list[str]:
    return [f"{word} " for word in text.split(" ")]


@CLIENTS
def test_tokens_come_one_by_one(ask: Ask, make: Make, masking_gateway: Gateway, model: ModelUpstream) -> None:
    """Each is sent when the client has the one before: a gateway that holds one back waits for ever. Clients do
    not report pings."""
    events = [event for event in make(words(SAID)) if b"ping" not in event]
    texts = []
    with model.answer_with(events, permits=1):
        for text in ask(masking_gateway):
            texts.append(text)
            assert model.sent <= len(texts) + 1
            model.permit()
    assert "".join(texts) == mask_text(SAID + " ")


@CLIENTS
def test_the_text_is_masked_wherever_it_is_cut(
    ask: Ask, make: Make, masking_gateway: Gateway, model: ModelUpstream
) -> None:
    chance, whole = random.Random(17), mask_text(SAID)  # noqa: S311 — no secret
    for _ in range(CUTS):
        tokens = cut_at_random(SAID, chance.randint(0, 25), chance)
        body = b"".join(make(tokens))
        with model.answer_with(cut_at_random(body, chance.randint(0, 40), chance)):
            assert "".join(ask(masking_gateway)) == whole, tokens


def cut_at_random(whole: Any, times: int, chance: random.Random) -> list[Any]:
    """Cuts in at most so many places; no part is empty."""
    at = sorted({0, len(whole), *(chance.randrange(1, len(whole)) for _ in range(times))})
    return [whole[begin:end] for begin, end in itertools.pairwise(at)]


@CLIENTS
def test_a_client_that_leaves_in_the_middle_frees_policy_and_upstream(
    ask: Ask, make: Make, masking_gateway: Gateway, model: ModelUpstream
) -> None:
    before = len(streams_closed(masking_gateway))
    with model.answer_with(make(words(SAID)), permits=8):
        tokens = ask(masking_gateway)
        for _ in range(4):
            next(tokens)
        tokens.close()
        eventually("the policy's finally has run", lambda: len(streams_closed(masking_gateway)) > before)
        eventually("upstream is left too", model.gone.is_set)


def streams_closed(gateway: Gateway) -> list[str]:
    """The log messages of pass-stream, in its `finally`, about unfinished responses."""
    messages = [str(record.get("message")) for record in gateway.find_records(policy="pass-stream:v1.0.0")]
    return [message for message in messages if re.match("response ended by (GeneratorExit|CancelledError)", message)]


def test_an_answer_in_one_piece_is_masked_too(masking_gateway: Gateway, model: ModelUpstream) -> None:
    model.content_type = "application/json"
    try:
        with model.answer_with([b'{"text": "ask ada@', b'example.org"}']):
            answer = httpx.post(f"{masking_gateway.url}/model/x", json={})
    finally:
        model.content_type = "text/event-stream"
    assert answer.json() == {"text": f"ask {MASKED}"}
