"""Cuts an answer into the parts that are read one by one, so that memory is bounded however long the answer is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from gatewright.streams import SseEvent, SseParser, StreamError

_MEMBERS = re.compile(rb'["{}\[\],]')
_NESTED = re.compile(rb'["{}\[\]]')
_STRING_REST = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_MARKS = 3
"""The bytes before a piece with which an event's end may begin: CR LF CR of CR LF CR LF."""


class JsonItem(NamedTuple):
    name: str | None
    """The member's name; None for an item of an array."""
    value: Any


class JsonItems:
    """The members of an object, or the items of an array, each as soon as it is complete. One of more than `limit`
    bytes is skipped, and so is the member `ignored`. What follows the end of the object or the array is not read."""

    def __init__(self, limit: int, ignored: str = "") -> None:
        self._limit = limit
        self._ignored = f'"{ignored}"'.encode() if ignored else None
        self._item = bytearray()
        self._is_skipped = False
        self._depth = 0
        self._is_object = False
        self._in_string = False
        self._is_escaped = False
        self.is_whole = False
        self.is_valid = True
        self.skipped = 0

    def feed(self, piece: bytes) -> Iterator[JsonItem]:
        at = start = 0
        while not self.is_whole and at < len(piece):
            mark, at = self._next_mark(piece, at)
            if mark in (b"{", b"["):
                self._depth += 1
                if self._depth == 1:
                    self._is_object, start = mark == b"{", at
            elif mark in (b"}", b"]", b","):
                self._depth -= mark != b","
                self.is_whole = self._depth == 0
                if self.is_whole or mark == b",":
                    self._add(piece[start : at - 1])
                    start = at
                    yield from self._take()
        if self._depth:
            self._add(piece[start:])

    def _next_mark(self, piece: bytes, at: int) -> tuple[bytes, int]:
        """The next mark of the structure, and the place behind it; b"" if the piece has no more."""
        while at < len(piece):
            if self._in_string:
                at = self._skip_string(piece, at)
                continue
            found = (_MEMBERS if self._depth == 1 else _NESTED).search(piece, at)
            if found is None:
                break
            if found[0] != b'"':
                return found[0], found.end()
            self._in_string, at = True, found.end()
        return b"", len(piece)

    def _skip_string(self, piece: bytes, at: int) -> int:
        """The place behind the string that goes on at `at`, or the end of the piece."""
        rest = _STRING_REST.match(piece, at + self._is_escaped)
        end = rest.end() if rest else len(piece)
        self._is_escaped = piece[end : end + 1] == b"\\"  # whose character comes with the next piece
        self._in_string = piece[end : end + 1] != b'"'
        return end + 1

    def _add(self, part: bytes) -> None:
        if self._is_skipped or (len(self._item) + len(part) > self._limit and self._skip()):
            return
        self._item += part

    def _skip(self) -> bool:
        self._is_skipped = True
        self.skipped += 1
        self._item.clear()
        return True

    def _take(self) -> Iterator[JsonItem]:
        raw, is_skipped = bytes(self._item), self._is_skipped
        self._item.clear()
        self._is_skipped = False
        if is_skipped or not raw.strip() or (self._ignored and raw.lstrip().startswith(self._ignored)):
            return
        try:
            value = json.loads(b"{%s}" % raw if self._is_object else raw)
        except (ValueError, RecursionError):
            self.is_valid = False
            return
        if self._is_object:
            yield from (JsonItem(name, member) for name, member in value.items())
        else:
            yield JsonItem(None, value)


class Events:
    """The events of a stream. One of more than `limit` bytes is skipped.

    is_between: whether all that was fed is of events that have ended; False also where that is not certain.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parser = SseParser(limit)
        self._tail: bytes | None = None  # while it skips: the last bytes, with which the event's end may begin
        self._before = b""
        self.is_between = True
        self.skipped = 0

    def feed(self, piece: bytes) -> Iterator[SseEvent]:
        self.is_between = piece.endswith(b"\n\n")
        size = max(1, self._limit // 2)  # an event that is too long began before the piece in which that shows
        for at in range(0, len(piece), size):
            yield from self._feed_part(piece[at : at + size])

    def end(self) -> Iterator[SseEvent]:
        """The last event, if the stream has ended without its blank line."""
        if self._tail is None:
            yield from self._parser.end()

    def _feed_part(self, part: bytes) -> Iterator[SseEvent]:
        rest: bytes | None = part
        while rest:
            if self._tail is not None:
                rest = self._skip(rest)
                continue
            try:
                yield from self._parser.feed(rest)
                self._before = (self._before + rest)[-_MARKS:]
                return
            except StreamError:
                self.skipped += 1
                self._tail = self._before

    def _skip(self, part: bytes) -> bytes | None:
        """What follows the end of the event that is skipped; None if it goes on."""
        tail = self._tail or b""
        window = tail + part
        found = _EVENT_END.search(window)
        if found is None or (found.end() == len(window) and window.endswith(b"\r")):
            self._tail = window[-_MARKS:]
            return None
        self._tail, self._before, self._parser = None, b"", SseParser(self._limit)
        return window[found.end() :]
