"""Headers that repeat what the body says, by which a server or a proxy may choose without reading it."""

from __future__ import annotations

import base64
import binascii
import re

from gatewright.headers import Headers
from gatewright.mcp.messages import HEADER_MISMATCH, Malformed, Messages

_ENCODED = re.compile(r"=\?base64\?([A-Za-z0-9+/]*={0,2})\?=")


def check_headers(headers: Headers, messages: Messages) -> Malformed | None:
    """Whether `mcp-method` and `mcp-name` say the same as the body; None: they do, or are not there."""
    methods, names = headers.get_all("mcp-method"), headers.get_all("mcp-name")
    if not methods and not names:
        return None
    if messages.is_batch:
        return Malformed(HEADER_MISMATCH, "expected no mcp-method and no mcp-name for a batch")
    (message,) = messages.messages
    if methods and methods != [message.method]:
        return Malformed(HEADER_MISMATCH, "mcp-method: expected the method of the body")
    expected = [target.name for target in message.targets]
    if names and [_decode(name) for name in names] != expected:
        return Malformed(HEADER_MISMATCH, "mcp-name: expected the name in the body")
    return None


def header_value(text: str) -> str:
    """The value of `mcp-name` for this name: base64 where it is no text that a header may have."""
    is_plain = text.isascii() and text.isprintable() and text == text.strip() and not _ENCODED.fullmatch(text)
    return text if is_plain else f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def _decode(value: str) -> str:
    """The text of a value, which is base64 where it is none that a header may have; as it came where it is neither."""
    found = _ENCODED.fullmatch(value)
    if found is None:
        return value
    try:
        return base64.b64decode(found[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return value
