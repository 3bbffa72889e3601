"""The one form of a request's path and host that decisions are made by.

A gateway's engine makes the path (internal/chain/path_spelling.go); tests and replays without one make it here.
conformance/request_views.json holds both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

_ENCODED = re.compile("%[0-9A-Fa-f]{2}")
_RESERVED = frozenset("!$&'()*+,;=:@[]")
"""Characters that Envoy passes on as they came, raw or encoded."""


def spell_path(path: str, operation: str, *, strict: bool = True) -> str:
    """The path in its one spelling, of an operation such as `GET /{id}`. Under strictPaths a slash at the end makes no
    other path, unless the operation has it itself."""
    template = operation.partition(" ")[2].partition(" ")[0]
    if strict and len(path) > 1 and not (len(template) > 1 and template.endswith("/")):
        path = path.removesuffix("/")
    return _ENCODED.sub(lambda found: _spell(found[0].upper()), path)


def _spell(encoded: str) -> str:
    character = chr(int(encoded[1:], 16))
    return character if character in _RESERVED else encoded


def path_upstream(rewritings: Sequence[Mapping[str, Any]], upstream: str | None, context: str, path: str) -> str | None:
    """The path that an upstream would get of `path`, as the recording of an exchange says (`upstreamPaths`). None where
    that is not known, or nothing goes upstream."""
    found = next((one for one in rewritings if one.get("upstream", "") == (upstream or "")), None)
    if found is None:
        return None
    if pattern := found.get("pattern"):
        return re.sub(pattern, found.get("substitution", ""), path, count=1)
    before, base = context.rstrip("/"), found.get("base", "")
    if base == before or not path.startswith(before):
        return path
    return base + path[len(before) :] or "/"


def path_segments(path: str) -> tuple[str, ...]:
    """The parts between slashes, decoded. What is not UTF-8 is kept by surrogateescape."""
    return tuple(_decoded(segment) for segment in path.split("/") if segment)


def _decoded(segment: str) -> str:
    return unquote_to_bytes(segment.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def host_of(authority: str) -> str:
    """In lower case, without port, brackets and the dot at its end."""
    colon = authority.rfind(":")
    host = authority[:colon] if colon > authority.rfind("]") else authority
    host = host.removeprefix("[").removesuffix("]").removesuffix(".")
    return host.encode("utf-8", "surrogateescape").lower().decode("utf-8", "surrogateescape")
