"""An answer that is kept, its bytes in the store, and the copy of an answer that passes. No I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sdk import clock, llm

FORMAT = 1
"""Must change with the format of values."""
MEMBERS: dict[llm.Shape, tuple[str, ...]] = {
    "chat": ("choices",),
    "completions": ("choices",),
    "responses": ("output",),
    "messages": ("content",),
    "embeddings": ("data",),
    "gemini": ("candidates", "embedding", "embeddings"),
}
"""Members of whole answers, one of which a successful one has."""
OUTCOMES = {"completed", "incomplete"}
"""Values of `status` of a whole answer of responses that has ended. An incomplete one has reached a limit."""


@dataclass(frozen=True, slots=True)
class Entry:
    content_type: str
    body: bytes
    born: float
    """Seconds since 1970."""
    tokens_in: int
    tokens_out: int

    @property
    def age(self) -> float:
        return max(0.0, clock.now() - self.born)

    def encode(self) -> bytes:
        """The value in the store: a line of JSON, and the body."""
        fields = [FORMAT, self.content_type, self.born, self.tokens_in, self.tokens_out, len(self.body)]
        return json.dumps(fields, separators=(",", ":")).encode() + b"\n" + self.body


def decode(value: bytes) -> Entry | None:
    """The entry of a value; None for values of another format, and damaged ones."""
    line, _, body = value.partition(b"\n")
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    match fields:
        case [int(form), str(kind), float(born), int(tokens_in), int(tokens_out), int(length)]:
            is_valid = form == FORMAT and length == len(body) and min(tokens_in, tokens_out) >= 0
            return Entry(kind, body, born, tokens_in, tokens_out) if is_valid and is_header_value(kind) else None
    return None


def is_header_value(text: str) -> bool:
    return text.isascii() and text.isprintable()


class AnswerCopy:
    """Copies an answer of at most `most` bytes while it passes, and tells at its end whether it may be kept."""

    def __init__(self, shape: llm.Shape, content_type: str, most: int) -> None:
        self._content_type, self._most = content_type, most
        self._reader = llm.AnswerReader(shape, content_type, limit=most)
        self._body = bytearray()
        self._is_too_large = False

    def feed(self, chunk: bytes) -> None:
        if self._is_too_large:
            return
        if len(self._body) + len(chunk) > self._most:
            self._is_too_large = True
            self._body.clear()
            return
        self._body += chunk
        self._reader.feed(chunk)

    def end(self) -> Entry | str:
        """The entry, or why the answer is not kept, in a word."""
        if self._is_too_large:
            return "too_large"
        reader = self._reader
        reader.end()
        if reader.error is not None:
            return "error"
        if not reader.finished or reader.skipped or not is_header_value(self._content_type):
            return "incomplete"
        body = bytes(self._body)
        if not (is_whole_stream(reader, body) if reader.is_stream else is_whole_answer(reader.shape, body)):
            return "incomplete"
        usage = reader.usage or llm.Usage()
        return Entry(self._content_type, body, float(clock.now()), usage.input, usage.output)


def is_whole_stream(reader: llm.AnswerReader, body: bytes) -> bool:
    """Whether a stream that has ended had an answer. In JSON a text cannot have these bytes: it escapes its quotes."""
    return bool(reader.model or reader.usage is not None) and b'"response.failed"' not in body


def is_whole_answer(shape: llm.Shape, body: bytes) -> bool:
    """Whether a JSON text is an answer that has ended, and has content."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return False
    items = document if isinstance(document, list) and shape == "gemini" else [document]
    return bool(items) and all(isinstance(item, dict) for item in items) and any(has_content(shape, x) for x in items)


def has_content(shape: llm.Shape, document: dict[str, Any]) -> bool:
    if shape == "responses" and document.get("status", "completed") not in OUTCOMES:
        return False
    return any(isinstance(document.get(name), list | dict) and document[name] for name in MEMBERS[shape])
