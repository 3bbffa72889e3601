"""The texts and tools of a prompt, where each shape has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

from gatewright.llm.attachments import is_attachment
from gatewright.llm.json_values import Json, object_of, objects_of
from gatewright.llm.shapes import Shape

Role = Literal["system", "user", "assistant", "tool"]
Place = tuple[str | int, ...]
"""Steps from the document to a value of it: names of members, numbers of items."""

_ROLES: dict[Any, Role] = {
    "system": "system",
    "developer": "system",
    "assistant": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
}
"""Providers' names of roles. Any other is the user's."""
_NO_TEXT = {
    *("type", "role", "status", "name"),
    *("id", "call_id", "tool_use_id", "tool_call_id"),
    *("media_type", "signature", "thoughtSignature", "encrypted_content"),
}
"""Members of messages and parts whose strings are no texts."""
_VALUES = {"input", "args", "arguments", "output", "response", "variables"}
"""Members with values of a tool's or a template's own, in which every string is a text."""


class PromptText(NamedTuple):
    role: Role
    """system: instructions of any kind; tool: a result of a tool; assistant: what the model said, and its calls."""
    text: str
    place: Place


def prompt_texts(shape: Shape, document: Json) -> Iterator[PromptText]:
    match shape:
        case "chat":
            yield from _messages(document, "messages")
        case "messages":
            yield from _strings(document.get("system"), "system", ("system",))
            yield from _messages(document, "messages")
        case "responses":
            yield from _strings(document.get("instructions"), "system", ("instructions",))
            variables = object_of(document.get("prompt")).get("variables")
            yield from _strings(variables, "user", ("prompt", "variables"))
            yield from _messages(document, "input")
        case "completions":
            yield from _strings(document.get("prompt"), "user", ("prompt",))
            yield from _strings(document.get("suffix"), "user", ("suffix",))
        case "embeddings":
            yield from _strings(document.get("input"), "user", ("input",))
        case "gemini":
            yield from _gemini_texts(document, ())


def _gemini_texts(document: Json, place: Place) -> Iterator[PromptText]:
    for name in ("systemInstruction", "system_instruction"):
        yield from _strings(document.get(name), "system", (*place, name))
    yield from _messages(document, "contents", place)
    content = object_of(document.get("content"))  # of embedContent
    yield from _item_texts(content, (*place, "content"))
    requests = document.get("requests")  # of batchEmbedContents
    for number, request in enumerate(requests if isinstance(requests, list) and not place else []):
        yield from _gemini_texts(object_of(request), ("requests", number))


def _messages(document: Json, name: str, place: Place = ()) -> Iterator[PromptText]:
    items = document.get(name)
    if not isinstance(items, list):
        yield from _strings(items, "user", (*place, name))
        return
    for number, item in enumerate(items):
        yield from _item_texts(item, (*place, name, number))


def _item_texts(item: Any, place: Place) -> Iterator[PromptText]:
    """The texts of a message, or of an item of responses: a call, the result of a call, reasoning."""
    role: Role = "user"
    if isinstance(item, dict):
        kind = item.get("type")
        role = _role(item.get("role"))
        if isinstance(kind, str) and kind.endswith("_output"):
            role = "tool"
        elif isinstance(kind, str) and (kind.endswith("_call") or kind == "reasoning"):
            role = "assistant"
    yield from _strings(item, role, place)


def _role(name: Any) -> Role:
    return _ROLES.get(name, "user") if isinstance(name, str) else "user"


def _strings(value: Any, role: Role, place: Place) -> Iterator[PromptText]:
    """All strings of a value that are texts, in their order. It walks without recursion: a client may nest deeply."""
    waiting: list[tuple[Any, Role, Place, bool]] = [(value, role, place, place[-1:] == ("variables",))]
    while waiting:
        value, role, place, is_value = waiting.pop()
        if isinstance(value, str):
            yield PromptText(role, value, place)
        elif isinstance(value, list):
            waiting.extend((value[at], role, (*place, at), is_value) for at in reversed(range(len(value))))
        elif isinstance(value, dict):
            role = "tool" if value.get("type") == "tool_result" else role
            names = [name for name in value if is_value or not (name in _NO_TEXT or is_attachment(name, value[name]))]
            for name in reversed(names):
                member_role: Role = "tool" if name in ("functionResponse", "function_response") else role
                waiting.append((value[name], member_role, (*place, name), is_value or name in _VALUES))


def tool_texts(document: Json) -> Iterator[PromptText]:
    """The strings of definitions of tools but their names and types, which the model reads as instructions."""
    for name in ("tools", "functions"):
        yield from _strings(document.get(name), "system", (name,))


def tool_names(shape: Shape, document: Json) -> tuple[str, ...]:
    """The names of the tools that the model may call, each once. A provider's own tool is named by its type."""
    names = _gemini_tools(document) if shape == "gemini" else _openai_tools(document)
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str)))


def _openai_tools(document: Json) -> Iterable[Any]:
    for tool in objects_of(document.get("tools")):
        yield object_of(tool.get("function")).get("name") or tool.get("name") or tool.get("type")
    for function in objects_of(document.get("functions")):
        yield function.get("name")


def _gemini_tools(document: Json) -> Iterable[Any]:
    for tool in objects_of(document.get("tools")):
        for name, value in tool.items():
            if name in ("functionDeclarations", "function_declarations"):
                yield from (declaration.get("name") for declaration in objects_of(value))
            else:
                yield name
