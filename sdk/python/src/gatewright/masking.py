"""Finds what detectors know in a text, and replaces it, in the text as a whole or as it comes piece by piece.

    masking = Masking([detector], {detector.name: lambda value: "***"}, count=lambda name: None)
    masking.mask("whole text")
    stream = MaskedText(masking)
    passed = stream.feed("pie") + stream.feed("ces") + stream.end()

The boundaries of pieces do not affect the result: what may be the beginning of a match is held back until more comes,
and no part of a match leaves before it. A function that replaces may raise, which ends the text before the match.
Standard library only.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gatewright.patterns import LONGEST, beginning_of_matches, longest_match

__all__ = [
    "LONGEST",
    "SLICE",
    "Detector",
    "MaskedStrings",
    "MaskedText",
    "Masking",
    "Replace",
    "Span",
    "beginning_of_matches",
    "change_strings",
    "longest_match",
    "mask_slices",
    "mask_strings",
    "read_json",
    "write_json",
]

Span = tuple[int, int]
Replace = Callable[[str], str]
SLICE = 8192
"""The characters to search before the event loop may do other work."""
_MAX_KNOWN, _LONGEST_KNOWN = 64, 256
"""The most strings without a match that MaskedStrings remembers, and the most characters of one."""


class Detector(Protocol):
    """Finds one kind of value."""

    @property
    def name(self) -> str:
        """Its name in metrics, and the key of its replacement."""
        ...

    @property
    def longest(self) -> int:
        """The most characters that it needs before a match, such as for look-behinds."""
        ...

    def find(self, text: str, at: int) -> Iterator[Span]:
        """The spans of the matches that begin at `at` or later, from left to right."""
        ...

    def held_from(self, text: str, at: int) -> int:
        """The position, `at` or later, before which no match can begin that more text would change. The text from there
        on is held back; the text's length holds back nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Masking:
    """Detectors, and by their names what replaces a match. count: called with the name for each replaced match."""

    detectors: Sequence[Detector]
    replacements: Mapping[str, Replace]
    count: Callable[[str], None]

    @property
    def longest(self) -> int:
        return max((detector.longest for detector in self.detectors), default=0)

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

    def held_from(self, text: str, at: int) -> int:
        return min((detector.held_from(text, at) for detector in self.detectors), default=len(text))


class MaskedText:
    """Masks a text that comes in pieces, whose boundaries do not affect the result."""

    def __init__(self, masking: Masking) -> None:
        self._masking = masking
        self._longest = masking.longest
        self._seen = ""  # for look-behinds
        self._pending = ""

    @property
    def held(self) -> int:
        """The characters that are held back."""
        return len(self._pending)

    def feed(self, piece: str) -> str:
        """What goes on of the text after this piece."""
        return self._advance(self._pending + piece, is_end=False)

    def end(self) -> str:
        """The text's rest."""
        return self._advance(self._pending, is_end=True)

    def _advance(self, new: str, *, is_end: bool) -> str:
        text, at = self._seen + new, len(self._seen)
        final = len(text) if is_end else self._masking.held_from(text, at)
        result, until = self._masking.replace_until(text, at, final)
        self._seen, self._pending = text[max(0, until - self._longest) : until], text[until:]
        return result


async def mask_slices(pieces: AsyncIterator[str], masking: Masking) -> AsyncIterator[str]:
    """Masks a text that comes in pieces, and lets other work go on within long ones."""
    stream = MaskedText(masking)
    async for piece in pieces:
        for at in range(0, len(piece), SLICE):
            yield stream.feed(piece[at : at + SLICE])
            await asyncio.sleep(0)
    yield stream.end()


# ------------------------------------------------------------------ JSON


def read_json(body: str | bytes) -> tuple[Any, bool]:
    """Returns the value, and whether an object has a name twice; then the last member counts. ValueError: no JSON;
    RecursionError: too many levels."""
    has_duplicates = False

    def to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal has_duplicates
        members = dict(pairs)
        has_duplicates = has_duplicates or len(members) < len(pairs)
        return members

    return json.loads(body, object_pairs_hook=to_object), has_duplicates


def write_json(value: Any) -> str:
    """Returns JSON in ASCII, since a string may end with half of a surrogate pair, whose other half comes later."""
    return json.dumps(value, separators=(",", ":"))


async def mask_strings(
    holder: list[Any], masking: Masking, selects: Callable[[tuple[str, ...]], bool] = lambda _: True
) -> bool:
    """Masks the strings of the value in `holder`, in place: those whose steps from the value `selects` accepts. Returns
    whether anything was masked."""
    return await change_strings(holder, lambda value: _mask_string(value, masking), selects)


class MaskedStrings:
    """Masks the strings of documents that follow each other, such as the events of a stream, each like `mask_strings`.

    Events repeat most of their strings: the answer's id, the model's name. A short string without a match is remembered
    and not searched again.
    """

    def __init__(self, masking: Masking, selects: Callable[[tuple[str, ...]], bool] = lambda _: True) -> None:
        self._masking, self._selects = masking, selects
        self._without_match: set[str] = set()

    async def mask(self, holder: list[Any]) -> bool:
        """Masks the next document, which is in `holder`, in place. Returns whether anything was masked."""
        return await change_strings(holder, self._mask, self._selects)

    async def _mask(self, value: str) -> str:
        if value in self._without_match:
            return value
        if len(value) > _LONGEST_KNOWN or next(self._masking.matches(value, 0), None) is not None:
            return await _mask_string(value, self._masking)
        if len(self._without_match) >= _MAX_KNOWN:
            self._without_match.clear()
        self._without_match.add(value)
        return value


async def change_strings(
    holder: list[Any],
    change: Callable[[str], Awaitable[str]],
    selects: Callable[[tuple[str, ...]], bool] = lambda _: True,
) -> bool:
    """Like mask_strings, with any change of a string as a whole."""
    is_changed, searched = False, 0
    for container, key, steps in _strings(holder):
        value = container[key]
        if not selects(steps):
            continue
        searched += len(value) + 1
        changed = await change(value)
        if searched > SLICE:
            searched = 0
            await asyncio.sleep(0)
        if changed != value:
            container[key], is_changed = changed, True
    return is_changed


async def _mask_string(value: str, masking: Masking) -> str:
    if len(value) <= SLICE:
        return masking.mask(value)
    return "".join([part async for part in mask_slices(_iterate(value), masking)])


def _strings(holder: list[Any]) -> Iterator[tuple[Any, Any, tuple[str, ...]]]:
    """Yields each string's container, its key there, and the steps that lead to it."""
    waiting: list[tuple[Any, tuple[str, ...], bool]] = [(holder, (), True)]
    while waiting:
        container, steps, is_root = waiting.pop()
        for key, value in list(container.items() if isinstance(container, dict) else enumerate(container)):
            path = steps if is_root else (*steps, str(key))
            if isinstance(value, str):
                yield container, key, path
            elif isinstance(value, dict | list):
                waiting.append((value, path, False))


async def _iterate(value: str) -> AsyncIterator[str]:
    yield value
