"""The rules for headers and trailers that a policy writes, and their encoding as bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

from gatewright.headers import HeaderValue

MAX_HEADER_LINES, MAX_HEADER_BYTES = 200, 128 << 10  # of one action; the engine holds the changed message to the same


class ActionError(ValueError):
    """The gateway refuses the action: the failure class badAction."""


def encode(where: str, value: str) -> bytes:
    """Text as UTF-8; bytes that were no UTF-8 when they were read are restored."""
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        refuse(where, "text that UTF-8 can carry", value)


def refuse(where: str, expected: str, got: object, cure: str = "") -> NoReturn:
    """Raises an ActionError that says what was expected, what it got, and the cure."""
    raise ActionError(f"{where}: expected {expected}, got {shown(got)}" + (f"; {cure}" if cure else ""))


def shown(value: object) -> str:
    """A value with its type, cut at 80 characters. The type is not repeated if the value's text begins with it."""
    kind, text = type(value).__name__, f"{value!r:.80}"
    return text if value is None or text.startswith(f"{kind}(") else f"{kind} {text}"


TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""A header's name (RFC 9110, 5.6.2)."""
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110, 5.5; Envoy fails the exchange without saying why
_CONNECTIONS = "it belongs to one connection (RFC 9110, 7.6.1)"
_REFUSED_NAMES = {  # the engine has the same list, for Go policies
    **dict.fromkeys(
        ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding"), _CONNECTIONS
    ),
    "upgrade": _CONNECTIONS,
    "content-length": "the gateway computes it from the body",
    "host": "use authority",
}
_KNOWN_NAMES: dict[str, bytes] = {}  # checked names, as header_name returns them: policies use few names many times
_MAX_KNOWN_NAMES = 4096


def header_blob(where: str, headers: object) -> bytes:
    """Headers in the form that gatewright.headers reads: each name and each value followed by a NUL."""
    if type(headers) is not dict and not isinstance(headers, Mapping):  # the check for Mapping is slow
        refuse(where, "a dict of header names and values", headers)
    out: list[bytes] = []
    for name, value in headers.items():
        key = _KNOWN_NAMES.get(name) or header_name(where, name)
        if type(value) is str and value.isascii() and value.isprintable():  # like most values; has no control character
            out += key, value.encode(), b"\0"
            continue
        for item in _values(where, name, value):
            out += key, _value(where, name, item), b"\0"
    return b"".join(out)


def check_size(blob: bytes) -> None:
    """Checks the number and size of all headers of an action; blob: in the form of header_blob."""
    nuls = blob.count(b"\0")
    if nuls > 2 * MAX_HEADER_LINES:
        raise ActionError(f"headers: expected at most {MAX_HEADER_LINES} header lines, got {nuls // 2}")
    if len(blob) - nuls > MAX_HEADER_BYTES:
        raise ActionError(f"headers: expected at most {MAX_HEADER_BYTES} bytes of headers, got {len(blob) - nuls}")


def header_names(names: object) -> bytes:
    """Names for remove_headers, each followed by a NUL."""
    if type(names) is not list and not isinstance(names, list | tuple | set | frozenset):  # making a union is slow
        refuse("remove_headers", "a list of header names", names)
    known = _KNOWN_NAMES
    return b"".join(
        [(known.get(name) if type(name) is str else None) or header_name("remove_headers", name) for name in names]
    )


def header_name(where: str, name: object) -> bytes:
    """The name in lower case, followed by a NUL. Raises ActionError if policies may not change that header."""
    if not isinstance(name, str) or not TOKEN.fullmatch(name):
        cure = "path, method and the like have fields of their own" if str(name).startswith(":") else ""
        refuse(where, "a header name (RFC 9110: letters, digits and !#$%&'*+-.^_`|~)", name, cure)
    lower = name.lower()
    if lower.startswith("x-gatewright-"):
        refuse(where, "a header that policies can change", name, "x-gatewright-* is the gateway's own")
    if lower in _REFUSED_NAMES:
        refuse(where, "a header that policies can change", name, _REFUSED_NAMES[lower])
    if len(_KNOWN_NAMES) >= _MAX_KNOWN_NAMES:
        _KNOWN_NAMES.clear()
    raw = _KNOWN_NAMES[name] = lower.encode() + b"\0"
    return raw


def _values(where: str, name: str, value: HeaderValue) -> list[object] | tuple[object, ...]:
    if isinstance(value, str | bytes):
        return (value,)
    if not isinstance(value, list | tuple) or not value:
        cure = "to take a header away, name it in remove_headers" if value in (None, [], ()) else ""
        refuse(f"{where}[{name!r}]", "str, bytes or a list of them", value, cure)
    return value


def _value(where: str, name: str, value: object) -> bytes:
    if isinstance(value, str):
        raw = value.encode() if value.isascii() else encode(f"{where}[{name!r}]", value)
    elif isinstance(value, bytes):
        raw = value
    else:
        refuse(f"{where}[{name!r}]", "str or bytes as value", value)
    if _CONTROL.search(raw):
        refuse(f"{where}[{name!r}]", "a value without control characters, but tabs", value)
    return raw
