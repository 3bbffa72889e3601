"""Converts XML to JSON, with Expat. A document type is refused at its beginning, so that no entity is ever defined.

    <order id="7"><item>bolt</item><item>nut</item><note>soon</note><gift/></order>
    {"order": {"@id": "7", "item": ["bolt", "nut"], "note": "soon", "gift": null}}

Attributes have names with "@", text beside attributes or elements is "#text", a repeated element is a list. Prefixes
stay as they are written, and namespace declarations are attributes. Comments, processing instructions and whitespace
between elements are dropped, and so is the position of text between elements.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from .limits import ConversionError, Limits

Json = dict[str, Any]
TEXT = "#text"


def json_of(text: str, lists: Collection[str], limits: Limits) -> bytes:
    """Returns the JSON text of an XML text. lists: elements that are a list even if they occur once."""
    value = _Reader(lists, limits).read(text)
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    limits.check_size(len(body))
    return body


@dataclass(slots=True)
class _Element:
    name: str
    members: Json
    texts: list[str] = field(default_factory=list)

    def value(self) -> Any:
        text = "".join(self.texts)
        if not self.members:
            return text or None
        if text and not text.isspace():
            self.members[TEXT] = text
        return self.members


class _Reader:
    def __init__(self, lists: Collection[str], limits: Limits) -> None:
        self._lists, self._limits = lists, limits
        self._open = [_Element("", {})]

    def read(self, text: str) -> Json:
        """Parses a text. Since Expat gets text instead of bytes, it never looks up a declared encoding, and Python
        caches no unknown name."""
        try:
            parser = expat.ParserCreate()
            parser.buffer_text = True
            parser.StartDoctypeDeclHandler = self._document_type
            parser.StartElementHandler = self._start
            parser.EndElementHandler = self._end
            parser.CharacterDataHandler = self._text
            parser.Parse(text, True)
        except (expat.ExpatError, ValueError) as error:
            if isinstance(error, ConversionError):
                raise
            raise ConversionError(f"expected XML: {error}") from None
        return self._open[0].members

    def _document_type(self, *_: object) -> None:
        raise ConversionError("expected XML without a document type")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._limits.check_depth(len(self._open))
        self._open.append(_Element(name, {f"@{attribute}": value for attribute, value in attributes.items()}))

    def _text(self, text: str) -> None:
        self._open[-1].texts.append(text)

    def _end(self, name: str) -> None:
        value, members = self._open.pop().value(), self._open[-1].members
        if name not in members:
            members[name] = [value] if name in self._lists else value
        elif isinstance(members[name], list):
            members[name].append(value)
        else:
            members[name] = [members[name], value]
