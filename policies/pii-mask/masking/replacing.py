"""Detectors and what stands in the place of what they find → a text without it, as a whole or piece by piece."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .detectors import Detector, Span

Replace = Callable[[str], str]
DIGEST = 16
"""Hex digits of a hash that are shown."""


@dataclass(frozen=True, slots=True)
class Masking:
    """What an attachment masks, in one direction.

    replaced: by the detector's name. count: is told the name of each that is replaced.
    beginnings: of each, what a match may begin with (None: anything), and how many characters may be looked at.
    """

    detectors: Sequence[Detector]
    replaced: dict[str, Replace]
    count: Callable[[str], None]
    beginnings: list[tuple[re.Pattern[str] | None, int]]
    longest: int

    def masked(self, text: str) -> str:
        """A text that is whole."""
        return self.replaced_until(text, 0, len(text))[0]

    def replaced_until(self, text: str, at: int, final: int) -> tuple[str, int]:
        """What the text from `at` on comes to, and where that ends: at `final`, or with a match that begins before."""
        parts = []
        for (start, end), detector in self.found(text, at):
            if start >= final:
                break
            self.count(detector.name)
            parts += [text[at:start], self.replaced[detector.name](text[start:end])]
            at = end
        until = max(at, final)
        return "".join([*parts, text[at:until]]), until

    def found(self, text: str, at: int) -> Iterator[tuple[Span, Detector]]:
        """From left to right: of those that overlap, the one that begins first, and of these the longest."""
        searches = [each.find(text, at) for each in self.detectors]
        spans = [next(each, None) for each in searches]
        while True:
            there = [(span, -order) for order, span in enumerate(spans) if span is not None]
            if not there:
                return
            span, order = max(there, key=lambda each: (-each[0][0], each[0][1], each[1]))
            yield span, self.detectors[-order]
            for number, other in enumerate(spans):
                if other is not None and other[0] < span[1]:
                    if other != span:
                        searches[number] = self.detectors[number].find(text, span[1])
                    spans[number] = next(searches[number], None)


def masking(detectors: Sequence[Detector], replaced: dict[str, Replace], count: Callable[[str], None]) -> Masking:
    beginnings = [
        (None if each.begins is None else re.compile(rf"(?:{each.begins})\Z"), each.longest) for each in detectors
    ]
    return Masking(detectors, replaced, count, beginnings, max(each.longest for each in detectors))


class MaskedText:
    """A text that comes in pieces: what goes on does not depend on where they were cut.

    What may be the beginning of a match is kept until more comes, at most the characters of the longest.
    """

    def __init__(self, of: Masking) -> None:
        self._of = of
        self._seen = ""  # what detectors look back at
        self._kept = ""

    def feed(self, piece: str) -> Iterator[str]:
        return self._go_on(self._kept + piece, is_end=False)

    def end(self) -> Iterator[str]:
        return self._go_on(self._kept, is_end=True)

    def _go_on(self, new: str, *, is_end: bool) -> Iterator[str]:
        text, at = self._seen + new, len(self._seen)
        result, until = self._of.replaced_until(text, at, len(text) if is_end else self._final(text, at))
        self._seen, self._kept = text[max(0, until - self._of.longest) : until], text[until:]
        if result:
            yield result

    def _final(self, text: str, at: int) -> int:
        """Where a match that begins earlier cannot change any more, whatever comes."""
        final = len(text)
        for begins, longest in self._of.beginnings:
            first = max(at, len(text) - longest)
            if begins is None:
                final = min(final, first)
            elif found := begins.search(text, first):
                final = min(final, found.start())
        return final


# ------------------------------------------------------------------ what stands in its place


def fixed(text: str) -> Replace:
    return lambda _: text


def keep_last(count: int) -> Replace:
    """`**** **** **** 1111`: separators stay, and at most half of the rest does."""

    def replace(value: str) -> str:
        places = [at for at, each in enumerate(value) if each.isalnum()]
        hidden = set(places[: len(places) - min(count, len(places) // 2)])
        return "".join("*" if at in hidden else each for at, each in enumerate(value))

    return replace


def hashed(name: str, key: bytes) -> Replace:
    """`email:9f86d081884c7d65`: the same for the same value under the same key, whatever its case and separators."""

    def replace(value: str) -> str:
        plain = "".join(each for each in value.lower() if each.isalnum() or each in "@.:+_%'")
        digest = hmac.new(key, f"{name}\0{plain}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
        return f"{name}:{digest[:DIGEST]}"

    return replace
