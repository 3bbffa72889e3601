"""Finds kept answers to questions of nearly the same meaning, by the embeddings of their last message. No I/O.

A search compares signs first: of vectors of length 1, those with the most equal signs are the nearest ones but for
chance. Only these few are compared exactly, so that 1,000 vectors of 1,536 numbers take about a millisecond in plain
Python.
"""

from __future__ import annotations

import heapq
from array import array
from collections import OrderedDict
from dataclasses import dataclass
from operator import mul
from typing import Any

from sdk.llm import LlmRequest

CANDIDATES = 8
MAX_CHARACTERS = 8192
"""Of a question. Longer ones are searched for exactly only."""
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """text: the last message. rest: the document without it, which must be the same in both requests."""

    text: str
    rest: Json


def question_of(request: LlmRequest) -> Question | None:
    """The question of a request whose last message is one text of the user's; None for any other."""
    document = request.document
    match request.shape:
        case "chat" | "messages":
            found = _of_messages(document, "messages", "content")
        case "responses" if isinstance(document.get("input"), list):
            found = _of_messages(document, "input", "content")
        case "gemini":
            found = _of_messages(document, "contents", "parts")
        case "responses":
            found = _of_text(document, "input")
        case "completions":
            found = _of_text(document, "prompt")
        case _:
            found = None
    return found if found is not None and len(found.text.strip()) > 0 and len(found.text) <= MAX_CHARACTERS else None


def _of_text(document: Json, name: str) -> Question | None:
    text = document.get(name)
    return Question(text, {**document, name: None}) if isinstance(text, str) else None


def _of_messages(document: Json, name: str, content: str) -> Question | None:
    messages = document.get(name)
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(messages, list) or not isinstance(last, dict) or last.get("role", "user") != "user":
        return None
    if last.get("type", "message") != "message":  # an item of responses, such as the result of a tool
        return None
    text, rest = _only_text(last.get(content))
    if text is None:
        return None
    return Question(text, {**document, name: [*messages[:-1], {**last, content: rest}]})


def _only_text(content: Any) -> tuple[str | None, Any]:
    """The text of a content of one text, and the content without it."""
    if isinstance(content, str):
        return content, None
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        text = content[0].get("text")
        is_text = content[0].get("type", "text") in ("text", "input_text")
        return (text, [{**content[0], "text": None}]) if is_text and isinstance(text, str) else (None, None)
    return None, None


@dataclass(frozen=True, slots=True)
class Vector:
    """numbers: of length 1. signs: a bit for each number, 1 for those above 0."""

    numbers: array[float]
    signs: int

    @classmethod
    def of(cls, numbers: array[float]) -> Vector:
        return cls(numbers, int("".join("1" if number > 0 else "0" for number in numbers), 2))

    def similarity(self, other: Vector) -> float:
        """The cosine of the angle between two vectors."""
        return float(sum(map(mul, self.numbers, other.numbers)))


class NearAnswers:
    """The keys of kept answers with the vectors of their questions: at most `most`, the oldest of which leave."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._scopes: dict[str, dict[str, Vector]] = {}
        self._ages: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._expected: OrderedDict[str, tuple[str, Vector]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ages)

    def add(self, scope: str, key: str, vector: Vector) -> None:
        self.remove(scope, key)
        while len(self._ages) >= self._most:
            self.remove(*next(iter(self._ages)))
        self._ages[scope, key] = None
        self._scopes.setdefault(scope, {})[key] = vector

    def expect(self, scope: str, key: str, vector: Vector) -> None:
        """Holds the vector of a question whose answer comes. The oldest such vectors leave, too."""
        self._expected.pop(key, None)
        while len(self._expected) >= self._most:
            self._expected.popitem(last=False)
        self._expected[key] = scope, vector

    def end(self, key: str, *, is_kept: bool) -> None:
        """The answer of an expected question has been kept, or will not be."""
        scope, vector = self._expected.pop(key, ("", None))
        if is_kept and vector is not None:
            self.add(scope, key, vector)

    def remove(self, scope: str, key: str) -> None:
        if (scope, key) not in self._ages:
            return
        del self._ages[scope, key]
        del self._scopes[scope][key]
        if not self._scopes[scope]:
            del self._scopes[scope]

    def find(self, scope: str, vector: Vector, threshold: float) -> list[tuple[float, str]]:
        """Similarities of at least the threshold, with their keys, the nearest first. Only vectors of this scope, and
        of as many numbers, are compared."""
        known = [
            ((vector.signs ^ other.signs).bit_count(), key)
            for key, other in self._scopes.get(scope, {}).items()
            if len(other.numbers) == len(vector.numbers)
        ]
        candidates = [key for _, key in heapq.nsmallest(CANDIDATES, known)]
        found = [(vector.similarity(self._scopes[scope][key]), key) for key in candidates]
        return sorted((pair for pair in found if pair[0] >= threshold), reverse=True)
