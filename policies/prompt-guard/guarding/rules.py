"""Rules of an author: patterns and words, compiled to detectors of `sdk.masking`, which RE2 searches in linear time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import re2
from sdk.masking import Span, beginning_of_matches, longest_match

from .views import SEPARATOR, View, views

Json: TypeAlias = dict[str, Any]
Action = Literal["block", "redact", "log"]
Direction = Literal["request", "response"]
LARGEST_PROGRAM = 4000
"""The most instructions of RE2's program, since a count such as `{200}` makes many of a few characters."""
ANYTHING = r"(?s).*\z"
LARGEST_BEGINNING = 2000
"""The most of a program that is run for each event, of a pattern with counts: RE2 needs tens of milliseconds where its
memory is too small."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A detector of one pattern, in all views of a text.

    width: the most characters of a match in a view. beginning: a pattern that matches the beginning of a match at a
    text's end, which is held back.
    """

    name: str
    pattern: Any
    width: int
    beginning: Any
    action: Action
    directions: frozenset[str]
    roles: frozenset[str]

    @property
    def longest(self) -> int:
        return self.width + 1

    def find(self, text: str, at: int) -> Iterator[Span]:
        found: list[Span] = []
        for view in views(text):
            found += (view.span(*match.span()) for match in self._matches(view, at))
        last = at
        for start, end in sorted(found, key=lambda span: (span[0], -span[1])):
            if start >= last:
                yield start, end
                last = end

    def _matches(self, view: View, at: int) -> Iterator[Any]:
        for match in self.pattern.finditer(view.text, view.at(at)):
            if match.end() > match.start() and SEPARATOR not in match[0]:
                yield match

    def held_from(self, text: str, at: int) -> int:
        return max(at, min(view.source(self._held_index(view.text)) for view in views(text)))

    def _held_index(self, text: str) -> int:
        first = max(0, len(text) - self.longest, text.rfind(SEPARATOR) + 1)
        return int(self.beginning.search(text, first).start())

    def has_match(self, text: str) -> bool:
        return next(self.find(text, 0), None) is not None


def compile_rules(entries: Iterable[Json], *, mode: str = "enforce") -> tuple[Rule, ...]:
    """The rules of a list of parameters. ValueError: a pattern cannot be used, or two rules have one name."""
    rules = tuple(_compile(entry, mode) for entry in entries)
    names = [rule.name for rule in rules]
    if duplicates := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"expected a name of its own for each rule, got {', '.join(duplicates)} again")
    return rules


def _compile(entry: Json, mode: str) -> Rule:
    name = entry["name"]
    if "regex" in entry:
        pattern, width = entry["regex"], longest_match(name, entry["regex"])
    else:
        pattern, width = pattern_of_words(entry["words"]), max(map(len, entry["words"]))
    compiled = compile_pattern(name, pattern)
    if compiled.programsize > LARGEST_PROGRAM:
        raise ValueError(f"expected a smaller pattern, got {name}: {pattern[:64]!r}…: write it with smaller counts")
    beginning = compile_pattern(name, beginning_of_matches(pattern))
    if "regex" in entry and beginning.programsize > LARGEST_BEGINNING:
        beginning = compile_pattern(name, ANYTHING)  # the width is held back
    action: Action = "log" if mode == "log" else entry.get("action", "block")
    roles = frozenset(entry.get("roles", ("system", "user", "assistant", "tool")))
    directions = frozenset(entry.get("directions", ("request", "response")))
    return Rule(name, compiled, width, beginning, action, directions, roles)


def pattern_of_words(words: Iterable[str]) -> str:
    """A pattern of whole words, in any case: a letter or digit of ASCII before or after them makes another word."""
    parts = []
    for word in sorted(words, key=len, reverse=True):
        before = r"\b" if is_word_character(word[0]) else ""
        after = r"\b" if is_word_character(word[-1]) else ""
        parts.append(before + re2.escape(word) + after)
    return f"(?i)(?:{'|'.join(parts)})"


def is_word_character(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character == "_")


def compile_pattern(name: str, pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False  # the ValueError reports them
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        words = reason.decode() if isinstance(reason, bytes) else reason
        raise ValueError(f"expected a pattern of RE2's syntax, got {name}: {pattern!r}: {words}") from None
