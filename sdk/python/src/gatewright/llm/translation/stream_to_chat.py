"""The events of Anthropic's messages as those of OpenAI's chat completions, one by one."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator
from typing import Any

from gatewright.llm.json_values import Json, key_of, object_of, parse_json, text_of
from gatewright.llm.translation.answers import FINISH_REASONS, chat_usage, error_document, read_error
from gatewright.llm.usage import read_counts
from gatewright.streams import SseEvent

_DONE = SseEvent("[DONE]").encode()
_PING = SseEvent(comment="ping").encode()


class MessagesToChat:
    """wants_usage: whether the client has asked for the chunk of usage at the end."""

    def __init__(self, *, wants_usage: bool, created: int) -> None:
        self._wants_usage, self._created = wants_usage, created
        self._id: Any = None
        self._model: Any = None
        self._counts: dict[str, int] = {}
        self._calls: dict[Hashable, int] = {}
        """The number of each tool's call, by the index of its block."""
        self._empty: set[Hashable] = set()
        """The blocks of calls whose arguments have not begun."""

    def feed(self, data: str) -> Iterator[bytes]:
        holder = object_of(parse_json(data))
        if (error := read_error(holder)) is not None:
            yield SseEvent(json.dumps(error_document(error, "chat"))).encode()
            return
        kind = text_of(holder.get("type"))
        if kind.startswith("content_block_"):
            yield from self._block(kind, key_of(holder.get("index")), holder)
        elif kind == "ping":
            yield _PING
        else:
            yield from self._message(kind, holder)

    def end(self) -> Iterator[bytes]:
        return iter(())

    def fail(self, message: str) -> bytes:
        error = {"type": "api_error", "message": message, "code": None}
        return SseEvent(json.dumps(error_document(error, "chat"))).encode()

    def _message(self, kind: str, holder: Json) -> Iterator[bytes]:
        match kind:
            case "message_start":
                message = object_of(holder.get("message"))
                self._id, self._model = message.get("id"), message.get("model")
                self._counts |= read_counts(message.get("usage"))
                yield self._chunk({"role": "assistant", "content": ""})
            case "message_delta":
                self._counts |= read_counts(holder.get("usage"))
                if reason := text_of(object_of(holder.get("delta")).get("stop_reason")):
                    yield self._chunk({}, FINISH_REASONS.get(reason, "stop"))
            case "message_stop":
                if self._wants_usage and (usage := chat_usage(self._counts)):
                    yield self._encode([], usage)
                yield _DONE

    def _block(self, kind: str, index: Hashable, holder: Json) -> Iterator[bytes]:
        match kind:
            case "content_block_start":
                yield from self._start(index, object_of(holder.get("content_block")))
            case "content_block_delta":
                yield from self._delta(index, object_of(holder.get("delta")))
            case "content_block_stop" if index in self._empty:  # clients parse the arguments, and "" is no JSON
                yield from self._arguments(index, "{}")

    def _start(self, index: Hashable, block: Json) -> Iterator[bytes]:
        match block.get("type"):
            case "text" if text := block.get("text"):
                yield self._chunk({"content": text})
            case "tool_use":
                number = self._calls[index] = len(self._calls)
                self._empty.add(index)
                function = {"name": block.get("name"), "arguments": ""}
                call = {"index": number, "id": block.get("id"), "type": "function", "function": function}
                yield self._chunk({"tool_calls": [call]})
                if values := object_of(block.get("input")):
                    yield from self._arguments(index, json.dumps(values))

    def _delta(self, index: Hashable, delta: Json) -> Iterator[bytes]:
        match delta.get("type"):
            case "text_delta" if isinstance(text := delta.get("text"), str) and text:
                yield self._chunk({"content": text})
            case "thinking_delta" if isinstance(text := delta.get("thinking"), str) and text:
                yield self._chunk({"reasoning_content": text})
            case "input_json_delta" if isinstance(text := delta.get("partial_json"), str) and text:
                yield from self._arguments(index, text)

    def _arguments(self, index: Hashable, text: str) -> Iterator[bytes]:
        if index in self._calls:
            self._empty.discard(index)
            yield self._chunk({"tool_calls": [{"index": self._calls[index], "function": {"arguments": text}}]})

    def _chunk(self, delta: Json, reason: str | None = None) -> bytes:
        return self._encode([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}], None)

    def _encode(self, choices: list[Json], usage: Json | None) -> bytes:
        document: Json = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }
        if self._wants_usage:
            document["usage"] = usage
        return SseEvent(json.dumps(document)).encode()
