"""Normalizes a request's path and host, so that policies decide by one form of them.

In a gateway the engine normalizes the path (internal/chain/path_spelling.go); tests and replays without an engine do it
by this module. conformance/request_views.json has the cases that both must pass.
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
    """The normalized path of a request for an operation such as `GET /{id}`. strict: the API's `strictPaths`, which
    drops a slash at the end unless the operation's path has one."""
    template = operation.partition(" ")[2].partition(" ")[0]
    if strict and len(path) > 1 and not (len(template) > 1 and template.endswith("/")):
        path = path.removesuffix("/")
    return _ENCODED.sub(lambda match: _spell(match[0].upper()), path)


def _spell(encoded: str) -> str:
    character = chr(int(encoded[1:], 16))
    return character if character in _RESERVED else encoded


def path_upstream(rewritings: Sequence[Mapping[str, Any]], upstream: str | None, context: str, path: str) -> str | None:
    """The path that an upstream would get for `path`, by the `upstreamPaths` of a recorded exchange. None if that is
    not known, or nothing goes upstream."""
    rewriting = next((entry for entry in rewritings if entry.get("upstream", "") == (upstream or "")), None)
    if rewriting is None:
        return None
    if pattern := rewriting.get("pattern"):
        return re.sub(pattern, rewriting.get("substitution", ""), path, count=1)
    before, base = context.rstrip("/"), rewriting.get("base", "")
    if base == before or not path.startswith(before):
        return path
    return base + path[len(before) :] or "/"


def path_segments(path: str) -> tuple[str, ...]:
    """The parts between slashes, decoded. Bytes that are not UTF-8 are kept by surrogateescape."""
    return tuple(_decoded(segment) for segment in path.split("/") if segment)


def _decoded(segment: str) -> str:
    return unquote_to_bytes(segment.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def host_of(authority: str) -> str:
    """The host of an authority: in lower case, without port, brackets and the dot at its end."""
    colon = authority.rfind(":")
    host = authority[:colon] if colon > authority.rfind("]") else authority
    host = host.removeprefix("[").removesuffix("]").removesuffix(".")
    return host.encode("utf-8", "surrogateescape").lower().decode("utf-8", "surrogateescape")
