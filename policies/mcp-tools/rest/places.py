"""Where a tool's arguments stand in the request, and how they are written there (OpenAPI, "Style Values").

No argument leads to another path than the template's: what a server might read as a slash or a dot segment is refused,
once and twice encoded too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

STYLES = {
    "path": ("simple",),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
}
"""The styles by the place of a parameter; the first is the default."""
DELIMITERS = {"form": ",", "spaceDelimited": "%20", "pipeDelimited": "%7C"}
_UNSAFE = re.compile(r"[/\\\x00-\x1f\x7f]")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_BLANK = "".join(map(chr, range(33))) + "\x7f"


class ArgumentError(Exception):
    """An argument that fits its schema, and cannot be sent. The text is for the model."""


@dataclass(frozen=True, slots=True)
class Place:
    """A parameter of the operation: the argument `argument` of the tool."""

    argument: str
    name: str
    """As the API calls it."""
    place: str
    style: str
    explode: bool
    is_json: bool
    """Its value is a JSON text (`content` in the document)."""

    def in_path(self, value: Any) -> str:
        """The value, encoded for the path. ArgumentError: it would change the path."""
        if self.is_json:
            return self._segment(to_json(value))
        if isinstance(value, list):
            return ",".join(map(self._segment, value)) if value else self._segment("")
        if isinstance(value, dict):
            return ",".join(self._segment(part) for part in self._flat(value)) if value else self._segment("")
        return self._segment(value)

    def in_query(self, value: Any) -> Iterator[str]:
        """The parts of the query for the value: `name=value`."""
        if self.is_json:
            yield _pair(self.name, to_json(value))
        elif isinstance(value, dict) and (self.explode or self.style == "deepObject"):
            yield from self._members(value)
        elif isinstance(value, list) and self.explode:
            yield from (_pair(self.name, to_text(item)) for item in value)
        elif isinstance(value, list | dict):
            parts = self._flat(value) if isinstance(value, dict) else map(to_text, value)
            joined = DELIMITERS.get(self.style, ",").join(quote(part, safe="") for part in parts)
            yield f"{quote(self.name, safe='')}={joined}"
        else:
            yield _pair(self.name, to_text(value))

    def _members(self, value: Mapping[str, Any]) -> Iterator[str]:
        for member, inner in value.items():
            name = f"{self.name}[{member}]" if self.style == "deepObject" else member
            yield from (_pair(name, to_text(item)) for item in (inner if isinstance(inner, list) else [inner]))

    def in_header(self, value: Any) -> str:
        """The value of the header. ArgumentError: it has control characters."""
        if self.is_json:
            text = to_json(value)
        elif isinstance(value, list):
            text = ",".join(map(to_text, value))
        elif isinstance(value, dict):
            text = ",".join(self._flat(value))
        else:
            text = to_text(value)
        if _CONTROL.search(text):
            raise ArgumentError(f"{self.argument}: expected no control characters, got some")
        return text

    def _flat(self, value: Mapping[str, Any]) -> Iterator[str]:
        for name, inner in value.items():
            if self.explode and self.place != "query":
                yield f"{name}={to_text(inner)}"
            else:
                yield name
                yield to_text(inner)

    def _segment(self, value: Any) -> str:
        text = to_text(value)
        for seen in (text, unquote(text), unquote(unquote(text))):
            name = seen.partition(";")[0].strip(_BLANK)
            if not name or name in (".", "..") or _UNSAFE.search(seen):
                expected = "expected text without slashes, backslashes and control characters, and no dot segment"
                raise ArgumentError(f"{self.argument}: {expected}, since it is a part of the path")
        return quote(text, safe="")


def _pair(name: str, text: str) -> str:
    return f"{quote(name, safe='')}={quote(text, safe='')}"


def to_text(value: Any) -> str:
    """A value as a text; what is within lists and objects of a parameter has no other form than JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else to_json(value)


def to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
