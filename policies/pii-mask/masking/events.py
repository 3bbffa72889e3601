"""Masks server-sent events in which a model's text comes token by token, and follows the text from event to event.

It knows the deltas of chat completions and completions, of messages, of responses, and of candidates: text, and the
arguments of tool calls. Data that is no JSON is one text. All other strings of an event are masked separately. Each
event goes on at once. Text that may be the beginning of a match is held back: it goes with the next event, or, if the
text ends, in an event of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

from sdk.policy import Chunks
from sdk.streams import SseEvent, sse_events

from .bodies import SLICE, Places, mask_strings, read_json, write_json
from .replacing import MaskedText, Masking

Json = dict[str, Any]
Key = tuple[Hashable, ...]
"""Identifies a text: its kind, the index of its choice, block or candidate, and more."""
PLAIN: Key = ("plain", None)
"""The key of the text of data that is no JSON."""
LAST = "[DONE]"
MAX_TEXTS = 64
"""The most texts that are followed at once; a further text ends the oldest."""


@dataclass(frozen=True, slots=True)
class Part:
    """The place of a part of a text: its object, the member's name there, and the text's key."""

    holder: Json
    name: str
    key: Key


async def mask_events(chunks: Chunks, masking: Masking, places: Places, limit: int) -> Chunks:
    events = _Events(masking, places)
    async for event in sse_events(chunks, limit):
        if event.is_whole:  # clients ignore an event without its end
            for piece in await events.feed(event):
                yield piece
    for piece in events.end(events.keys()):
        yield piece


class _Events:
    def __init__(self, masking: Masking, places: Places) -> None:
        self._masking, self._places = masking, places
        self._texts: dict[Key, _Text] = {}

    def keys(self) -> set[Key]:
        return set(self._texts)

    async def feed(self, event: SseEvent) -> list[bytes]:
        if event.data is None:
            return [event.raw]
        document, has_duplicates = _parse(event.data)
        if event.data == LAST:
            return [*self.end(self.keys()), event.raw]
        if not isinstance(document, dict | list):
            return [*self.end(self.keys() - {PLAIN}), await self._mask_plain(event, event.data)]
        parts = list(_parts(document))
        ended = set(_ends(document))
        rests = self.end({key for key in self._texts if key[:2] in ended} - {part.key for part in parts} | {PLAIN})
        masked = await self._mask_document(event, document, parts, has_duplicates)
        finished = self.end({key for key in self._texts if key[:2] in ended} | {*list(self._texts)[:-MAX_TEXTS]})
        return [*rests, masked, *finished]

    def end(self, keys: set[Key]) -> list[bytes]:
        """Ends these texts. Returns events like their last ones, with the text that was held back."""
        rests = [self._texts.pop(key).rest_event() for key in list(self._texts) if key in keys]
        return [rest for rest in rests if rest]

    async def _mask_plain(self, event: SseEvent, data: str) -> bytes:
        text = self._text(PLAIN)
        holder = {"data": await text.feed(data)}
        encoded = event.with_data(holder["data"]).encode()
        text.remember(event, holder, [], Part(holder, "data", PLAIN))
        return encoded

    async def _mask_document(self, event: SseEvent, document: Any, parts: list[Part], has_duplicates: bool) -> bytes:
        values = [part.holder[part.name] for part in parts]
        for part in parts:
            part.holder[part.name] = ""
        changed = await mask_strings([document], self._masking, self._places) or has_duplicates
        for part, value in zip(parts, values, strict=True):
            masked = await self._text(part.key).feed(value)
            part.holder[part.name] = masked
            changed |= masked != value
        encoded = event.with_data(write_json(document)).encode() if changed else event.raw
        for part in parts:
            self._texts[part.key].remember(event, document, parts, part)
        return encoded

    def _text(self, key: Key) -> _Text:
        if key not in self._texts:
            self._texts[key] = _Text(self._masking)
        return self._texts[key]


class _Text:
    """A text that comes in parts, and the event of its last part."""

    def __init__(self, masking: Masking) -> None:
        self._stream = MaskedText(masking)

    async def feed(self, value: str) -> str:
        parts: list[str] = []
        for at in range(0, len(value), SLICE):
            parts += self._stream.feed(value[at : at + SLICE])
            await asyncio.sleep(0)
        return "".join(parts)

    def rest(self) -> str:
        return "".join(self._stream.end())

    def remember(self, event: SseEvent, document: Any, parts: list[Part], place: Part) -> None:
        self._event, self._document, self._parts, self._place = event, document, parts, place

    def rest_event(self) -> bytes:
        """An event with the text held back; b"" if there is none."""
        rest = self.rest()
        if not rest:
            return b""
        for part in self._parts:
            part.holder[part.name] = ""
        self._place.holder[self._place.name] = rest
        is_plain = self._place.key == PLAIN
        return self._event.with_data(rest if is_plain else write_json(self._document)).encode()


# ------------------------------------------------------------------ the places of models' texts


def _parts(document: Any) -> Iterator[Part]:
    if not isinstance(document, dict):
        return
    for choice in _objects(document.get("choices")):
        at = choice.get("index")
        yield from _strings(choice, ("text",), "choice", at)
        message = _object(choice.get("delta"))
        yield from _strings(message, ("content", "refusal", "reasoning_content"), "choice", at)
        for call in _objects(message.get("tool_calls")):
            yield from _strings(_object(call.get("function")), ("arguments",), "choice", at, call.get("index"))
    delta = document.get("delta")
    if isinstance(delta, str):
        yield Part(document, "delta", _item(document, document.get("type")))
    yield from _strings(_object(delta), ("text", "partial_json", "thinking"), "block", document.get("index"))
    for candidate in _objects(document.get("candidates")):
        for number, part in enumerate(_objects(_object(candidate.get("content")).get("parts"))):
            yield from _strings(part, ("text",), "candidate", candidate.get("index"), number)


def _ends(document: Any) -> Iterator[Key]:
    """The first two items of the keys of texts that end with or before this document."""
    if not isinstance(document, dict):
        return
    for kind, place, reason in (("choice", "choices", "finish_reason"), ("candidate", "candidates", "finishReason")):
        for item in _objects(document.get(place)):
            if item.get(reason) is not None:
                yield kind, _hashable(item.get("index"))
    event_type = document.get("type")
    if event_type == "content_block_stop":
        yield "block", _hashable(document.get("index"))
    elif isinstance(event_type, str) and event_type.endswith(".done"):
        yield _item(document, event_type.removesuffix("done") + "delta")


def _strings(holder: Json, names: tuple[str, ...], kind: str, index: Any, *more: Any) -> Iterator[Part]:
    for name in names:
        if isinstance(holder.get(name), str):
            yield Part(holder, name, (kind, _hashable(index), name, *map(_hashable, more)))


def _item(document: Json, kind: Any) -> Key:
    names = ("item_id", "output_index", "content_index")
    return "delta", (_hashable(kind), *(_hashable(document.get(name)) for name in names))


def _hashable(value: Any) -> Hashable:
    return value if isinstance(value, str | int | None) else repr(value)


def _objects(value: Any) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _parse(data: str) -> tuple[Any, bool]:
    """Like read_json, with None for data that is no JSON."""
    try:
        return read_json(data)
    except (ValueError, RecursionError):
        return None, False
