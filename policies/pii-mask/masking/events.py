"""Masks server-sent events in which a model's text comes token by token, by the filter of `sdk.llm`."""

from __future__ import annotations

from sdk.llm import EventFilter
from sdk.masking import MaskedStrings, MaskedText, Masking
from sdk.policy import Chunks
from sdk.streams import sse_events

from .bodies import Places


async def mask_events(chunks: Chunks, masking: Masking, places: Places, limit: int) -> Chunks:
    events = EventFilter(lambda: MaskedText(masking), MaskedStrings(masking, places.has).mask)
    async for event in sse_events(chunks, limit):
        if event.is_whole:  # clients ignore an event without its end
            for piece in await events.feed(event):
                yield piece
    for piece in events.end():
        yield piece
