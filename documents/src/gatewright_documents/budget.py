"""How much a document may hold, counted as its parser reads it: a larger one is never built in memory."""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from gatewright_documents.mistake import Invalid, Mistake, Unreadable, shown

MAX_VALUES = 50_000
MAX_DEPTH = 100
MAX_KEY = 1000
MAX_NUMBER = 100
"""Characters of a number: more than any that a policy could compute with, and few enough to be read at once."""
MORE_TEXT = 1024 * 1024
"""So many characters more than it has bytes may a document have, once its aliases are written out."""


def too_many_values(line: int = 0, most: int = MAX_VALUES) -> Unreadable:
    """More values than `most`. line: where the first of these stands, 0 where it is not known."""
    expected = f"at most {most} values, aliases written out"
    return Unreadable([Mistake.expecting(expected, cure="make it smaller", line=line)])


def too_deep(line: int = 0) -> Invalid:
    """Nested deeper than MAX_DEPTH."""
    expected = f"a document nested at most {MAX_DEPTH} deep"
    return Invalid([Mistake.expecting(expected, cure="nest less deep", line=line)])


def long_key(key: str, line: int = 0) -> Mistake:
    """A key of more than MAX_KEY characters."""
    return Mistake.expecting(f"keys of at most {MAX_KEY} characters", shown(key), "shorten it", line=line)


def long_number(line: int = 0) -> Mistake:
    """A number of more than MAX_NUMBER characters."""
    return Mistake.expecting(f"numbers of at most {MAX_NUMBER} digits", cure="quote it", line=line)


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come: its anchor, and what had been counted before it."""

    anchor: str | None
    values: int
    characters: int


class Budget:
    """Counts the events of a YAML parser. `size`: bytes of the document. `most_values`: that it may have.

    Aliases count as what they stand for, which is what costs memory and time later.
    """

    def __init__(self, size: int, most_values: int = MAX_VALUES) -> None:
        self._most_characters, self._most_values = size + MORE_TEXT, most_values
        self._values = self._characters = 0
        self._open: list[_Open] = []
        self._sizes: dict[str, tuple[int, int]] = {}
        """By anchor: values, characters."""

    def count(self, event: yaml.Event) -> None:
        """Raises `Invalid`, with the line, where the event is one too many."""
        match event:
            case yaml.ScalarEvent():
                self._add(1, len(event.value), event)
                if event.anchor is not None:
                    self._sizes[event.anchor] = 1, len(event.value)
            case yaml.AliasEvent():
                self._add(*self._size_behind(event), event)
            case yaml.CollectionStartEvent():
                if len(self._open) >= MAX_DEPTH:
                    raise too_deep(line_of(event))
                self._open.append(_Open(event.anchor, self._values, self._characters))
                self._add(1, 0, event)
            case yaml.CollectionEndEvent():
                ended = self._open.pop()
                if ended.anchor is not None:
                    size = self._values - ended.values, self._characters - ended.characters
                    self._sizes[ended.anchor] = size

    def _size_behind(self, alias: yaml.AliasEvent) -> tuple[int, int]:
        if any(value.anchor == alias.anchor for value in self._open):
            expected, got, cure = "a finite document", "an alias to a value that holds it", "write it out"
        elif alias.anchor not in self._sizes:
            expected, got, cure = "an alias to a value further up", shown(alias.anchor), "write it out"
        else:
            return self._sizes[alias.anchor]
        raise Invalid([Mistake.expecting(expected, got, cure, line=line_of(alias))])

    def _add(self, values: int, characters: int, event: yaml.Event) -> None:
        self._values += values
        self._characters += characters
        if self._values > self._most_values:
            raise too_many_values(line_of(event), self._most_values)
        if self._characters > self._most_characters:
            expected = f"aliases that add at most {MORE_TEXT} characters"
            raise Invalid([Mistake.expecting(expected, cure="make it smaller", line=line_of(event))])


def line_of(event: yaml.Event) -> int:
    """From 1."""
    return event.start_mark.line + 1 if event.start_mark else 0
