"""Filters the texts of a model in an event stream, in which they come token by token.

`text_places` knows the pieces of texts in the events of all providers: text, reasoning, and the arguments of tool
calls. Data that is no JSON is one text. All other strings of an event, such as the whole text that some providers
repeat at its end, are for `filter_others`. Each event goes on at once. Text that a filter holds back goes with the next
event of that text, or, if the text ends, in an event of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from gatewright.llm.places import TextKey, TextPlace, ended_texts, text_places
from gatewright.masking import SLICE, read_json, write_json
from gatewright.streams import SseEvent

_PLAIN: TextKey = ("plain", None)
"""The key of the text of data that is no JSON."""
_LAST = "[DONE]"
_MAX_TEXTS = 64
"""The most texts that are followed at once; a further text ends the oldest."""
_LEAST = 256
"""The characters that an event, or a piece of a text, counts as at least: each takes some time however short it is."""


class TextFilter(Protocol):
    """Changes a text that comes in pieces; `masking.MaskedText` is one. It may raise, which ends the stream."""

    def feed(self, piece: str, /) -> str:
        """What goes on of the text after this piece."""
        ...

    def end(self) -> str:
        """The text's rest."""
        ...


class EventFilter:
    """The events of an answer with filtered texts.

    new_text: makes the filter of a text that begins. filter_others: changes the document of an event in place, in which
    the pieces of texts are empty; returns whether it has changed anything. It gets the document in a list.

    What the filters raise goes through `feed` and `end`; then no part of that event has been returned.
    """

    def __init__(
        self, new_text: Callable[[], TextFilter], filter_others: Callable[[list[Any]], Awaitable[bool]]
    ) -> None:
        self._new_text, self._filter_others = new_text, filter_others
        self._texts: dict[TextKey, _Text] = {}
        self._searched = 0  # characters since the event loop could do other work

    async def feed(self, event: SseEvent) -> list[bytes]:
        """The bytes that go on after a whole event."""
        if event.data is None:
            return [event.raw]
        await self._pause_after(0)
        document, has_duplicates = _parse(event.data)
        if event.data == _LAST:
            return [*self.end(), event.raw]
        if not isinstance(document, dict | list):
            return [*self._end({*self._texts} - {_PLAIN}), await self._filter_plain(event, event.data)]
        parts = list(text_places(document))
        ended = set(ended_texts(document))
        rests = self._end({key for key in self._texts if key[:2] in ended} - {part.key for part in parts} | {_PLAIN})
        filtered = await self._filter_document(event, document, parts, has_duplicates)
        finished = self._end({key for key in self._texts if key[:2] in ended} | {*list(self._texts)[:-_MAX_TEXTS]})
        return [*rests, filtered, *finished]

    def end(self) -> list[bytes]:
        """Ends all texts. Returns events like their last ones, with the text that was held back."""
        return self._end({*self._texts})

    def _end(self, keys: set[TextKey]) -> list[bytes]:
        rests = [self._texts.pop(key).rest_event() for key in list(self._texts) if key in keys]
        return [rest for rest in rests if rest]

    async def _filter_plain(self, event: SseEvent, data: str) -> bytes:
        holder = {"data": await self._filter_text(_PLAIN, data)}
        encoded = event.with_data(holder["data"]).encode()
        self._texts[_PLAIN].remember(event, holder, [], TextPlace(holder, "data", _PLAIN, "other"))
        return encoded

    async def _filter_document(
        self, event: SseEvent, document: Any, parts: list[TextPlace], has_duplicates: bool
    ) -> bytes:
        values = [part.text for part in parts]
        for part in parts:
            part.holder[part.name] = ""
        changed = await self._filter_others([document]) or has_duplicates
        for part, value in zip(parts, values, strict=True):
            filtered = await self._filter_text(part.key, value)
            part.holder[part.name] = filtered
            changed |= filtered != value
        encoded = event.with_data(write_json(document)).encode() if changed else event.raw
        for part in parts:
            self._texts[part.key].remember(event, document, parts, part)
        return encoded

    async def _filter_text(self, key: TextKey, value: str) -> str:
        """What goes on of a text after its next piece."""
        if key not in self._texts:
            self._texts[key] = _Text(self._new_text())
        stream, passed = self._texts[key].stream, []
        for at in range(0, len(value), SLICE):
            part = value[at : at + SLICE]
            passed.append(stream.feed(part))
            await self._pause_after(len(part))
        return "".join(passed)

    async def _pause_after(self, size: int) -> None:
        """Lets other work go on after SLICE characters."""
        self._searched += max(_LEAST, size)
        if self._searched >= SLICE:
            self._searched = 0
            await asyncio.sleep(0)


class _Text:
    """A text that comes in parts, and the event of its last part."""

    def __init__(self, stream: TextFilter) -> None:
        self.stream = stream

    def remember(self, event: SseEvent, document: Any, parts: list[TextPlace], place: TextPlace) -> None:
        self._event, self._document, self._parts, self._place = event, document, parts, place

    def rest_event(self) -> bytes:
        """An event with the text held back; b"" if there is none."""
        rest = self.stream.end()
        if not rest:
            return b""
        for part in self._parts:
            part.holder[part.name] = ""
        self._place.holder[self._place.name] = rest
        is_plain = self._place.key == _PLAIN
        return self._event.with_data(rest if is_plain else write_json(self._document)).encode()


def _parse(data: str) -> tuple[Any, bool]:
    """Like read_json, with None for data that is no JSON."""
    try:
        return read_json(data)
    except (ValueError, RecursionError):
        return None, False
