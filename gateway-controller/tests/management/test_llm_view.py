"""Exchanges with language models as they are read for people: the SDK's samples of answers are the data here, too."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from gatewright_controller.management.llm_view import read_llm_exchange
from hypothesis import given
from hypothesis import strategies as st

ANSWERS = yaml.safe_load((Path(__file__).parents[3] / "sdk/python/tests/llm/answers.yaml").read_text())
COUNTS = ("input", "output", "cached", "cacheWritten", "reasoning")
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}),
    "completions": ("/v1/completions", {"model": "m", "prompt": "Hi"}),
    "responses": ("/v1/responses", {"model": "m", "input": "Hi"}),
    "messages": ("/v1/messages", {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}),
    "gemini": ("/v1beta/models/m:generateContent", {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}),
    "embeddings": ("/v1/embeddings", {"model": "m", "input": "Hi"}),
}
WITH_OBJECTS = {"messages"}
"""Samples with arguments of calls as an object, of which the SDK has no pieces."""
CHAT = REQUESTS["chat"][1]
ANSWER = (
    b'{"model":"m-1","choices":[{"message":{"content":"Hello"}}],"usage":{"prompt_tokens":8,"completion_tokens":2}}'
)


def body(content: bytes, **members: Any) -> dict[str, Any]:
    return {"size": len(content), "text": content.decode(), **members}


def exchange(
    shape: str = "chat", answer: bytes = ANSWER, kind: str = "application/json", **more: Any
) -> dict[str, Any]:
    path, document = REQUESTS[shape]
    return {
        "request": {"method": "POST", "path": path, "headers": [], "body": body(json.dumps(document).encode())},
        "response": {"status": 200, "headers": [["content-type", kind]], "body": body(answer)},
        **more,
    }


def view(recorded: dict[str, Any]) -> Any:
    """The answer of the API, as a client parses it; None: no exchange with a model."""
    return json.loads(msgspec.json.encode(read_llm_exchange(recorded)))


def texts_by_kind(answer: dict[str, Any]) -> dict[str, str]:
    """As answers.yaml has them."""
    found: dict[str, str] = {}
    for text in answer["texts"]:
        found[text["kind"]] = found.get(text["kind"], "") + text["text"]
    for call in answer["toolCalls"]:
        found["arguments"] = found.get("arguments", "") + call["arguments"]
    return found


@pytest.mark.parametrize("name", ANSWERS)
def test_the_sdks_samples_are_read_as_the_sdk_reads_them(name: str) -> None:
    sample = ANSWERS[name]
    shown = view(exchange(sample["shape"], sample["body"].encode(), sample["content_type"]))
    assert (shown["shape"], shown["model"], shown["prompt"]) == (
        sample["shape"], "m", {"recorded": "whole", "texts": [{"role": "user", "text": "Hi"}], "tools": []},
    )  # fmt: skip
    tokens = shown["tokens"] and [shown["tokens"][count] for count in COUNTS]
    assert tokens == sample["usage"]
    assert shown["usageFrom"] == ("answer" if sample["usage"] else "none")
    assert (shown["answerModel"] or "") == sample["model"]
    answer = shown["answer"]
    assert (answer["recorded"], answer["finished"]) == ("whole", sample["finished"])
    texts = {kind: text for kind, text in texts_by_kind(answer).items() if text}
    if name in WITH_OBJECTS:
        texts.pop("arguments")
    assert texts == sample.get("texts", {})
    error = sample.get("error")
    assert answer["error"] == (error and {member: error[member] for member in ("type", "message", "code")})


def events(*documents: Any) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(document).encode() for document in documents)


def tool_call(**function: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": function}]}}]}


CALLS = {
    "chat": events(
        tool_call(name="weather", arguments=""), tool_call(arguments='{"at":'), tool_call(arguments=' "Rome"}')
    ),
    "responses": events(
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": "function_call", "name": "weather"}},
        {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": '{"at": "Rome"}'},
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": {"type": "function_call", "name": "weather", "arguments": '{"at": "Rome"}'},
        },
    ),
    "messages": events(
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {"type": "tool_use", "name": "weather", "input": {}},
        },
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"at": '}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '"Rome"}'}},
    ),
    "gemini": events(
        {"candidates": [{"content": {"parts": [{"functionCall": {"name": "weather", "args": {"at": "Rome"}}}]}}]}
    ),
}
WHOLE_CALLS: dict[str, Any] = {
    "chat": {
        "choices": [{"message": {"tool_calls": [{"function": {"name": "weather", "arguments": '{"at": "Rome"}'}}]}}]
    },
    "responses": {"output": [{"type": "function_call", "name": "weather", "arguments": '{"at": "Rome"}'}]},
    "messages": {"content": [{"type": "tool_use", "name": "weather", "input": {"at": "Rome"}}]},
    "gemini": {"candidates": [{"content": {"parts": [{"functionCall": {"name": "weather", "args": {"at": "Rome"}}}]}}]},
}


@pytest.mark.parametrize("shape", CALLS)
def test_calls_of_tools_have_their_names(shape: str) -> None:
    streamed = view(exchange(shape, CALLS[shape], "text/event-stream"))["answer"]
    whole = view(exchange(shape, json.dumps(WHOLE_CALLS[shape]).encode()))["answer"]
    assert (streamed["streamed"], whole["streamed"]) == (True, False)
    assert streamed["toolCalls"] == whole["toolCalls"] == [{"name": "weather", "arguments": '{"at": "Rome"}'}]


def test_roles_and_tools_of_a_prompt() -> None:
    document = {
        "model": "m", "stream": True, "tools": [{"type": "function", "function": {"name": "weather"}}],
        "messages": [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Yes?"}, {"role": "tool", "tool_call_id": "1", "content": "21 °C"},
        ],
    }  # fmt: skip
    recorded = exchange()
    recorded["request"]["body"] = body(json.dumps(document).encode())
    shown = view(recorded)
    assert shown["streams"] is True
    roles = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Yes?"), ("tool", "21 °C")]
    texts = [{"role": role, "text": text} for role, text in roles]
    assert shown["prompt"] == {"recorded": "whole", "tools": ["weather"], "texts": texts}


# ------------------------------------------------------------------ what is unknown


def test_what_was_not_recorded_is_unknown() -> None:
    recorded = exchange(metadata={"llm-usage": {"shape": "chat", "model": "gpt", "streams": True}})
    del recorded["request"]["body"], recorded["response"]
    shown = view(recorded)
    assert (shown["model"], shown["streams"], shown["prompt"]["recorded"]) == ("gpt", True, "absent")
    assert (shown["usageFrom"], shown["tokens"], shown["cost"], shown["outcome"]) == ("unknown", None, None, None)
    answer = shown["answer"]
    assert (answer["recorded"], answer["streamed"], answer["finished"], answer["texts"]) == ("absent", None, None, [])


def test_the_model_of_an_answer_is_not_what_the_client_asked_for() -> None:
    """llm-usage notes the model of the answer when it has counted."""
    counted = {"llm-usage": {"model": "gpt-2026", "outcome": "counted"}}
    recorded = exchange(metadata=counted)
    del recorded["request"]["body"]
    assert view(recorded)["model"] is None
    recorded["metadata"] = {**counted, "llm-budget day": {"model": "gpt"}}
    assert view(recorded)["model"] == "gpt"


def test_the_beginning_of_an_answer_has_no_usage_and_no_end() -> None:
    """Anthropic's first event has counts, which the last one replaces."""
    stream = ANSWERS["messages-stream"]["body"].encode()
    recorded = exchange("messages", stream, "text/event-stream")
    recorded["response"]["body"]["truncated"] = True
    shown = view(recorded)
    assert (shown["answer"]["recorded"], shown["answer"]["finished"]) == ("cut", None)
    assert texts_by_kind(shown["answer"])["text"] == "Hello!"
    assert (shown["usageFrom"], shown["tokens"]) == ("unknown", None)


def test_a_prompt_that_was_cut_or_cannot_be_decoded() -> None:
    recorded = exchange()
    recorded["request"]["body"] = {"size": 90_000, "text": '{"model":"m","messages":[', "truncated": True}
    assert view(recorded)["prompt"] == {"recorded": "cut", "texts": [], "tools": []}
    recorded["request"]["body"] = {"size": 90, "decoded": "zstd"}
    assert view(recorded)["prompt"]["recorded"] == "unreadable"
    recorded["request"]["body"] = {"size": 3, "base64": base64.b64encode(b"\xff{}").decode()}
    assert view(recorded) is None, "expected no prompt in a whole body that is no JSON"


@pytest.mark.parametrize(
    "request_",
    [
        {"method": "GET", "path": "/v1/chat/completions"},
        {"method": "POST", "path": "/v1/messages"},  # of any service; its body was not recorded
        {"method": "POST", "path": "/items", "body": body(json.dumps(CHAT).encode())},
        {"method": "POST", "path": "/v1/messages", "body": body(b'{"text":"hello"}')},
    ],
)
def test_other_exchanges_are_none(request_: dict[str, Any]) -> None:
    assert view({"request": request_}) is None


# ------------------------------------------------------------------ what policies have left


def test_what_llm_usage_has_counted_comes_before_the_answer() -> None:
    tokens = {"input": 11, "output": 7, "cached": 4, "cacheWritten": 0, "reasoning": 3}
    note = {"outcome": "counted", "tokens": tokens, "cost": "0.0000018", "client": "ann", "team": "red"}
    shown = view(exchange(metadata={"llm-usage": note}))
    assert (shown["usageFrom"], shown["tokens"], shown["cost"]) == ("llm-usage", tokens, "0.0000018")
    assert (shown["outcome"], shown["client"], shown["team"]) == ("counted", "ann", "red")


def test_usage_that_the_client_did_not_get_is_read_from_the_upstreams_answer() -> None:
    recorded = exchange(answer=b'{"choices":[]}')
    recorded["upstreamResponse"] = exchange()["response"]
    shown = view(recorded)
    assert (shown["usageFrom"], shown["tokens"]["input"], shown["tokens"]["output"]) == ("answer", 8, 2)


def test_that_llm_usage_found_no_usage_is_known_without_the_answer() -> None:
    recorded = exchange(metadata={"llm-usage": {"outcome": "no_usage"}})
    recorded["response"]["body"]["truncated"] = True
    shown = view(recorded)
    assert (shown["usageFrom"], shown["tokens"], shown["cost"]) == ("none", None, None)


def test_budgets_have_what_was_reserved_and_settled() -> None:
    held = [
        {"budget": "day", "unit": "tokens", "reserved": 1200, "settled": 0},
        {"budget": "month", "unit": "money", "reserved": 2_500_000, "settled": 1800},
        {"budget": "under way", "unit": "money", "reserved": 1_000_000_000},
        {"budget": "of an older policy"},
    ]
    shown = view(exchange(metadata={"llm-budget day month": {"reservations": held}}))
    assert [tuple(budget.values()) for budget in shown["budgets"]] == [
        ("day", "tokens", "1200", "0"),
        ("month", "money", "0.0025", "0.0000018"),
        ("under way", "money", "1", None),
        ("of an older policy", None, None, None),
    ]


def test_findings_of_prompt_guard() -> None:
    finding = {"check": "injection", "rule": "ignore", "direction": "request", "action": "block", "score": 3}
    shown = view(exchange(metadata={"prompt-guard": {"verdict": "block", "findings": [finding]}}))
    assert shown["verdict"] == "block"
    assert shown["findings"] == [
        {"direction": "request", "check": "injection", "rule": "ignore", "action": "block", "details": {"score": 3}}
    ]


# ------------------------------------------------------------------ hostile input

NAMES = st.sampled_from(
    [
        *("choices", "delta", "message", "tool_calls", "function", "name", "arguments", "index", "content", "type"),
        *(
            "candidates",
            "parts",
            "functionCall",
            "args",
            "output",
            "item",
            "content_block",
            "response",
            "usage",
            "error",
        ),
        *(
            "llm-usage",
            "llm-budget x",
            "prompt-guard",
            "reservations",
            "unit",
            "reserved",
            "findings",
            "tokens",
            "cost",
        ),
    ]
)
WORDS = st.sampled_from(
    ["tool_use", "content_block_start", "response.output_item.done", "function_call", "money", "input"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=16,
)


@given(st.sampled_from(sorted(REQUESTS)), JSON, JSON, JSON, st.booleans())
def test_whatever_is_recorded_is_read(shape: str, answer: Any, metadata: Any, message: Any, streams: bool) -> None:
    content = events(answer, answer) if streams else json.dumps(answer).encode()
    recorded = exchange(
        shape, content, "text/event-stream" if streams else "", metadata=metadata, upstreamResponse=message
    )
    assert view(recorded)["shape"] == shape
    assert view({"request": message, "metadata": metadata}) is None
