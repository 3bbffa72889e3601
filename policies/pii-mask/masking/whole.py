"""Masks texts that are searched as a whole, since Presidio judges a value by the text around it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sdk.masking import SLICE, Masking, Span

if TYPE_CHECKING:
    from masking.presidio import Finder
else:
    from .presidio import Finder


@dataclass(frozen=True, slots=True)
class Found:
    """The detector of an entity in the one text in which these spans were found."""

    name: str
    spans: Sequence[Span]
    longest: int = 0

    def find(self, _: str, at: int) -> Iterator[Span]:
        """Of a span that begins before `at`, the rest: what another detector has found there has its beginning."""
        return ((max(start, at), end) for start, end in self.spans if end > at)

    def held_from(self, text: str, _: int) -> int:
        return len(text)


@dataclass(frozen=True, slots=True)
class WholeMasking:
    """Masks what the detectors of `masking` and Presidio find."""

    masking: Masking
    finder: Finder

    def mask(self, text: str) -> str:
        return self._with(self.finder.find_now(text)).mask(text)

    async def mask_text(self, text: str) -> str:
        """Like `mask`, while the event loop does other work."""
        masking = self._with(await self.finder.find(text))
        return masking.mask(text) if len(text) <= SLICE else await asyncio.to_thread(masking.mask, text)

    def _with(self, found: Mapping[str, Sequence[Span]]) -> Masking:
        detectors = [Found(entity, spans) for entity, spans in found.items()]
        return replace(self.masking, detectors=[*self.masking.detectors, *detectors])
