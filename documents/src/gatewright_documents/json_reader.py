"""JSON to plain values: one key stands once, and what JSON in UTF-8 cannot say is refused, with its line.

It ends in bounded time and memory, whatever the bytes are: with a document, or with `Unreadable`.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from functools import partial

from gatewright_documents.budget import (
    MAX_DEPTH,
    MAX_KEY,
    MAX_NUMBER,
    MAX_VALUES,
    long_key,
    long_number,
    too_deep,
    too_many_values,
)
from gatewright_documents.line_tree import LineTree
from gatewright_documents.mistake import Invalid, Mistake, Unreadable, format_path, shown
from gatewright_documents.values import JsonObject, JsonValue
from gatewright_documents.yaml_reader import as_object, not_utf8, read_located_yaml, read_yaml

LARGEST = 10**MAX_NUMBER
SURROGATES = re.compile("[\ud800-\udfff]")
ESCAPED_SURROGATE = re.compile(rb"(?:\\u[dD][89a-fA-F][0-9a-fA-F]{2})+")


def parse_json(body: bytes, expected: str = "an object", most_values: int = MAX_VALUES) -> JsonObject:
    """A JSON object. `expected`: what it should be, in words. `most_values`: that it may have.

    Raises `Unreadable` for anything else, for a key that stands twice, and for NaN.
    """
    try:
        value = json.loads(body, object_pairs_hook=partial(_object, most_values))
        _Writable(most_values).check(value, 0)
        return as_object(value, expected)
    except RecursionError:
        raise Unreadable(too_deep().mistakes) from None
    except json.JSONDecodeError as error:
        wrong = Mistake.expecting(f"a JSON document: {error}", cure="fix the syntax", line=error.lineno)
        raise Unreadable([wrong]) from None
    except UnicodeDecodeError as error:
        raise Unreadable([not_utf8(error)]) from None
    except Unreadable:
        raise
    except Invalid as invalid:
        raise _located(invalid, body) from None
    except ValueError:  # of int(), which takes 4300 digits
        raise _located(Invalid([long_number()]), body) from None


def line_tree(body: bytes, most_values: int = MAX_VALUES) -> LineTree:
    """Where the values stand of a document that has been read, JSON or YAML; at line 0 where that is not known.

    The JSON parser reports no lines. Nearly all JSON is YAML, whose reader does.
    """
    try:
        whole = ESCAPED_SURROGATE.sub(_unescaped, body)  # in halves they are JSON and no YAML
        return read_located_yaml(whole, most_values=most_values)[1]
    except Invalid:
        return LineTree(0)


def _unescaped(escaped: re.Match[bytes]) -> bytes:
    text: str = json.loads(b'"' + escaped[0] + b'"')
    return text.encode("utf-8", "replace")


def _located(invalid: Invalid, body: bytes) -> Unreadable:
    """With the lines that YAML's reader knows of the same mistake, or of the field in which it is."""
    try:
        read_yaml(body)
    except Invalid as found:
        lines = {mistake.message: mistake.line for mistake in found.mistakes}
        if all(mistake.message in lines for mistake in invalid.mistakes):
            return Unreadable([replace(mistake, line=lines[mistake.message]) for mistake in invalid.mistakes])
    return Unreadable(invalid.located(line_tree(body).line_of).mistakes)


def _object(most_values: int, pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    if len(pairs) > most_values:
        raise too_many_values(most=most_values)
    value = dict(pairs)
    if len(value) != len(pairs):
        seen = set[str]()
        for key, _ in pairs:
            if key in seen:
                got = f"{shown(key)} twice"
                raise Invalid([Mistake.expecting("each key once in an object", got, "remove one of the two")])
            seen.add(key)
    return value


class _Writable:
    """Refuses what the parser lets through and JSON in UTF-8 cannot say, or what is too much of it."""

    def __init__(self, most_values: int) -> None:
        self._values, self._most_values = 0, most_values
        self._path: list[str | int] = []

    def check(self, value: JsonValue, depth: int) -> None:
        """Raises `Invalid`, with the field."""
        self._values += 1
        if self._values > self._most_values:
            raise too_many_values(most=self._most_values)
        match value:
            case dict() | list():
                self._check_inside(value, depth)
            case str() if not value.isascii() and SURROGATES.search(value):
                raise self._wrong("text in Unicode", f"a lone surrogate in {shown(value)}", "take it out")
            case float() if not math.isfinite(value):
                raise self._wrong("numbers that JSON has", str(value), "put it in quotes")
            case int() if not -LARGEST < value < LARGEST:
                raise Invalid([long_number()])

    def _check_inside(self, value: JsonObject | list[JsonValue], depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise too_deep()
        for step, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(step, str):
                self.check(step, depth)
                if len(step) > MAX_KEY:
                    raise Invalid([long_key(step)])
            self._path.append(step)
            self.check(item, depth + 1)
            self._path.pop()

    def _wrong(self, expected: str, got: str, cure: str) -> Invalid:
        return Invalid([Mistake.expecting(expected, got, cure, field=format_path(self._path))])
