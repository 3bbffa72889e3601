"""The texts of an answer, one for each choice, and the events that tell a client of an invalid one. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from sdk.llm import Shape, TextDelta, TextPlace, answer_places, text_places
from sdk.streams import SseEvent

CALLS = re.compile(r'"(?:tool_use|tool_calls|function_call|functionCall)"(?!\s*:\s*(?:null|\[\s*\]))')
"""A call of a tool. In JSON a text cannot have these characters: it escapes its quotes."""
LAST = re.compile(
    r'\s*+\[DONE\]|.*"(?:type"\s*:\s*"(?:message_stop|response\.(?:completed|incomplete|failed))"|finishReason"\s*:\s*")',
    re.DOTALL,
)
"""What the last event of a stream has, after which clients read no more."""
Group = Hashable
Check = Callable[[str], str]


def group_of(key: tuple[Hashable, ...]) -> Group:
    """Choices and candidates are answers of their own; blocks and items of output are parts of one."""
    return key[:2] if key[0] in ("choice", "candidate") else "all"


class Texts:
    """Collects the texts of an answer of at most `most` characters."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._parts: dict[Group, list[str]] = {}
        self._has_refusal = self.has_call = self.is_too_large = False

    def add(self, deltas: Iterable[TextDelta]) -> None:
        for delta in deltas:
            self._has_refusal |= delta.kind == "refusal"
            if delta.kind == "text" and not self.is_too_large:
                self._left -= len(delta.text)
                self.is_too_large = self._left < 0
                self._parts.setdefault(group_of(delta.key), []).append(delta.text)

    def mistake(self, check: Check) -> tuple[str, str]:
        """Why the answer is invalid, in a word, and the first text that the check refuses; "" where there is none.

        A call of a tool has no text, and is no mistake.
        """
        if self.is_too_large:
            return "too_large", ""
        texts = ["".join(parts) for parts in self._parts.values()]
        if not any(texts):
            return "" if self.has_call else "refusal" if self._has_refusal else "empty", ""
        return next(((mistake, text) for text in texts if (mistake := check(text))), ("", ""))


def places_of(document: Any) -> list[TextPlace]:
    """The places of all texts of a whole answer, or of Gemini's array of answers."""
    items = document if isinstance(document, list) else [document]
    return [place for item in items for place in (*text_places(item), *answer_places(item))]


def change_texts(places: Iterable[TextPlace], change: Callable[[str], str]) -> bool:
    """Changes the text of each choice in place: a changed one stands where its first part was. Whether any has."""
    groups: dict[Group, list[TextPlace]] = {}
    for place in places:
        if place.kind == "text":
            groups.setdefault(group_of(place.key), []).append(place)
    is_changed = False
    for parts in groups.values():
        text = "".join(part.text for part in parts)
        if (changed := change(text)) != text:
            is_changed = True
            for number, part in enumerate(parts):
                part.holder[part.name] = "" if number else changed
    return is_changed


def error_event(shape: Shape, message: str) -> bytes:
    """The event with which a stream of this shape reports an error."""
    error = {"type": "invalid_answer", "message": message}
    document: dict[str, Any]
    match shape:
        case "messages":
            return SseEvent(json.dumps({"type": "error", "error": error}), event="error").encode()
        case "responses":
            document = {"type": "error", "code": "invalid_answer", "message": message, "param": None}
            return SseEvent(json.dumps(document), event="error").encode()
        case "gemini":
            document = {"error": {"code": 502, "message": message, "status": "INTERNAL"}}
            return SseEvent(json.dumps(document)).encode()
        case _:
            return SseEvent(json.dumps({"error": {**error, "code": "invalid_answer"}})).encode()
