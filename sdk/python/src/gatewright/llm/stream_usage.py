"""Usage at the end of streamed chats and completions, which providers send only if the request asks for it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

from gatewright.llm.answer import AnswerReader
from gatewright.llm.json_values import object_of, parse_json
from gatewright.llm.request import LlmRequest
from gatewright.streams import LIMIT, SseEvent, SseParser, StreamError

_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_ASK = b'"stream_options":{"include_usage":true}'


def with_stream_usage(request: LlmRequest) -> bytes | None:
    """The request's body, which asks for usage at the end of the stream. None: there is nothing to change, for the
    shape needs no asking, the answer is whole, or the client has asked itself.

    If it returns a body, the client does not expect the extra chunk: a UsageChunkFilter keeps it back. All bytes of the
    client's stay as they are, unless it has stream_options of its own.
    """
    if not request.streams or request.shape not in ("chat", "completions") or request.asks_for_usage:
        return None
    body = request.body
    if "stream_options" not in request.document and body.lstrip()[:1] == b"{":
        start, _, rest = body.partition(b"{")
        return start + b"{" + _ASK + b"," + rest  # it is not empty: it has a prompt
    options = {**object_of(request.document.get("stream_options")), "include_usage": True}
    return json.dumps({**request.document, "stream_options": options}, separators=(",", ":")).encode()


def is_usage_chunk(document: Any) -> bool:
    """Whether the document of an event is the chunk that providers add for include_usage: usage, and no choice."""
    holder = object_of(document)
    return holder.get("choices") == [] and isinstance(holder.get("usage"), dict)


async def read_answer(
    chunks: AsyncIterator[bytes], reader: AnswerReader, *, hides_usage: bool = False
) -> AsyncIterator[bytes]:
    """Yields the answer as it passes, having fed it to the reader, whose `end` the caller calls.

    hides_usage: whether the request was sent with the body of `with_stream_usage`: a UsageChunkFilter then keeps the
    chunk back that the client does not expect.
    """
    events = UsageChunkFilter() if hides_usage and reader.is_stream else None
    async for chunk in chunks:
        reader.feed(chunk)
        if passed := chunk if events is None else events.feed(chunk):
            yield passed
    if events is not None and (rest := events.end()):
        yield rest


class UsageChunkFilter:
    """An event stream without the chunks for which `is_usage_chunk` is true; all other bytes as they come.

    It holds back nothing but an event that is not yet complete, of which a client could do nothing. From an event of
    more than `limit` bytes on, all passes as it is, since it may no longer be an event stream.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._parser: SseParser | None = SseParser(limit)
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """What goes on of the stream after this piece; b"" if nothing does yet."""
        if self._parser is None:
            return piece
        if not self._held and piece.endswith(b"\n\n") and _USAGE.search(piece) is None:
            return piece
        self._held += piece
        passed = []
        try:
            for event in self._parser.feed(piece):
                self._held = self._held[len(event.raw) :]
                passed.append(b"" if _has_usage_chunk(event) else event.raw)
        except StreamError:
            self._parser = None
            passed.append(self._release())
        return b"".join(passed)

    def end(self) -> bytes:
        """The rest of the stream: an event without its end."""
        events = [] if self._parser is None else [*self._parser.end()]
        rest = self._release()
        return b"" if any(map(_has_usage_chunk, events)) else rest

    def _release(self) -> bytes:
        held, self._held = self._held, b""
        return held


def _has_usage_chunk(event: SseEvent) -> bool:
    return event.data is not None and _USAGE.search(event.raw) is not None and is_usage_chunk(parse_json(event.data))
