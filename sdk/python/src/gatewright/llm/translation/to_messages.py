"""A request of OpenAI's chat completions as one of Anthropic's messages."""

from __future__ import annotations

import re
from typing import Any

from gatewright.llm.json_values import Json, object_of, parse_json
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
    *("model", "messages", "tools", "tool_choice", "parallel_tool_calls", "max_completion_tokens", "max_tokens"),
    *("stop", "temperature", "top_p", "top_k", "stream", "user", "safety_identifier", "response_format"),
}
DROPPED = {
    *("stream_options", "metadata", "store", "seed", "service_tier", "reasoning_effort", "verbosity", "prediction"),
    *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
}
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "modalities": (["text"],),
}
_DATA_URL = re.compile(r"data:([^;,]{1,100});base64,(.*)", re.DOTALL)
_NO_PARAMETERS: Json = {"type": "object", "properties": {}}
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}


def to_messages(document: Json, model: str, max_tokens: int) -> Json:
    """max_tokens: the limit of a request that has none, which Anthropic's messages need."""
    check_members(document, CARRIED | DROPPED, NEUTRAL, to="messages")
    system, messages = _conversation(document)
    limit = read_limit(document, "max_completion_tokens", "max_tokens") or max_tokens
    result: Json = {"model": model, "max_tokens": limit, "messages": messages}
    if system:
        result["system"] = _simple(system)
    return result | _tools(document) | _settings(document)


def _tools(document: Json) -> Json:
    tools = [_tool(tool, f"tools[{at}]") for at, tool in enumerate(read_objects(document, "tools"))]
    choice = _tool_choice(document)
    return ({"tools": tools} if tools else {}) | ({"tool_choice": choice} if tools and choice else {})


def _settings(document: Json) -> Json:
    result: Json = {}
    if stops := read_strings(document, "stop"):
        result["stop_sequences"] = stops
    for name, most in (("temperature", 1), ("top_p", 1), ("top_k", 1 << 31)):
        if (number := read_number(document, name, most)) is not None:
            result[name] = number
    if document.get("stream") is True:
        result["stream"] = True
    if isinstance(user := document.get("user") or document.get("safety_identifier"), str):
        result["metadata"] = {"user_id": user}
    if output := _output_format(document.get("response_format")):
        result["output_config"] = {"format": output}
    return result


def _conversation(document: Json) -> tuple[list[Json], list[Json]]:
    """The blocks of the system prompt, and the messages: neighbours of the same role are one message."""
    system: list[Json] = []
    messages: list[Json] = []
    for at, message in enumerate(read_objects(document, "messages")):
        where, role = f"messages[{at}]", message.get("role")
        if role in ("system", "developer"):
            system += _blocks(message.get("content"), f"{where}.content")
            continue
        blocks = _message(message, role, where)
        side = "assistant" if role == "assistant" else "user"
        if messages and messages[-1]["role"] == side:
            messages[-1]["content"] += blocks
        elif blocks:
            messages.append({"role": side, "content": blocks})
    for message in messages:
        message["content"] = _simple(message["content"])
    return system, messages


def _message(message: Json, role: Any, where: str) -> list[Json]:
    match role:
        case "user":
            return _blocks(message.get("content"), f"{where}.content", images=True)
        case "assistant":
            return _assistant(message, where)
        case "tool":
            result = {"type": "tool_result", "tool_use_id": read_string(message, "tool_call_id", where)}
            content = _simple(_blocks(message.get("content"), f"{where}.content"))
            return [{**result, "content": content} if content else result]
        case _:
            raise refuse(f"{where}.role", "system, developer, user, assistant or tool", role)


def _assistant(message: Json, where: str) -> list[Json]:
    if message.get("audio") or message.get("function_call"):
        raise TranslationError(f"{where}: expected content and tool_calls, got audio or a function_call")
    blocks = _blocks(message.get("content"), f"{where}.content")
    if isinstance(refusal := message.get("refusal"), str) and refusal:
        blocks.append({"type": "text", "text": refusal})
    for at, call in enumerate(read_objects(message, "tool_calls", f"{where}.")):
        place = f"{where}.tool_calls[{at}]"
        function = _function(call, place)
        name = read_string(function, "name", f"{place}.function")
        arguments = function.get("arguments")
        values = parse_json(arguments) if isinstance(arguments, str) and arguments.strip() else {}
        if not isinstance(values, dict):
            raise refuse(f"{place}.function.arguments", "a JSON object", arguments)
        blocks.append({"type": "tool_use", "id": read_string(call, "id", place), "name": name, "input": values})
    return blocks


def _blocks(content: Any, where: str, *, images: bool = False) -> list[Json]:
    """The blocks of a text or of parts. Empty texts are left out, since Anthropic refuses them."""
    if content is None or isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    blocks: list[Json] = []
    for at, part in enumerate(read_objects({"": content}, "", where)):
        place, kind = f"{where}[{at}]", part.get("type")
        if kind in ("text", "refusal"):
            if text := read_string(part, kind, place):
                blocks.append({"type": "text", "text": text})
        elif kind == "image_url" and images:
            blocks.append(_image(object_of(part.get("image_url")), f"{place}.image_url"))
        else:
            raise refuse(f"{place}.type", "text or image_url" if images else "text", kind)
    return blocks


def _image(image: Json, where: str) -> Json:
    url = read_string(image, "url", where)
    if found := _DATA_URL.fullmatch(url):
        return {"type": "image", "source": {"type": "base64", "media_type": found[1], "data": found[2]}}
    if not url.lower().startswith(("https://", "http://")):
        raise refuse(f"{where}.url", "a URL, or an image as data:TYPE;base64,DATA", url)
    return {"type": "image", "source": {"type": "url", "url": url}}


def _simple(blocks: list[Json]) -> Any:
    """One text as a string, anything else as blocks."""
    if not blocks:
        return ""
    return blocks[0]["text"] if len(blocks) == 1 and blocks[0]["type"] == "text" else blocks


def _function(holder: Json, where: str) -> Json:
    function = holder.get("function")
    if holder.get("type", "function") != "function" or not isinstance(function, dict):
        raise refuse(f"{where}.type", "function, with a member of that name", holder.get("type"))
    return function


def _tool(tool: Json, where: str) -> Json:
    function = _function(tool, where)
    result: Json = {"name": read_string(function, "name", f"{where}.function")}
    if isinstance(description := function.get("description"), str):
        result["description"] = description
    schema = function.get("parameters")
    if schema is not None and not isinstance(schema, dict):
        raise refuse(f"{where}.function.parameters", "a JSON Schema", schema)
    result["input_schema"] = schema or _NO_PARAMETERS
    return result


def _tool_choice(document: Json) -> Json:
    choice = document.get("tool_choice")
    result: Json = {}
    if isinstance(choice, str) and choice in _CHOICES:
        result = {"type": _CHOICES[choice]}
    elif isinstance(choice, dict):
        function = _function(choice, "tool_choice")
        result = {"type": "tool", "name": read_string(function, "name", "tool_choice.function")}
    elif choice is not None:
        raise refuse("tool_choice", "auto, none, required or a function", choice)
    if document.get("parallel_tool_calls") is False and result.get("type") != "none":
        result = {"type": "auto"} | result | {"disable_parallel_tool_use": True}
    return result


def _output_format(wanted: Any) -> Json | None:
    kind = object_of(wanted).get("type")
    if wanted is None or kind == "text":
        return None
    schema = object_of(object_of(wanted).get("json_schema")).get("schema")
    if kind != "json_schema" or not isinstance(schema, dict):
        raise refuse("response_format", "text, or json_schema with a schema, which Anthropic's messages have", wanted)
    return {"type": "json_schema", "schema": schema}
