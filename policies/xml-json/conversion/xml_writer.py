"""Converts JSON to XML, by the same rules: XML that xml_reader.py has converted becomes the same XML again, without the
parts that it drops. Numbers are written unchanged, true and false as such, null and "" as an empty element.
"""

from __future__ import annotations

import json
import re
from typing import Any

from .limits import ConversionError, Limits
from .xml_reader import TEXT

Json = dict[str, Any]
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
START = "A-Z_a-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0370-\u037d\u037f-\u1fff\u200c\u200d\u2070-\u218f\u2c00-\u2fef"
START += "\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd\U00010000-\U000effff"
PART = f"[{START}][{START}.0-9\u00b7\u0300-\u036f\u203f\u2040-]*"
NAME = re.compile(f"{PART}(?::{PART})?")
"""The name of an element or an attribute (XML 1.0, 2.3), with or without a prefix (Namespaces in XML)."""
NO_CHARACTER = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot contain (XML 1.0, 2.2)."""
TEXT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
VALUE_ESCAPES = TEXT_ESCAPES | str.maketrans({'"': "&quot;", "\n": "&#10;", "\t": "&#9;"})


def xml_of(text: str, root: str | None, limits: Limits) -> bytes:
    """Returns the XML document in UTF-8. root: the element around a value that is no object with one member."""
    value = _read(text)
    has_root = isinstance(value, dict) and len(value) == 1 and not isinstance(next(iter(value.values())), list)
    if not has_root and root is None:
        raise ConversionError("expected an object with one member, which is the root element")
    name, inner = next(iter(value.items())) if has_root else (root or "", value)
    writer = _Writer(limits)
    writer.element(name, {"item": inner} if isinstance(inner, list) else inner, 1)
    return (DECLARATION + "".join(writer.parts)).encode()


def _read(text: str) -> Any:
    try:
        return json.loads(
            text, object_pairs_hook=_to_object, parse_int=str, parse_float=str, parse_constant=_refuse_constant
        )
    except RecursionError:
        raise ConversionError("expected JSON with fewer levels") from None
    except ValueError as error:
        raise ConversionError(f"expected JSON: {error}") from None


def _to_object(pairs: list[tuple[str, Any]]) -> Json:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ConversionError("an object has a name twice")
    return members


def _refuse_constant(_: str) -> None:
    raise ConversionError("NaN and Infinity are not numbers in JSON")


class _Writer:
    def __init__(self, limits: Limits) -> None:
        self.parts: list[str] = []
        self._limits, self._size = limits, len(DECLARATION)

    def _write(self, part: str) -> None:
        self._size += len(part.encode())
        self._limits.check_size(self._size)
        self.parts.append(part)

    def element(self, name: str, value: Any, depth: int) -> None:
        self._limits.check_depth(depth)
        members = value if isinstance(value, dict) else {TEXT: value}
        self._write(f"<{check_name(name)}")
        for key, attribute in members.items():
            if key.startswith("@"):
                self._write(f' {check_name(key[1:])}="{_text(key, attribute).translate(VALUE_ESCAPES)}"')
        self._write(">")
        for key, inner in members.items():
            if key == TEXT:
                self._write(_text(name, inner).translate(TEXT_ESCAPES))
            elif not key.startswith("@"):
                self._elements(key, inner, depth + 1)
        self._write(f"</{name}>")

    def _elements(self, name: str, value: Any, depth: int) -> None:
        """Writes an element, or, for a list, one for each item."""
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, list):
                raise ConversionError(f"expected no list in the list {_quoted(name)}")
            self.element(name, item, depth)


def check_name(name: str) -> str:
    """Returns a valid name. ConversionError: XML does not allow the name."""
    if not NAME.fullmatch(name):
        raise ConversionError(f"expected an XML name, got {_quoted(name)}")
    return name


def _text(name: str, value: Any) -> str:
    if isinstance(value, dict | list):
        raise ConversionError(f"expected text in {_quoted(name)}, got an object or a list")
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    if NO_CHARACTER.search(text):
        raise ConversionError(f"expected text in {_quoted(name)}, got a character that XML does not allow")
    return text


def _quoted(name: str) -> str:
    return ascii(name[:64])
