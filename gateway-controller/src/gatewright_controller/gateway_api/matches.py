"""Matches of routes, as operations have them, each with its rank: the order that the specification asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

import msgspec
from gatewright_documents.values import JsonObject

from gatewright_controller.gateway_api.cluster import inner, items, text
from gatewright_controller.gateway_api.conditions import Problem

ENCODED = re.compile("%[0-9A-Fa-f]{2}")
UNRESERVED = re.compile(r"[A-Za-z0-9\-._~]")
ANY_METHOD = "*"

Rank = tuple[bool, int, int, bool, int, int]
"""Not an exact path, characters of the path, of a gRPC method, no method, headers, query parameters: all but the first
and the fourth below zero, so that the first in order comes first."""


class RouteMatch(msgspec.Struct, frozen=True):
    """Which requests. path: as an operation has it; a prefix ends in `/*`."""

    path: str
    rank: Rank
    method: str = ANY_METHOD
    headers: tuple[JsonObject, ...] = ()
    query: tuple[JsonObject, ...] = ()

    @property
    def is_prefix(self) -> bool:
        """Whether it takes all paths below, too."""
        return self.path.endswith("/*")

    def document(self) -> JsonObject:
        """The operation, without what becomes of its requests."""
        found: JsonObject = {"method": self.method, "path": self.path}
        if self.headers:
            found["headers"] = list(self.headers)
        if self.query:
            found["query"] = list(self.query)
        return found


def http_matches(rule: JsonObject) -> Iterator[RouteMatch | Problem]:
    """Those of an HTTPRoute's rule; without any all requests."""
    for match in items(rule, "matches") or [{}]:
        yield _http_match(match)


def _http_match(match: JsonObject) -> RouteMatch | Problem:
    path = inner(match, "path")
    kind, value = text(path, "type", "PathPrefix"), text(path, "value", "/")
    if kind not in ("Exact", "PathPrefix"):
        cure = "name each path by a match of its own"
        return Problem("UnsupportedValue", f"path: expected type Exact or PathPrefix, got {kind} {value!r}; {cure}")
    headers, query = _values(match, "headers", fold=True), _values(match, "queryParams", fold=False)
    for found in (headers, query):
        if isinstance(found, Problem):
            return found
    assert not isinstance(headers, Problem)
    assert not isinstance(query, Problem)
    method = text(match, "method")
    literal = value if kind == "Exact" else value.rstrip("/")
    shown = kept_path(literal)
    rank = (kind != "Exact", -len(literal), 0, not method, -len(headers), -len(query))
    return RouteMatch(shown if kind == "Exact" else f"{shown}/*", rank, method or ANY_METHOD, headers, query)


def kept_path(path: str) -> str:
    """In the spelling of our paths: what need not be encoded is not; `*` is, and `:` where a segment begins."""
    plain = ENCODED.sub(lambda found: _decoded(found[0]), path)
    return plain.replace("*", "%2A").replace("/:", "/%3A")


def _decoded(encoded: str) -> str:
    character = unquote(encoded, encoding="latin-1")
    return character if UNRESERVED.fullmatch(character) else encoded


def _values(match: JsonObject, field: str, *, fold: bool) -> tuple[JsonObject, ...] | Problem:
    """Of headers or query parameters. Of entries with the same name the first counts."""
    made: dict[str, JsonObject] = {}
    for index, entry in enumerate(items(match, field)):
        name, kind = text(entry, "name"), text(entry, "type", "Exact")
        if kind not in ("Exact", "RegularExpression"):
            message = f"{field}[{index}]: expected type Exact or RegularExpression of {name!r}, got {kind}"
            return Problem("UnsupportedValue", message)
        key = name.lower() if fold else name
        made.setdefault(key, {"name": name, "exact" if kind == "Exact" else "regex": text(entry, "value")})
    return tuple(made.values())


def grpc_matches(rule: JsonObject) -> Iterator[RouteMatch | Problem]:
    """Those of a GRPCRoute's rule; without any all calls."""
    for match in items(rule, "matches") or [{}]:
        yield _grpc_match(match)


def _grpc_match(match: JsonObject) -> RouteMatch | Problem:
    called = inner(match, "method")
    service, method, kind = text(called, "service"), text(called, "method"), text(called, "type", "Exact")
    if (service or method) and kind != "Exact":
        cure = "name each method by a match of its own, or the service alone"
        message = f"method: expected type Exact, got {kind} {service}/{method}; {cure}"
        return Problem("UnsupportedValue", message)
    headers = _values(match, "headers", fold=True)
    if isinstance(headers, Problem):
        return headers
    if service and method:
        path = f"/{service}/{method}"
    elif service:
        path = f"/{service}/*"
    else:
        path = f"/{{service}}/{method}" if method else "/*"
    rank = (not (service and method), -len(service), -len(method), False, -len(headers), 0)
    return RouteMatch(path, rank, "POST", headers)
