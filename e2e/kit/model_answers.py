"""Answers of language models in six shapes, and the usage that each part of them reports."""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

from e2e.kit.gateway import Json

SHAPES = ("chat", "completions", "responses", "messages", "gemini", "embeddings")
WRONG: tuple[Any, ...] = ("12", -3, 1.5, None, [], True)
"""What is no count of tokens."""


class Usage(NamedTuple):
    """The tokens of an answer: of `input` those that are cached."""

    input: int = 0
    output: int = 0
    cached: int = 0


@dataclass(frozen=True)
class Plan:
    """One exchange: what the client asks, and what the provider does."""

    number: int
    key: str
    shape: str
    streams: bool
    asks: bool
    """Whether the client itself asks for usage in a stream."""
    usage: Usage
    reports: str
    """normal, missing, wrong, twice, late; error: a failure; silent: no answer while the client is there."""
    limit: int
    """The most output that the request allows."""
    leaves: str = ""
    """client, provider, or "": which of them leaves in the middle."""
    gzip: bool = False
    seed: int = 0


def draw(random: Random, number: int, key: str) -> Plan:
    shape = random.choice(SHAPES)
    streams = shape != "embeddings" and random.random() < 0.6
    limit = 0 if shape == "embeddings" else random.randint(20, 150)
    tokens_in = random.randint(1, 60)
    output = 0 if shape == "embeddings" else random.randint(0, limit + (random.random() < 0.1) * 60)
    cached = random.randint(0, tokens_in) if random.random() < 0.3 and shape != "embeddings" else 0
    reports = random.choice(["normal"] * 8 + ["missing", "wrong", "twice", "late", "error"])
    leaves = random.choice(["", "", "", "", "client", "provider"])
    return Plan(
        number, key, shape, streams, random.random() < 0.5, Usage(tokens_in, output, cached), reports, limit,
        "" if reports == "error" else leaves, not leaves and random.random() < 0.3, random.getrandbits(32),
    )  # fmt: skip


def request_of(plan: Plan) -> tuple[str, Json]:
    """The path below the API, and the document that a client sends."""
    text = "x" * (3 * (plan.usage.input % 20))
    streams: Json = {"stream": True} if plan.streams else {}
    asks: Json = {"stream_options": {"include_usage": True}} if plan.streams and plan.asks else {}
    messages = [{"role": "user", "content": text}]
    match plan.shape:
        case "chat":
            return "/v1/chat/completions", {
                "model": "m", "messages": messages, "max_tokens": plan.limit, **streams, **asks,
            }  # fmt: skip
        case "completions":
            return "/v1/completions", {"model": "m", "prompt": text, "max_tokens": plan.limit, **streams, **asks}
        case "responses":
            return "/v1/responses", {"model": "m", "input": text, "max_output_tokens": plan.limit, **streams}
        case "messages":
            return "/v1/messages", {"model": "m", "messages": messages, "max_tokens": plan.limit, **streams}
        case "gemini":
            method = "streamGenerateContent?alt=sse" if plan.streams else "generateContent"
            contents = [{"role": "user", "parts": [{"text": text}]}]
            config = {"maxOutputTokens": plan.limit}
            return f"/v1beta/models/m:{method}", {"contents": contents, "generationConfig": config}
        case _:
            return "/v1/embeddings", {"model": "m", "input": text}


class Part(NamedTuple):
    """An event of a stream, or a whole answer."""

    data: bytes
    usage: Usage | None = None
    """What it reports, for the whole answer until then."""
    is_extra: bool = False
    """Whether it is the chunk that a provider adds because it was asked for usage."""
    whole_from: int = 0
    """Of a whole answer: where its usage begins. What ends before reports nothing."""


def usage_object(plan: Plan, usage: Usage) -> Json:
    """Usage as the providers of this shape write it."""
    match plan.shape:
        case "messages":
            counts: Json = {"input_tokens": usage.input - usage.cached, "output_tokens": usage.output}
            counts |= {"cache_read_input_tokens": usage.cached} if usage.cached else {}
        case "gemini":
            counts = {"promptTokenCount": usage.input, "candidatesTokenCount": usage.output}
            counts |= {"cachedContentTokenCount": usage.cached} if usage.cached else {}
            counts["totalTokenCount"] = usage.input + usage.output
        case _:
            is_new = plan.shape == "responses"
            of_input = "input_tokens" if is_new else "prompt_tokens"
            of_output = "output_tokens" if is_new else "completion_tokens"
            counts = {}
            counts |= {of_input: usage.input} | ({} if plan.shape == "embeddings" else {of_output: usage.output})
            counts |= {"total_tokens": usage.input + usage.output}
            counts |= {f"{of_input}_details": {"cached_tokens": usage.cached}} if usage.cached else {}
    if plan.reports == "wrong":
        random = Random(plan.seed)  # noqa: S311 — no secret
        counts = {name: random.choice(WRONG) for name in counts}
    return counts


def answer_of(plan: Plan, is_asked: bool) -> list[Part]:
    """The parts of the provider's answer. is_asked: whether the request that came asks for usage in a stream."""
    reported = None if plan.reports in ("missing", "wrong") else plan.usage
    if not plan.streams:
        return [_whole(plan, reported)]
    match plan.shape:
        case "responses":
            return _responses(plan, reported)
        case "messages":
            return _messages(plan, reported)
        case "gemini":
            return _gemini(plan, reported)
        case _:
            return _chunks(plan, reported, is_asked)


def _whole(plan: Plan, reported: Usage | None) -> Part:
    document: Json = {"id": f"answer-{plan.number}", "model": "m", "choices": [{"text": "Hi, é"}]}
    start = len(_encoded(document)) - 1
    if plan.reports != "missing":
        document["usageMetadata" if plan.shape == "gemini" else "usage"] = usage_object(plan, plan.usage)
    return Part(_encoded(document), reported, whole_from=start)


def _encoded(document: Json) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


def _event(document: Json, usage: Usage | None = None, *, is_extra: bool = False) -> Part:
    name = f"event: {document['type']}\n" if "type" in document else ""
    return Part(name.encode() + b"data: " + _encoded(document) + b"\n\n", usage, is_extra)


def _chunks(plan: Plan, reported: Usage | None, is_asked: bool) -> list[Part]:
    asked: Json = {"usage": None} if is_asked else {}
    parts = [_event({"choices": [{"index": 0, "delta": {"content": f"{n} é"}}], **asked}) for n in range(3)]
    end = [Part(b"data: [DONE]\n\n")]
    if not is_asked or plan.reports == "missing":
        return parts + end
    extra = [_event({"choices": [], "usage": usage_object(plan, plan.usage)}, reported, is_extra=True)]
    extra = extra * 2 if plan.reports == "twice" else extra
    seen = [Part(b": a comment, which shows the client how far the stream is\n\n")]
    return parts + end + extra + seen if plan.reports == "late" else parts + extra + seen + end


def _responses(plan: Plan, reported: Usage | None) -> list[Part]:
    parts = [_event({"type": "response.created", "response": {"model": "m", "usage": None}})]
    parts += [_event({"type": "response.output_text.delta", "delta": f"{n} é"}) for n in range(3)]
    response: Json = {"model": "m"}
    if plan.reports != "missing":
        response["usage"] = usage_object(plan, plan.usage)
    return [*parts, _event({"type": "response.completed", "response": response}, reported)]


def _messages(plan: Plan, reported: Usage | None) -> list[Part]:
    """Usage comes in two events, of which each has a part."""
    first, last = usage_object(plan, plan.usage._replace(output=1)), usage_object(plan, plan.usage)
    has_usage = plan.reports != "missing"
    begun = None if reported is None else reported._replace(output=1)
    message: Json = {"model": "m"} | ({"usage": first} if has_usage else {})
    parts = [_event({"type": "message_start", "message": message}, begun), _event({"type": "ping"})]
    parts += [_event({"type": "content_block_delta", "index": 0, "delta": {"text": f"{n} é"}}) for n in range(3)]
    delta: Json = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    delta |= {"usage": {"output_tokens": last["output_tokens"]}} if has_usage else {}
    end = [_event(delta, reported)] * (2 if plan.reports == "twice" else 1)
    return [*parts, *end, _event({"type": "message_stop"})]


def _gemini(plan: Plan, reported: Usage | None) -> list[Part]:
    """Usage comes in each event, with the output so far."""
    parts: list[Part] = []
    for number in (1, 2, 3):
        so_far = plan.usage._replace(output=plan.usage.output * number // 3)
        document: Json = {"candidates": [{"content": {"parts": [{"text": f"{number} é"}]}}], "modelVersion": "m"}
        if number == 3:
            document["candidates"][0]["finishReason"] = "STOP"
        if plan.reports != "missing":
            document["usageMetadata"] = usage_object(plan, so_far)
        parts.append(_event(document, None if reported is None else so_far))
    return parts
