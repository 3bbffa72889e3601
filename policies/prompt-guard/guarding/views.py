"""Views of a text in which patterns are searched: what a model reads, although the characters hide it.

A text of printable ASCII has one view, itself. Any other has up to four:

- the text as it came;
- cleaned: compatible characters in their plain form (NFKC, each character separately), without invisible ones: format
  characters such as zero-width spaces and bidi controls, control characters, variation selectors, fillers, tags;
- latin: the cleaned one with Cyrillic, Greek and other letters that look like Latin ones as those;
- hidden: what tag characters spell (U+E0020 to U+E007E), unless they belong to a flag.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

SEPARATOR = "\ufffc"
"""Stands in the hidden view where the text has visible characters, so that no match goes over them."""
_PLAIN = re.compile(r"[\t\n\r\x20-\x7e]*")
_UNIT = re.compile("[\ud800-\udbff][\udc00-\udfff]|[^\t\n\r\x20-\x7e]")
"""A character to look at; halves of a surrogate pair, which JSON may bring separately, are one."""
_SURROGATES = re.compile("[\ud800-\udfff]")
_FILLERS = {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0}
_SELECTORS = (range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
_TAGS = range(0xE0000, 0xE0080)
_SPELT_TAGS = range(0xE0020, 0xE007F)
_BLACK_FLAG = "\U0001f3f4"
# ruff: noqa: RUF001 - letters that look alike are what this table is about
_LOOK_ALIKES = {
    **dict(zip("АВЕЅІЈКМНОРСТУХԌԚԜҮаеѕіјорсухԁԛԝһӏгпвкмнт", "ABESIJKMHOPCTYXGQWYaesijopcyxdqwhlrnbkmht", strict=True)),
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαεικνορτυχγ", "ABEZHIKMNOPTYXaeikvoptuxy", strict=True)),
    **dict(zip("ᴀıɑɡɩɪʀᴄᴅᴇɢʜᴊᴋʟᴍɴᴏᴘᴛᴜᴠᴡʏᴢꜱ", "aiagiircdeghjklmnoptuvwyzs", strict=True)),
    **dict(zip("ᏟᎪᎬᎻᎢᏔᏚᏢᏦᏃᎷ", "CAEHTWSPKZM", strict=True)),
}


@dataclass(frozen=True, slots=True)
class View:
    """A view of a source text. positions: where each of its characters stands there; None: at the same place.

    end: the length of the source, without the first half of a surrogate pair whose second may follow.
    """

    text: str
    positions: Sequence[int] | None
    end: int

    def at(self, position: int) -> int:
        """The first character of the view that stands at the source's `position` or behind it."""
        return position if self.positions is None else bisect_left(self.positions, position)

    def source(self, index: int) -> int:
        """Where the view's character stands in the source; for the view's end, the end of the source."""
        if index >= len(self.text):
            return self.end
        return index if self.positions is None else self.positions[index]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The span in the source of the view's characters from `start` to before `end`."""
        return self.source(start), self.source(end - 1) + 1


@lru_cache(maxsize=4)  # the rules of an attachment search the same text, one after the other
def views(text: str) -> tuple[View, ...]:
    if _PLAIN.fullmatch(text):
        return (View(text, None, len(text)),)
    end = len(text) - ("\ud800" <= text[-1] <= "\udbff")
    searchable = _SURROGATES.sub("\ufffd", text)  # RE2 accepts only UTF-8
    return (View(searchable, None, end), *_changed_views(text, searchable, end))


def _changed_views(text: str, searchable: str, end: int) -> list[View]:
    cleaned, latin, hidden = _Writer(), _Writer(), _Writer()
    at, in_flag = 0, False
    for unit in _UNIT.finditer(text):
        if unit.start() > at:
            _copy(text, at, unit.start(), cleaned, latin, hidden)
            in_flag = False
        at = unit.end()
        character = _joined(unit[0])
        if ord(character) in _TAGS:
            if ord(character) in _SPELT_TAGS and not in_flag:
                hidden.add(chr(ord(character) - 0xE0000), unit.start())
            continue
        in_flag = character == _BLACK_FLAG or (in_flag and is_invisible(character))
        if not is_invisible(character):
            plain = unicodedata.normalize("NFKC", character)
            cleaned.add("".join(part for part in plain if not is_invisible(part)), unit.start())
            latin.add("".join(_LOOK_ALIKES.get(part, part) for part in plain if not is_invisible(part)), unit.start())
            hidden.separate(unit.start())
    _copy(text, at, len(text), cleaned, latin, hidden)
    found = [cleaned.view(end)]
    if latin.text() != cleaned.text():
        found.append(latin.view(end))
    if hidden.text().strip(SEPARATOR):
        found.append(hidden.view(end))
    return [view for view in found if view.text != searchable or view.positions is None]


def _copy(text: str, start: int, end: int, cleaned: _Writer, latin: _Writer, hidden: _Writer) -> None:
    if start < end:
        cleaned.copy(text, start, end)
        latin.copy(text, start, end)
        hidden.separate(start)


def _joined(unit: str) -> str:
    if len(unit) == 1:
        return unit
    return chr(0x10000 + ((ord(unit[0]) - 0xD800) << 10) + (ord(unit[1]) - 0xDC00))


def is_invisible(character: str) -> bool:
    code = ord(character)
    if code in _FILLERS or any(code in selectors for selectors in _SELECTORS):
        return True
    return character not in "\t\n\r" and unicodedata.category(character) in ("Cf", "Cc", "Cs")


class _Writer:
    def __init__(self) -> None:
        self._parts: list[str] = []
        self._positions: list[int] = []

    def add(self, characters: str, position: int) -> None:
        self._parts.append(characters)
        self._positions.extend([position] * len(characters))

    def copy(self, text: str, start: int, end: int) -> None:
        self._parts.append(text[start:end])
        self._positions.extend(range(start, end))

    def separate(self, position: int) -> None:
        if self._parts[-1:] != [SEPARATOR]:
            self.add(SEPARATOR, position)

    def text(self) -> str:
        return "".join(self._parts)

    def view(self, end: int) -> View:
        return View(self.text(), self._positions, end)
