"""Reads a model's answer as it comes: usage, model, texts, whether it is complete, and an error in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gatewright.llm.json_values import Json, object_of, parse_json, text_of
from gatewright.llm.places import TextDelta, answer_places, text_places
from gatewright.llm.shapes import Shape
from gatewright.llm.splitting import Events, JsonItem, JsonItems
from gatewright.llm.usage import Usage, read_counts, usage_of
from gatewright.streams import LIMIT, SseEvent

EVENT_STREAM = "text/event-stream"
_WRAPPERS: dict[Shape, str] = {"messages": "message", "responses": "response"}
"""Members in which events have the answer so far."""
_ENDS = {"message_stop", "response.completed", "response.incomplete", "response.failed"}
_LAST = "[DONE]"
_BLANK = b"\xef\xbb\xbf \t\r\n"
_OF_WEIGHT = re.compile(
    rb'"usage"(?!\s*:\s*null)|"error"|\[DONE\]|message_stop|response\.(?:completed|incomplete|failed)|\\u00'
)
"""What an event has that changes more than texts; \\u00 may begin one of these."""
_ERROR_MEMBERS = {"object", "message", "type", "code"}


@dataclass(frozen=True, slots=True)
class AnswerError:
    """An error that a provider reports in an answer, or in an event of a stream that began with 200."""

    type: str
    """The provider's word: overloaded_error, rate_limit_exceeded, RESOURCE_EXHAUSTED. "" if there is none."""
    message: str
    """At most 1,024 characters."""
    code: str
    """The provider's code, also a number as text; "" if there is none."""
    is_first: bool
    """Whether nothing of an answer came before."""


class AnswerReader:
    """Reads one answer, fed in pieces that are cut anywhere: a whole JSON answer, an event stream, or Gemini's array.

    content_type: that of the response. What it does not tell, the first bytes do: JSON begins with { or [.
    with_texts: whether `feed` and `end` return the pieces of the model's texts.
    limit: the most bytes of an event, of a member of a whole answer, or of an item of an array; longer ones are
    skipped, and counted in `skipped`. So memory is bounded, however long the answer is.

    It raises nothing for what a provider sends.
    """

    def __init__(self, shape: Shape, content_type: str = "", *, with_texts: bool = False, limit: int = LIMIT) -> None:
        self.shape = shape
        self.model = ""
        """The model as the answer names it first, "" before it has."""
        self.finished = False
        """Whether the answer came to its end: its last event, or the end of its JSON."""
        self.error: AnswerError | None = None
        """The first error in the answer."""
        self.is_stream = content_type.partition(";")[0].strip().lower() == EVENT_STREAM
        """Whether the content type is that of an event stream."""
        self._with_texts = with_texts
        self._limit = limit
        self._events: Events | None = Events(limit) if self.is_stream else None
        self._items: JsonItems | None = None
        self._counts: dict[str, int] = {}
        self._has_begun = False
        self._error_members: Json = {}

    @property
    def usage(self) -> Usage | None:
        """The tokens, by all that was read so far; None: no usage came. What comes twice counts once: the last."""
        return usage_of(self.shape, self._counts)

    @property
    def skipped(self) -> int:
        """How many parts of the answer were longer than the limit."""
        return sum(parts.skipped for parts in (self._events, self._items) if parts is not None)

    def feed(self, piece: bytes) -> list[TextDelta]:
        """Reads the next piece of the body. Returns the pieces of texts that it completes, if they are wanted."""
        if self._events is None and self._items is None:
            piece = piece.lstrip(_BLANK)
            if not piece:
                return []
            self._choose_parser(piece)
        if self._has_only_texts(piece):
            return []
        deltas: list[TextDelta] = []
        if self._events is not None:
            deltas += self._read_events(self._events.feed(piece))
        elif self._items is not None:
            for item in self._items.feed(piece):
                deltas += self._read_item(item)
            self.finished = self._items.is_whole and self._items.is_valid
        return deltas

    def end(self) -> list[TextDelta]:
        """Ends the body. The last event is read without its blank line too: what it counts was spent."""
        if self._error_members.get("object") == "error":  # of vLLM, in which the whole answer is the error
            self._set_error(self._error_members)
        return [] if self._events is None else self._read_events(self._events.end())

    def _has_only_texts(self, piece: bytes) -> bool:
        """Whether the piece is of whole events that have nothing to read but texts, which are not wanted. Most pieces
        of a stream are, and this takes a tenth of the time of reading them."""
        return (
            self._events is not None
            and self._events.is_between
            and self.model != ""
            and not self._with_texts
            and self.shape != "gemini"
            and len(piece) <= self._limit
            and piece.endswith(b"\n\n")
            and _OF_WEIGHT.search(piece) is None
        )

    def _choose_parser(self, first: bytes) -> None:
        if first[:1] in (b"{", b"["):
            self._items = JsonItems(self._limit, ignored="data" if self.shape == "embeddings" else "")
        else:
            self._events = Events(self._limit)

    # ------------------------------------------------------------------ parts of an answer

    def _read_events(self, events: Iterator[SseEvent]) -> list[TextDelta]:
        return [delta for event in events if event.data is not None for delta in self._read_data(event.data)]

    def _read_item(self, item: JsonItem) -> list[TextDelta]:
        if item.name is None:
            return self._read_event(item.value)
        if item.name in _ERROR_MEMBERS and isinstance(item.value, str | int):
            self._error_members[item.name] = item.value
        member = {item.name: item.value}
        self._read_document(member)
        places = (*text_places(member), *answer_places(member)) if self._with_texts else ()
        return [TextDelta(place.kind, place.text, place.key) for place in places if place.text]

    def _read_data(self, data: str) -> list[TextDelta]:
        if data.strip() == _LAST:
            self.finished = True
            return []
        return self._read_event(parse_json(data))

    def _read_event(self, document: Any) -> list[TextDelta]:
        if not isinstance(document, dict):
            return []
        kind = document.get("type")
        if kind == "error" and "error" not in document:  # of responses: the event is the error
            self._set_error({**document, "type": ""})
        self._read_document(document)
        if isinstance(kind, str) and kind in _ENDS:
            self.finished = True
        if self.shape == "gemini" and _has_ended(document):
            self.finished = True
        self._has_begun = self._has_begun or (kind != "ping" and self.error is None)
        places = text_places(document) if self._with_texts else ()
        return [TextDelta(place.kind, place.text, place.key) for place in places if place.text]

    def _read_document(self, document: Json) -> None:
        """Reads what an event has, a member of a whole answer, or the answer so far that an event has within it."""
        for holder in (object_of(document.get(_WRAPPERS.get(self.shape, ""))), document):
            self._counts |= read_counts(holder.get("usageMetadata" if self.shape == "gemini" else "usage"))
            self.model = self.model or text_of(holder.get("modelVersion" if self.shape == "gemini" else "model"), 256)
            if error := holder.get("error"):
                self._set_error({"message": error} if isinstance(error, str) else object_of(error))

    def _set_error(self, error: Json) -> None:
        if self.error is None:
            code = error.get("code")
            self.error = AnswerError(
                type=text_of(error.get("type"), 256) or text_of(error.get("status"), 256),
                message=text_of(error.get("message")),
                code=text_of(str(code), 256) if isinstance(code, str | int) else "",
                is_first=not self._has_begun,
            )


def _has_ended(document: Json) -> bool:
    """Whether an item of Gemini's is the last one with content: it gives a reason why it ends, or why it is blocked."""
    candidates = document.get("candidates")
    reasons = [object_of(item).get("finishReason") for item in candidates] if isinstance(candidates, list) else []
    return any(reasons) or bool(object_of(document.get("promptFeedback")).get("blockReason"))
