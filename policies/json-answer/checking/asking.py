"""Asks the provider for JSON, in the member that the shape of the request has for that. No I/O."""

from __future__ import annotations

import json
from typing import Any, Literal

from sdk.llm import LlmRequest

Json = dict[str, Any]
Wish = Literal["schema", "json"]


def with_wish(request: LlmRequest, wish: Wish, schema: Any) -> bytes | None:
    """The body that asks for JSON. None: the shape has no member for it, or the client has set that itself."""
    document = request.document
    match request.shape:
        case "chat":
            return _with(document, "response_format", _chat_format(wish, schema))
        case "responses":
            text = document.get("text")
            if text is not None and not isinstance(text, dict):
                return None
            inner = _added(text or {}, "format", _responses_format(wish, schema))
            return None if inner is None else _encoded({**document, "text": inner})
        case "gemini":
            return _gemini(document, wish, schema)
        case _:
            return None


def _chat_format(wish: Wish, schema: Any) -> Json:
    if wish == "json":
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def _responses_format(wish: Wish, schema: Any) -> Json:
    return {"type": "json_object"} if wish == "json" else {"type": "json_schema", "name": "answer", "schema": schema}


def _gemini(document: Json, wish: Wish, schema: Any) -> bytes | None:
    name = "generation_config" if "generation_config" in document else "generationConfig"
    config = document.get(name, {})
    known = {"responseMimeType", "response_mime_type", "responseSchema", "response_schema", "responseJsonSchema"}
    if not isinstance(config, dict) or config.keys() & known:
        return None
    asked = {"responseMimeType": "application/json"} | ({"responseSchema": schema} if wish == "schema" else {})
    return _encoded({**document, name: {**config, **asked}})


def _with(document: Json, name: str, value: Json) -> bytes | None:
    changed = _added(document, name, value)
    return None if changed is None else _encoded(changed)


def _added(holder: Json, name: str, value: Json) -> Json | None:
    return None if holder.get(name) is not None else {**holder, name: value}


def _encoded(document: Json) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
