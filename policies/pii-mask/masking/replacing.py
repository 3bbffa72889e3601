"""Replaces the matches of detectors in a text, as a whole or piece by piece."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .detectors import Detector, Span

Replace = Callable[[str], str]
DIGEST = 16
"""The hex digits of a hash that replaces a value."""


@dataclass(frozen=True, slots=True)
class Masking:
    """The detectors and replacements of an attachment in one direction.

    replacements: by the detector's name. count: called with the detector's name for each replaced match.
    beginnings: for each detector, the pattern of beginnings of a match (None: anything), and its `longest`.
    """

    detectors: Sequence[Detector]
    replacements: dict[str, Replace]
    count: Callable[[str], None]
    beginnings: list[tuple[re.Pattern[str] | None, int]]
    longest: int

    def mask(self, text: str) -> str:
        """Masks a whole text."""
        return self.replace_until(text, 0, len(text))[0]

    def replace_until(self, text: str, at: int, final: int) -> tuple[str, int]:
        """Returns the masked text from `at` on, and its end: `final`, or the end of a match that begins before it."""
        parts = []
        for (start, end), detector in self.matches(text, at):
            if start >= final:
                break
            self.count(detector.name)
            parts += [text[at:start], self.replacements[detector.name](text[start:end])]
            at = end
        until = max(at, final)
        return "".join([*parts, text[at:until]]), until

    def matches(self, text: str, at: int) -> Iterator[tuple[Span, Detector]]:
        """Yields matches from left to right: of overlapping ones the first, and of equal starts the longest."""
        searches = [detector.find(text, at) for detector in self.detectors]
        spans = [next(search, None) for search in searches]
        while True:
            candidates = [(span, -order) for order, span in enumerate(spans) if span is not None]
            if not candidates:
                return
            span, order = max(candidates, key=lambda candidate: (-candidate[0][0], candidate[0][1], candidate[1]))
            yield span, self.detectors[-order]
            for number, other in enumerate(spans):
                if other is not None and other[0] < span[1]:
                    if other != span:
                        searches[number] = self.detectors[number].find(text, span[1])
                    spans[number] = next(searches[number], None)


def new_masking(
    detectors: Sequence[Detector], replacements: dict[str, Replace], count: Callable[[str], None]
) -> Masking:
    beginnings = [
        (None if detector.begins is None else re.compile(rf"(?:{detector.begins})\Z"), detector.longest)
        for detector in detectors
    ]
    return Masking(detectors, replacements, count, beginnings, max(detector.longest for detector in detectors))


class MaskedText:
    """Masks a text that comes in pieces, whose boundaries do not affect the result.

    The possible beginning of a match is held back until more comes, at most the length of the longest match.
    """

    def __init__(self, masking: Masking) -> None:
        self._masking = masking
        self._seen = ""  # for look-behinds
        self._pending = ""

    def feed(self, piece: str) -> Iterator[str]:
        return self._advance(self._pending + piece, is_end=False)

    def end(self) -> Iterator[str]:
        return self._advance(self._pending, is_end=True)

    def _advance(self, new: str, *, is_end: bool) -> Iterator[str]:
        text, at = self._seen + new, len(self._seen)
        result, until = self._masking.replace_until(text, at, len(text) if is_end else self._final(text, at))
        self._seen, self._pending = text[max(0, until - self._masking.longest) : until], text[until:]
        if result:
            yield result

    def _final(self, text: str, at: int) -> int:
        """The position before which no match can begin that later pieces would change."""
        final = len(text)
        for begins, longest in self._masking.beginnings:
            first = max(at, len(text) - longest)
            if begins is None:
                final = min(final, first)
            elif match := begins.search(text, first):
                final = min(final, match.start())
        return final


# ------------------------------------------------------------------ replacements


def set_text(text: str) -> Replace:
    return lambda _: text


def keep_last(count: int) -> Replace:
    """`**** **** **** 1111`: keeps separators, and at most half of the other characters."""

    def replace(value: str) -> str:
        places = [at for at, character in enumerate(value) if character.isalnum()]
        hidden = set(places[: len(places) - min(count, len(places) // 2)])
        return "".join("*" if at in hidden else character for at, character in enumerate(value))

    return replace


def hash_values(name: str, key: bytes) -> Replace:
    """`email:9f86d081884c7d65`: the same for the same value under the same key, whatever its case and separators."""

    def replace(value: str) -> str:
        plain = "".join(letter for letter in value.lower() if letter.isalnum() or letter in "@.:+_%'")
        digest = hmac.new(key, f"{name}\0{plain}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
        return f"{name}:{digest[:DIGEST]}"

    return replace
