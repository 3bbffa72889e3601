"""Answers of models as event streams: OpenAI's chat completions and Anthropic's messages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gatewright.streams import SseEvent


def completion(tokens: Sequence[str]) -> list[bytes]:
    """The events of a chat completion, one for each token."""
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": token}, None) for token in tokens]
    deltas.append(({}, "stop"))
    documents = [
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1700000000,
            "model": "fake",
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        }
        for delta, reason in deltas
    ]
    return [SseEvent(json.dumps(document)).encode() for document in documents] + [SseEvent("[DONE]").encode()]


def message(tokens: Sequence[str]) -> list[bytes]:
    """The events of a message, one for each token."""
    begin: dict[str, Any] = {
        "id": "msg-1",
        "type": "message",
        "role": "assistant",
        "model": "fake",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    documents: list[dict[str, Any]] = [
        {"type": "message_start", "message": begin},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": token}}
            for token in tokens
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": len(tokens)},
        },
        {"type": "message_stop"},
    ]
    return [SseEvent(json.dumps(document), event=document["type"]).encode() for document in documents]
