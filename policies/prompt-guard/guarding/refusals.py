"""Answers of the guard: a problem (RFC 9457), a refusal in the provider's own shape, and the end of a stream.

Clients of the provider read each of them as what it is: a refusal as an answer that the model did not want to give, the
end of a stream as an error of the provider. The sources are the providers' references: OpenAI's chat completions,
completions and responses, Anthropic's messages ("Streaming messages": error events), Gemini's GenerateContentResponse.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from sdk import clock
from sdk.llm import Shape, problem
from sdk.policy import ImmediateResponse
from sdk.streams import SseEvent

Json: TypeAlias = dict[str, Any]
EVENTS = "text/event-stream"
CODE = "prompt_guard"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asked for. events: whether it waits for an event stream; array: for Gemini's array."""

    shape: Shape
    model: str
    events: bool
    array: bool

    def note(self) -> Json:
        return {"shape": self.shape, "model": self.model, "events": self.events, "array": self.array}


@dataclass(frozen=True, slots=True)
class Style:
    """How the guard answers. form: problem or provider; status: of problems; text: of refusals."""

    form: str
    status: int
    text: str


def refusal(style: Style, asked: Asked, detail: str, analytics: Mapping[str, Any]) -> ImmediateResponse:
    """The answer to a request that is refused, or in the place of a whole answer."""
    if style.form == "problem" or asked.shape == "embeddings":
        answer = problem(style.status, detail)
        answer.analytics_metadata = analytics
        return answer
    documents = _events(asked, style.text) if asked.events else []
    if documents:
        body = b"".join(_encode(asked.shape, document) for document in documents) + _last(asked.shape)
        return ImmediateResponse(200, {"content-type": EVENTS, "cache-control": "no-store"}, body, analytics)
    document = _whole(asked, style.text)
    content = json.dumps([document] if asked.array else document)
    return ImmediateResponse(200, {"content-type": "application/json"}, content, analytics)


# ------------------------------------------------------------------ the end of a stream


def stream_end(shape: Shape, detail: str, sequence: int) -> bytes:
    """The events that end a stream which has begun: the provider's error, and what else its streams end with.

    sequence: the next sequence number of a stream of responses.
    """
    error = {"message": detail, "type": "invalid_request_error", "param": None, "code": CODE}
    match shape:
        case "messages":
            content = {"type": "error", "error": {"type": "permission_error", "message": detail}}
            return _encode(shape, content)
        case "responses":
            failed: Json = {"object": "response", "status": "failed", "error": {"code": CODE, "message": detail}}
            failed |= {"id": _id("resp_"), "created_at": int(clock.now()), "model": "", "output": []}
            return _encode(
                shape,
                {"type": "error", "code": CODE, "message": detail, "param": None, "sequence_number": sequence},
            ) + _encode(shape, {"type": "response.failed", "response": failed, "sequence_number": sequence + 1})
        case "gemini":
            return _encode(shape, {"error": {"code": 403, "message": detail, "status": "PERMISSION_DENIED"}})
        case _:
            return _encode(shape, {"error": error}) + _last(shape)


def _encode(shape: Shape, document: Json) -> bytes:
    event = document["type"] if shape in ("messages", "responses") else ""
    return SseEvent(json.dumps(document, separators=(",", ":")), event=event).encode()


def _last(shape: Shape) -> bytes:
    return b"data: [DONE]\n\n" if shape in ("chat", "completions") else b""


def _id(prefix: str) -> str:
    return prefix + secrets.token_hex(12)


# ------------------------------------------------------------------ refusals of providers


def _whole(asked: Asked, text: str) -> Json:
    now = int(clock.now())
    counts = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    match asked.shape:
        case "chat":
            message = {"role": "assistant", "content": None, "refusal": text}
            choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "content_filter"}
            head: Json = {"id": _id("chatcmpl-"), "object": "chat.completion", "created": now, "model": asked.model}
            return {**head, "choices": [choice], "usage": counts}
        case "completions":
            choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": "content_filter"}
            head = {"id": _id("cmpl-"), "object": "text_completion", "created": now, "model": asked.model}
            return {**head, "choices": [choice], "usage": counts}
        case "responses":
            return _response(asked, text, now)
        case "messages":
            return {**_message(asked), "content": [{"type": "text", "text": text}], "stop_reason": "refusal"}
        case _:
            return _gemini(asked, text)


def _response(asked: Asked, text: str, now: int) -> Json:
    part = {"type": "refusal", "refusal": text}
    item = {"type": "message", "id": _id("msg_"), "status": "completed", "role": "assistant", "content": [part]}
    usage = {
        "input_tokens": 0,
        "output_tokens": 0,
        "total_tokens": 0,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    return {
        "id": _id("resp_"),
        "object": "response",
        "created_at": now,
        "status": "completed",
        "model": asked.model,
        "output": [item],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "temperature": None,
        "top_p": None,
        "usage": usage,
    }


def _message(asked: Asked) -> Json:
    head = {"id": _id("msg_"), "type": "message", "role": "assistant", "model": asked.model, "content": []}
    return {**head, "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 0, "output_tokens": 0}}


def _gemini(asked: Asked, text: str) -> Json:
    candidate = {"index": 0, "content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "SAFETY"}
    counts = {"promptTokenCount": 0, "candidatesTokenCount": 0, "totalTokenCount": 0}
    return {"candidates": [candidate], "usageMetadata": counts, "modelVersion": asked.model}


def _events(asked: Asked, text: str) -> list[Json]:
    whole = _whole(asked, text)
    match asked.shape:
        case "chat":
            head = {"id": whole["id"], "object": "chat.completion.chunk", "created": whole["created"]}
            head["model"] = asked.model
            delta = {"role": "assistant", "content": None, "refusal": text}
            return [
                {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
                {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "content_filter"}]},
            ]
        case "messages":
            delta = {"stop_reason": "refusal", "stop_sequence": None}
            return [
                {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}},
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
                {"type": "content_block_stop", "index": 0},
                {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 0}},
                {"type": "message_stop"},
            ]
        case "responses":
            return _response_events(whole, text)
        case _:
            return [whole]


def _response_events(whole: Json, text: str) -> list[Json]:
    item = whole["output"][0]
    part = item["content"][0]
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    documents: list[Json] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **place, "part": {**part, "refusal": ""}},
        {"type": "response.refusal.delta", **place, "delta": text},
        {"type": "response.refusal.done", **place, "refusal": text},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    return [{**document, "sequence_number": number} for number, document in enumerate(documents)]
