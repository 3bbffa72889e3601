"""Where the pieces of a model's text stand in the events of a stream, and which text each of them continues."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from gatewright.llm.json_values import Json, key_of, object_of, objects_of

TextKey = tuple[Hashable, ...]
"""Identifies a text of an answer: its kind of place, the index of its choice, block or candidate, and more."""
TextKind = Literal["text", "reasoning", "refusal", "arguments", "other"]

_KINDS: dict[str, TextKind] = {
    "text": "text",
    "content": "text",
    "refusal": "refusal",
    "reasoning": "reasoning",
    "reasoning_content": "reasoning",
    "thinking": "reasoning",
    "arguments": "arguments",
    "partial_json": "arguments",
}
_MESSAGE_TEXTS = ("content", "refusal", "reasoning_content", "reasoning")
_EVENT_KINDS: tuple[tuple[str, TextKind], ...] = (
    ("response.output_text.", "text"),
    ("response.refusal.", "refusal"),
    ("response.reasoning", "reasoning"),
    ("response.function_call_arguments.", "arguments"),
    ("response.mcp_call_arguments.", "arguments"),
    ("response.custom_tool_call_input.", "arguments"),
    ("response.code_interpreter_call_code.", "arguments"),
)


@dataclass(frozen=True, slots=True)
class TextPlace:
    """A piece of a text: the member `name` of the object `holder`, which a policy may replace."""

    holder: Json
    name: str
    key: TextKey
    kind: TextKind

    @property
    def text(self) -> str:
        value: str = self.holder[self.name]
        return value


class TextDelta(NamedTuple):
    """A piece of a model's text. Pieces with the same key, joined, are the text."""

    kind: TextKind
    """arguments: those of a call of a tool, as JSON; other: such as audio in base64."""
    text: str
    key: TextKey


def text_places(document: Any) -> Iterator[TextPlace]:
    """The pieces of texts in an event of any shape."""
    if not isinstance(document, dict):
        return
    for choice in objects_of(document.get("choices")):
        yield from _choice_places(choice)
    delta = document.get("delta")
    if isinstance(delta, str):
        yield TextPlace(document, "delta", _item(document, document.get("type")), _event_kind(document.get("type")))
    yield from _strings(object_of(delta), ("text", "partial_json", "thinking"), "block", document.get("index"))
    for candidate in objects_of(document.get("candidates")):
        for number, part in enumerate(objects_of(object_of(candidate.get("content")).get("parts"))):
            yield from _strings(part, ("text",), "candidate", candidate.get("index"), number)


def ended_texts(document: Any) -> Iterator[TextKey]:
    """The first two items of the keys of texts that end with or before this event."""
    if not isinstance(document, dict):
        return
    for kind, place, reason in (("choice", "choices", "finish_reason"), ("candidate", "candidates", "finishReason")):
        for item in objects_of(document.get(place)):
            if item.get(reason) is not None:
                yield kind, key_of(item.get("index"))
    event_type = document.get("type")
    if event_type == "content_block_stop":
        yield "block", key_of(document.get("index"))
    elif isinstance(event_type, str) and event_type.endswith(".done"):
        yield _item(document, event_type.removesuffix("done") + "delta")


def _choice_places(choice: Json) -> Iterator[TextPlace]:
    at = choice.get("index")
    yield from _strings(choice, ("text",), "choice", at)
    message = object_of(choice.get("delta"))
    yield from _strings(message, _MESSAGE_TEXTS, "choice", at)
    for call in objects_of(message.get("tool_calls")):
        yield from _strings(object_of(call.get("function")), ("arguments",), "choice", at, call.get("index"))


def _strings(holder: Json, names: tuple[str, ...], kind: str, index: Any, *more: Any) -> Iterator[TextPlace]:
    for name in names:
        if isinstance(holder.get(name), str):
            key = (kind, key_of(index), name, *map(key_of, more))
            yield TextPlace(holder, name, key, "reasoning" if holder.get("thought") is True else _KINDS[name])


def _item(document: Json, kind: Any) -> TextKey:
    names = ("item_id", "output_index", "content_index")
    return "delta", (key_of(kind), *(key_of(document.get(name)) for name in names))


def _event_kind(event_type: Any) -> TextKind:
    name = event_type if isinstance(event_type, str) else ""
    return next((kind for start, kind in _EVENT_KINDS if name.startswith(start)), "other")


# ------------------------------------------------------------------ whole answers


def answer_places(document: Any) -> Iterator[TextPlace]:
    """The texts of a whole answer, but those that `text_places` finds there as well."""
    holder = object_of(document)
    for choice in objects_of(holder.get("choices")):
        yield from _message_places(object_of(choice.get("message")), choice.get("index"))
    for number, block in enumerate(objects_of(holder.get("content"))):
        yield from _strings(block, ("text", "thinking"), "block", number)
    for number, item in enumerate(objects_of(holder.get("output"))):
        yield from _output_places(item, number)


def _message_places(message: Json, at: Any) -> Iterator[TextPlace]:
    yield from _strings(message, _MESSAGE_TEXTS, "choice", at)
    for number, part in enumerate(objects_of(message.get("content"))):
        yield from _strings(part, ("text",), "choice", at, number)
    for number, call in enumerate(objects_of(message.get("tool_calls"))):
        yield from _strings(object_of(call.get("function")), ("arguments",), "choice", at, number)


def _output_places(item: Json, number: int) -> Iterator[TextPlace]:
    """The texts of an item of responses."""
    yield from _strings(item, ("arguments",), "item", number)
    for name in ("content", "summary"):
        for at, part in enumerate(objects_of(item.get(name))):
            for place in _strings(part, ("text", "refusal"), "item", number, name, at):
                yield replace(place, kind="reasoning") if item.get("type") == "reasoning" else place
