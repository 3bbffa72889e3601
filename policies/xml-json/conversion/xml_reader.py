"""XML → a JSON value. Expat reads it; a document type is refused where it begins, so that no entity is ever defined.

    <order id="7"><item>bolt</item><item>nut</item><note>soon</note><gift/></order>
    {"order": {"@id": "7", "item": ["bolt", "nut"], "note": "soon", "gift": null}}

Attributes have names with "@", text beside attributes or elements is "#text", an element that stands several times is a
list. Prefixes stay as they are written, and declarations of namespaces are attributes. Comments and processing
instructions go, and so do blanks between elements; of text between elements the order goes.
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
    """The JSON text of an XML text. lists: elements that are a list also where they stand once."""
    value = _Reader(lists, limits).read(text)
    made = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    limits.check_size(len(made))
    return made


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
        """Expat is given text, and so never looks up the encoding that a document declares: Python would remember each
        name that it does not know."""
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
        self._open.append(_Element(name, {f"@{each}": value for each, value in attributes.items()}))

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
