"""A request of Anthropic's messages as one of OpenAI's chat completions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from gatewright.llm.json_values import Json, object_of
from gatewright.llm.translation.mistakes import (
    TranslationError,
    check_members,
    read_limit,
    read_number,
    read_objects,
    read_string,
    read_strings,
    refuse,
)

CARRIED = {
    *("model", "messages", "system", "tools", "tool_choice", "max_tokens", "stop_sequences", "temperature", "top_p"),
    *("stream", "metadata", "output_config"),
}
DROPPED = {"thinking", "service_tier", "cache_control", "context_management", "diagnostics", "speed"}
_CHOICES = {"auto": "auto", "none": "none", "any": "required"}
_THOUGHTS = ("thinking", "redacted_thinking")


def to_chat(document: Json, model: str, limit_name: str) -> Json:
    """limit_name: max_completion_tokens or max_tokens, by the provider."""
    check_members(document, CARRIED | DROPPED, {}, to="chat")
    messages: list[Json] = []
    if system := _texts(document.get("system"), "system"):
        messages.append({"role": "system", "content": _simple(system)})
    for at, message in enumerate(read_objects(document, "messages")):
        messages += _messages(message, f"messages[{at}]")
    result: Json = {"model": model, "messages": messages}
    if (limit := read_limit(document, "max_tokens")) is not None:
        result[limit_name] = limit
    return result | _tools(document) | _settings(document)


def _tools(document: Json) -> Json:
    tools = [_tool(tool, f"tools[{at}]") for at, tool in enumerate(read_objects(document, "tools"))]
    choice = _tool_choice(document.get("tool_choice"))
    return {"tools": tools, **choice} if tools else {}


def _settings(document: Json) -> Json:
    result: Json = {}
    if stops := read_strings(document, "stop_sequences"):
        result["stop"] = stops
    for name in ("temperature", "top_p"):
        if (number := read_number(document, name, 1)) is not None:
            result[name] = number
    if document.get("stream") is True:
        result |= {"stream": True, "stream_options": {"include_usage": True}}
    if isinstance(user := object_of(document.get("metadata")).get("user_id"), str):
        result["user"] = user
    if (output := object_of(document.get("output_config")).get("format")) is not None:
        result["response_format"] = _response_format(output)
    return result


def _messages(message: Json, where: str) -> Iterator[Json]:
    """The results of tools are messages of their own, before the rest."""
    role = message.get("role")
    blocks = _content(message.get("content"), f"{where}.content")
    if role == "assistant":
        yield _assistant(blocks)
        return
    if role != "user":
        raise refuse(f"{where}.role", "user or assistant", role)
    parts = []
    for place, block in blocks:
        if block.get("type") == "tool_result":
            yield _tool_result(block, place)
        else:
            parts.append(_part(block, place))
    if parts:
        yield {"role": "user", "content": _simple(parts)}


def _content(content: Any, where: str) -> list[tuple[str, Json]]:
    """The blocks of a content, each with its place."""
    if isinstance(content, str):
        return [(where, {"type": "text", "text": content})]
    blocks = read_objects({"": content}, "", where)
    return [(f"{where}[{at}]", block) for at, block in enumerate(blocks)]


def _assistant(blocks: list[tuple[str, Json]]) -> Json:
    texts, calls = [], []
    for place, block in blocks:
        match block.get("type"):
            case "text":
                texts.append(read_string(block, "text", place))
            case "tool_use":
                function = {"name": read_string(block, "name", place), "arguments": _arguments(block, place)}
                calls.append({"id": read_string(block, "id", place), "type": "function", "function": function})
            case kind if kind not in _THOUGHTS:
                raise refuse(f"{place}.type", "text, tool_use or thinking", kind)
    message: Json = {"role": "assistant", "content": "".join(texts) if texts or not calls else None}
    return message | ({"tool_calls": calls} if calls else {})


def _arguments(block: Json, place: str) -> str:
    values = block.get("input")
    if not isinstance(values, dict):
        raise refuse(f"{place}.input", "an object", values)
    return json.dumps(values)


def _tool_result(block: Json, place: str) -> Json:
    texts = _texts(block.get("content"), f"{place}.content")
    identifier = read_string(block, "tool_use_id", place)
    return {"role": "tool", "tool_call_id": identifier, "content": _simple(texts) if texts else ""}


def _texts(content: Any, where: str) -> list[Json]:
    """The text parts of a content that has nothing but texts."""
    if content is None or content == "":
        return []
    parts = []
    for place, block in _content(content, where):
        if block.get("type") != "text":
            raise refuse(f"{place}.type", "text", block.get("type"))
        parts.append({"type": "text", "text": read_string(block, "text", place)})
    return parts


def _part(block: Json, place: str) -> Json:
    match block.get("type"):
        case "text":
            return {"type": "text", "text": read_string(block, "text", place)}
        case "image":
            return {"type": "image_url", "image_url": {"url": _image_url(object_of(block.get("source")), place)}}
        case kind:
            raise refuse(f"{place}.type", "text, image or tool_result", kind)


def _image_url(source: Json, place: str) -> str:
    where = f"{place}.source"
    match source.get("type"):
        case "base64":
            return f"data:{read_string(source, 'media_type', where)};base64,{read_string(source, 'data', where)}"
        case "url":
            return read_string(source, "url", where)
        case kind:
            raise refuse(f"{where}.type", "base64 or url", kind)


def _simple(parts: list[Json]) -> Any:
    """One text as a string, anything else as parts."""
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts


def _tool(tool: Json, where: str) -> Json:
    if tool.get("type") not in (None, "custom"):
        raise refuse(f"{where}.type", "custom, for a provider runs its own tools itself", tool.get("type"))
    function: Json = {"name": read_string(tool, "name", where)}
    if isinstance(description := tool.get("description"), str):
        function["description"] = description
    if not isinstance(schema := tool.get("input_schema"), dict):
        raise refuse(f"{where}.input_schema", "a JSON Schema", schema)
    return {"type": "function", "function": {**function, "parameters": schema}}


def _tool_choice(choice: Any) -> Json:
    if choice is None:
        return {}
    kind = object_of(choice).get("type")
    if kind == "tool":
        name = read_string(choice, "name", "tool_choice")
        result: Json = {"tool_choice": {"type": "function", "function": {"name": name}}}
    elif isinstance(kind, str) and kind in _CHOICES:
        result = {"tool_choice": _CHOICES[kind]}
    else:
        raise refuse("tool_choice", "one of the type auto, any, none or tool", choice)
    return result | ({"parallel_tool_calls": False} if choice.get("disable_parallel_tool_use") is True else {})


def _response_format(output: Any) -> Json:
    schema = object_of(output).get("schema")
    if object_of(output).get("type") != "json_schema" or not isinstance(schema, dict):
        raise TranslationError("output_config.format: expected json_schema with a schema")
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
