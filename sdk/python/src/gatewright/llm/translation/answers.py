"""Whole answers, errors, tokens and reasons to end, in OpenAI's chat completions and Anthropic's messages."""

from __future__ import annotations

import json
from typing import Any

from gatewright.llm.json_values import Json, object_of, objects_of, parse_json, text_of
from gatewright.llm.shapes import Shape
from gatewright.llm.translation.mistakes import NAMES, TranslationError, refuse
from gatewright.llm.usage import Counts, read_counts, usage_of

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""Anthropic's types of errors, by the status."""
_KNOWN_TYPES = {*_ERROR_TYPES.values(), "api_error"}


def translate_answer(document: Any, shape: Shape, to: Shape, *, status: int = 200, created: int = 0) -> Json:
    """The document of a whole answer of one shape, in another: an answer, or an error.

    status: the answer's, by which Anthropic names errors. created: the time of a chat completion, in seconds since
    1970, which Anthropic's messages do not have.

    TranslationError: it is neither an answer of that shape nor an error.
    """
    if (error := read_error(document)) is not None:
        return error_document(error, to, status)
    if shape == "messages" and isinstance(object_of(document).get("content"), list):
        return _completion(document, created)
    if shape == "chat" and (choices := objects_of(object_of(document).get("choices"))):
        return _message(document, choices[0])
    raise TranslationError(f"the answer is none of {NAMES[shape]}, nor an error of theirs")


# ------------------------------------------------------------------ errors


def read_error(document: Any) -> Json | None:
    """The error of an answer or of an event: its type, message and code; None if it has none."""
    holder = object_of(document)
    error = holder.get("error")
    if isinstance(error, str) and error:
        return {"type": "", "message": error, "code": None}
    if not isinstance(error, dict) or not error:
        if holder.get("object") != "error":  # of vLLM, in which the whole answer is the error
            return None
        error = holder
    code = error.get("code")
    code = code if isinstance(code, str | int) and not isinstance(code, bool) else None
    return {"type": text_of(error.get("type"), 256), "message": text_of(error.get("message"), 1 << 16), "code": code}


def error_document(error: Json, to: Shape, status: int = 0) -> Json:
    """status: 0 in a stream, where the error's own words tell its type."""
    if to == "chat":
        return {"error": {"message": error["message"], "type": error["type"], "param": None, "code": error["code"]}}
    words = f"{error['type']} {error['code']}"
    if error["type"] in _KNOWN_TYPES:
        kind = error["type"]
    elif status in _ERROR_TYPES:
        kind = _ERROR_TYPES[status]
    elif isinstance(error["code"], int) and error["code"] in _ERROR_TYPES:
        kind = _ERROR_TYPES[error["code"]]
    else:
        kind = (
            "rate_limit_error" if "rate_limit" in words else "overloaded_error" if "overload" in words else "api_error"
        )
    return {"type": "error", "error": {"type": kind, "message": error["message"]}}


# ------------------------------------------------------------------ tokens


def chat_usage(counts: Counts) -> Json | None:
    """The usage object of a chat completion, by the counts of Anthropic's."""
    if (usage := usage_of("messages", counts)) is None:
        return None
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_written},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def messages_usage(counts: Counts) -> Json:
    """The usage object of a message, by the counts of a chat completion's; zeros without any."""
    usage = usage_of("chat", counts)
    if usage is None:
        return {"input_tokens": 0, "output_tokens": 0}
    return {
        "input_tokens": usage.input - usage.cached - usage.cache_written,
        "cache_creation_input_tokens": usage.cache_written,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
    }


# ------------------------------------------------------------------ answers


def _completion(document: Json, created: int) -> Json:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Json] = []
    for block in objects_of(document["content"]):
        match block.get("type"):
            case "text" if isinstance(block.get("text"), str):
                texts.append(block["text"])
            case "thinking" if isinstance(block.get("thinking"), str):
                thoughts.append(block["thinking"])
            case "tool_use":
                function = {"name": block.get("name"), "arguments": json.dumps(object_of(block.get("input")))}
                calls.append({"id": block.get("id"), "type": "function", "function": function})
    message: Json = {"role": "assistant", "content": "".join(texts) if texts or not calls else None, "refusal": None}
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    reason = FINISH_REASONS.get(text_of(document.get("stop_reason")), "stop")
    result: Json = {
        "id": document.get("id"),
        "object": "chat.completion",
        "created": created,
        "model": document.get("model"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
    }
    usage = chat_usage(read_counts(document.get("usage")))
    return result if usage is None else {**result, "usage": usage}


def _message(document: Json, choice: Json) -> Json:
    message = object_of(choice.get("message"))
    refusal = message.get("refusal")
    texts = [*_texts(message.get("content")), *([refusal] if isinstance(refusal, str) else [])]
    blocks: list[Json] = [{"type": "text", "text": text} for text in texts if text]
    reason = choice.get("finish_reason")
    for call in objects_of(message.get("tool_calls")):
        function = object_of(call.get("function"))
        arguments = function.get("arguments")
        values = parse_json(arguments) if isinstance(arguments, str) and arguments.strip() else {}
        if isinstance(values, dict):
            blocks.append({"type": "tool_use", "id": call.get("id"), "name": function.get("name"), "input": values})
        elif reason != "length":  # which cuts a call off
            raise refuse("choices[0].message.tool_calls: arguments", "a JSON object", arguments)
    return {
        "id": document.get("id"),
        "type": "message",
        "role": "assistant",
        "model": document.get("model"),
        "content": blocks,
        "stop_reason": "refusal" if refusal else stop_reason(reason),
        "stop_sequence": None,
        "usage": messages_usage(read_counts(document.get("usage"))),
    }


def stop_reason(reason: Any) -> str:
    return STOP_REASONS.get(reason, "end_turn") if isinstance(reason, str) else "end_turn"


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in objects_of(content) if isinstance(part.get("text"), str)]
