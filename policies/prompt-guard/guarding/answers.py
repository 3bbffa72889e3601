"""The checks of an answer: streamed, event by event with a bounded hold-back, or whole, before any of it leaves.

An answer is read as the shape of its request; what it is shows its content type, or else its first bytes.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Literal

from sdk import charsets
from sdk.llm import EventFilter, Shape, TextPlace, answer_places, text_places
from sdk.masking import MaskedStrings, Masking, read_json, write_json
from sdk.policy import Chunks
from sdk.streams import LIMIT, SseEvent, StreamError, sse_events

from .refusals import stream_end
from .verdicts import BlockedError, GuardedText, Verdicts

Kind = Literal["events", "json", "text", "other"]
_BLANK = b"\xef\xbb\xbf \t\r\n"
_EVENT_BEGINNINGS = (b"data:", b"event:", b"id:", b"retry:", b":")


class UnreadableError(Exception):
    """An answer cannot be checked. The text quotes nothing of it."""


class Guard:
    """What an answer is checked by. Both maskings None: nothing is."""

    def __init__(self, acting: Masking | None, observing: Masking | None, verdicts: Verdicts) -> None:
        self.acting, self.observing, self.verdicts = acting, observing, verdicts
        self._acting_strings = None if acting is None else MaskedStrings(acting)
        self._observing_strings = None if observing is None else MaskedStrings(observing)

    def new_text(self) -> GuardedText:
        return GuardedText(self.acting, self.observing, self.verdicts)

    async def filter_strings(self, holder: list[Any]) -> bool:
        if self._observing_strings is not None:
            await self._observing_strings.mask(holder)
        return self._acting_strings is not None and await self._acting_strings.mask(holder)


async def guard_answer(
    chunks: Chunks, content_type: str, shape: Shape, guard: Guard, limit: int, *, passes_others: bool
) -> Chunks:
    """The checked answer. BlockedError: it is to be replaced, and nothing of it has left; a stream of events that has
    begun ends with events that say so instead. UnreadableError: it cannot be checked."""
    kind, rest = await kind_of(chunks, content_type)
    if kind == "events":
        checked = guard_events(rest, shape, guard)
    elif kind == "other" and passes_others:
        checked = rest
    elif kind == "other":
        raise UnreadableError("expected JSON, events or text")
    else:
        checked = guard_whole(rest, kind, content_type, guard, limit)
    async for chunk in checked:
        yield chunk


async def kind_of(chunks: Chunks, content_type: str) -> tuple[Kind, Chunks]:
    """What the answer is, and all its chunks."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "text/event-stream":
        return "events", chunks
    if media_type.endswith(("/json", "+json")):
        return "json", chunks
    first = bytearray()
    async for chunk in chunks:
        first += chunk
        if len(first.lstrip(_BLANK)) >= max(map(len, _EVENT_BEGINNINGS)):
            return _kind_of_bytes(bytes(first).lstrip(_BLANK), media_type), _behind(bytes(first), chunks)
    return _kind_of_bytes(bytes(first).lstrip(_BLANK), media_type), _only(bytes(first))


def _kind_of_bytes(first: bytes, media_type: str) -> Kind:
    if first[:1] in (b"{", b"["):
        return "json"
    if first.startswith(_EVENT_BEGINNINGS):
        return "events"
    return "text" if not first or not media_type or media_type.startswith("text/") else "other"


async def _only(content: bytes) -> AsyncIterator[bytes]:
    if content:
        yield content


async def _behind(first: bytes, chunks: Chunks) -> AsyncIterator[bytes]:
    yield first
    async for chunk in chunks:
        yield chunk


# ------------------------------------------------------------------ streamed


async def guard_events(chunks: Chunks, shape: Shape, guard: Guard) -> Chunks:
    events = EventFilter(guard.new_text, guard.filter_strings)
    sequence = 0
    try:
        async for event in sse_events(chunks, LIMIT):
            if event.is_whole:  # clients ignore an event without its end
                for piece in await events.feed(event):
                    yield piece
                sequence = _sequence_after(event, shape, sequence)
        for piece in events.end():
            yield piece
    except BlockedError as blocked:
        yield stream_end(shape, f"the gateway ended this answer: {blocked.rule} of {blocked.check}", sequence)
    except StreamError:
        guard.verdicts.add("text", "unreadable", "block")
        yield stream_end(shape, f"the gateway ended this answer: an event of more than {LIMIT} bytes", sequence)


def _sequence_after(event: SseEvent, shape: Shape, last: int) -> int:
    """The sequence number after this event: events of responses have one."""
    if shape != "responses" or not event.data:
        return last
    try:
        number = json.loads(event.data).get("sequence_number")
    except (ValueError, AttributeError, RecursionError):
        return last
    return number + 1 if isinstance(number, int) else last


# ------------------------------------------------------------------ whole


async def guard_whole(chunks: Chunks, kind: Kind, content_type: str, guard: Guard, limit: int) -> Chunks:
    content = bytearray()
    async for chunk in chunks:
        content += chunk
        if len(content) > limit:
            raise UnreadableError(f"expected an answer of at most {limit} bytes")
    body = bytes(content)
    if not body.strip():
        yield body
        return
    try:
        charset = charsets.of_content_type(content_type)
        text, codec = charsets.decode(body, charset), charsets.detect(body, charset)
        checked = await (guard_document(text, guard) if kind == "json" else guard_plain(text, guard))
    except charsets.CharsetError as error:
        raise UnreadableError(str(error)) from None
    except (ValueError, RecursionError):
        raise UnreadableError("expected JSON") from None
    yield body if checked is None else checked.encode(codec)


async def guard_plain(text: str, guard: Guard) -> str | None:
    """The changed text; None: nothing has changed."""
    holder = [text]
    return holder[0] if await guard.filter_strings(holder) else None


async def guard_document(text: str, guard: Guard) -> str | None:
    """The changed document: without what rules redact in its texts, each as a whole, and in all other strings. None:
    nothing has changed. ValueError: it is no JSON."""
    document, has_duplicates = read_json(text)
    texts: dict[Any, list[TextPlace]] = {}
    for item in document if isinstance(document, list) else [document]:  # Gemini streams an array
        for place in (*text_places(item), *answer_places(item)):
            texts.setdefault(place.key, []).append(place)
    values = {key: [place.text for place in places] for key, places in texts.items()}
    for places in texts.values():
        for place in places:
            place.holder[place.name] = ""
    holder = [document]
    changed = await guard.filter_strings(holder) or has_duplicates
    for key, places in texts.items():
        joined = ["".join(values[key])]
        is_changed = await guard.filter_strings(joined)
        changed |= is_changed
        for number, place in enumerate(places):
            value = joined[0] if number == 0 else ""
            place.holder[place.name] = value if is_changed else values[key][number]
    return write_json(holder[0]) if changed else None
