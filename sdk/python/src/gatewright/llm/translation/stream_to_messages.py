"""The events of OpenAI's chat completions as those of Anthropic's messages, one by one.

Anthropic's blocks come one after the other, each with a start and a stop, and an answer's tokens with its reason to
end; a chat completion has no such marks, and its usage comes behind the reason. So the last events wait for [DONE] or
for the end of the stream.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from gatewright.llm.json_values import Json, object_of, objects_of, parse_json
from gatewright.llm.translation.answers import error_document, messages_usage, read_error, stop_reason
from gatewright.llm.usage import read_counts
from gatewright.streams import SseEvent

_LAST = "[DONE]"
_TEXT = "text"
"""The key of the block of text; that of a tool's call is its number and id."""


class ChatToMessages:
    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._has_begun = False
        self._has_ended = False
        self._reason: str | None = None
        self._is_refused = False
        self._open: tuple[Any, Any] | str | None = None
        """The key of the block that is open."""
        self._blocks = 0
        self._closed_calls: set[Any] = set()
        """The numbers of the calls whose blocks have ended."""

    def feed(self, data: str) -> Iterator[bytes]:
        if self._has_ended:
            return
        if data.strip() == _LAST:
            yield from self._finish()
            return
        holder = object_of(parse_json(data))
        if (error := read_error(holder)) is not None:
            self._has_ended = True
            yield _encode(error_document(error, "messages"))
            return
        self._counts |= read_counts(holder.get("usage"))
        choices = [choice for choice in objects_of(holder.get("choices")) if choice.get("index", 0) == 0]
        if not self._has_begun and (choices or holder.get("usage")):  # Azure's first chunk has neither, and no model
            yield self._begin(holder)
        for choice in choices:
            yield from self._choice(choice)

    def end(self) -> Iterator[bytes]:
        """The last events of a provider that sends no [DONE]. A stream that was cut off has no end here either."""
        if self._reason is not None:
            yield from self._finish()

    def fail(self, message: str) -> bytes:
        self._has_ended = True
        return _encode({"type": "error", "error": {"type": "api_error", "message": message}})

    def _begin(self, holder: Json) -> bytes:
        self._has_begun = True
        message: Json = {
            "id": holder.get("id"),
            "type": "message",
            "role": "assistant",
            "model": holder.get("model"),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": messages_usage(self._counts),
        }
        return _encode({"type": "message_start", "message": message})

    def _choice(self, choice: Json) -> Iterator[bytes]:
        delta = object_of(choice.get("delta"))
        for name in ("content", "refusal"):
            if isinstance(text := delta.get(name), str) and text:
                yield from self._text(text)
                self._is_refused = self._is_refused or name == "refusal"
        for call in objects_of(delta.get("tool_calls")):
            yield from self._call(call)
            if self._has_ended:
                return
        if (reason := choice.get("finish_reason")) is not None:
            yield from self._close()
            self._reason = "refusal" if self._is_refused else stop_reason(reason)

    def _text(self, text: str) -> Iterator[bytes]:
        if self._open != _TEXT:
            yield from self._start(_TEXT, {"type": "text", "text": ""})
        yield self._delta({"type": "text_delta", "text": text})

    def _call(self, call: Json) -> Iterator[bytes]:
        number, identifier = call.get("index"), call.get("id")
        number = number if isinstance(number, int) else None
        function = object_of(call.get("function"))
        current = self._open if isinstance(self._open, tuple) else None
        is_new = current is None or current[0] != number or (identifier and identifier != current[1])
        if is_new and not identifier and number in self._closed_calls:
            yield self.fail("the provider sends the calls of several tools at once, which no message can")
            return
        if is_new:
            block: Json = {"type": "tool_use", "id": identifier, "name": function.get("name"), "input": {}}
            yield from self._start((number, identifier), block)
        if isinstance(arguments := function.get("arguments"), str) and arguments:
            yield self._delta({"type": "input_json_delta", "partial_json": arguments})

    def _start(self, key: tuple[Any, Any] | str, block: Json) -> Iterator[bytes]:
        yield from self._close()
        self._open = key
        self._blocks += 1
        yield _encode({"type": "content_block_start", "index": self._blocks - 1, "content_block": block})

    def _delta(self, delta: Json) -> bytes:
        return _encode({"type": "content_block_delta", "index": self._blocks - 1, "delta": delta})

    def _close(self) -> Iterator[bytes]:
        if self._open is None:
            return
        if isinstance(self._open, tuple):
            self._closed_calls.add(self._open[0])
        self._open = None
        yield _encode({"type": "content_block_stop", "index": self._blocks - 1})

    def _finish(self) -> Iterator[bytes]:
        if not self._has_begun or self._has_ended:
            return
        self._has_ended = True
        yield from self._close()
        delta = {"stop_reason": self._reason or "end_turn", "stop_sequence": None}
        yield _encode({"type": "message_delta", "delta": delta, "usage": messages_usage(self._counts)})
        yield _encode({"type": "message_stop"})


def _encode(document: Json) -> bytes:
    return SseEvent(json.dumps(document), event=document["type"]).encode()
