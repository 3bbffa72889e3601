"""Masks server-sent events in which a model's text comes token by token, and follows the text from event to event.

`sdk.llm` knows the places of texts in the events of all providers: text, reasoning, and the arguments of tool calls.
Data that is no JSON is one text. All other strings of an event are masked separately. Each event goes on at once. Text
that may be the beginning of a match is held back: it goes with the next event, or, if the text ends, in an event of its
own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Any

from sdk.llm import TextPlace, ended_texts, text_places
from sdk.policy import Chunks
from sdk.streams import SseEvent, sse_events

from .bodies import SLICE, Places, mask_strings, read_json, write_json
from .replacing import MaskedText, Masking

Key = tuple[Hashable, ...]
"""Identifies a text: its kind, the index of its choice, block or candidate, and more."""
PLAIN: Key = ("plain", None)
"""The key of the text of data that is no JSON."""
LAST = "[DONE]"
MAX_TEXTS = 64
"""The most texts that are followed at once; a further text ends the oldest."""


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
        parts = list(text_places(document))
        ended = set(ended_texts(document))
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
        text.remember(event, holder, [], TextPlace(holder, "data", PLAIN, "other"))
        return encoded

    async def _mask_document(
        self, event: SseEvent, document: Any, parts: list[TextPlace], has_duplicates: bool
    ) -> bytes:
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

    def remember(self, event: SseEvent, document: Any, parts: list[TextPlace], place: TextPlace) -> None:
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


def _parse(data: str) -> tuple[Any, bool]:
    """Like read_json, with None for data that is no JSON."""
    try:
        return read_json(data)
    except (ValueError, RecursionError):
        return None, False
