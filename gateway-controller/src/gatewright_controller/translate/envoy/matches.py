"""What a route matches: path, method, headers, query parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, cast

import msgspec
from envoy.config.route.v3 import route_components_pb2
from envoy.type.matcher.v3 import string_pb2

from gatewright_controller.translate.envoy.common import PARTS_KEPT, EnvoyMessage, regex


class PathMatch(msgspec.Struct, frozen=True):
    """`exact` and `regex` (RE2) match the whole path, `prefix` a path and all below it, `everything` any."""

    kind: Literal["exact", "regex", "prefix", "everything"]
    value: str = ""


class ValueMatch(msgspec.Struct, frozen=True):
    """Of a header or query parameter of this name: what its value is, or whether it is there. `regex` (RE2) matches the
    whole value. not_: the match turned round; a header that is not there matches then."""

    name: str
    kind: Literal["exact", "prefix", "suffix", "contains", "regex", "present", "absent"]
    value: str = ""
    ignore_case: bool = False
    not_: bool = False


PATH_AND_QUERY = ":path"
"""As a header of a `ValueMatch`: the path as it is routed, with its query."""


class Methods(msgspec.Struct, frozen=True):
    """Those of a route: the named ones, or any where none is. other: besides them, all that have no lower-case letters,
    as those of standards have none, and are not TRACE."""

    named: Sequence[str] = ()
    other: bool = False


EVERY_METHOD = Methods()


def route_match(
    path: PathMatch,
    methods: Methods = EVERY_METHOD,
    headers: Sequence[ValueMatch] = (),
    query: Sequence[ValueMatch] = (),
) -> EnvoyMessage:
    """Requests to the path by one of the methods that have all the headers and query parameters."""
    match = route_components_pb2.RouteMatch()
    match path.kind:
        case "exact":
            match.path = path.value
        case "prefix":
            match.path_separated_prefix = path.value
        case "everything":
            match.prefix = "/"
        case _:
            match.safe_regex.CopyFrom(regex(path.value))
    match.headers.extend(_header(value_match) for value_match in (*_method_matches(methods), *headers))
    match.query_parameters.extend(_parameter(parameter) for parameter in query)
    return cast("EnvoyMessage", match)


def _method_matches(methods: Methods) -> list[ValueMatch]:
    if methods.other:
        patterns = ["[^a-z]+", *(re.escape(method) for method in methods.named if method.upper() != method)]
        return [ValueMatch(":method", "regex", "|".join(patterns)), ValueMatch(":method", "exact", "TRACE", not_=True)]
    if len(methods.named) > 1:
        return [ValueMatch(":method", "regex", "|".join(map(re.escape, methods.named)))]
    return [ValueMatch(":method", "exact", method) for method in methods.named]


def method_match(named: Sequence[str]) -> EnvoyMessage:
    """Of a request that goes upstream: whether its method is one of these."""
    (value_match,) = _method_matches(Methods(named))
    return _header(value_match)


@lru_cache(maxsize=PARTS_KEPT)
def _header(match: ValueMatch) -> EnvoyMessage:
    built = route_components_pb2.HeaderMatcher(name=match.name, invert_match=match.not_)
    if match.kind in ("present", "absent"):
        built.present_match = match.kind == "present"
    else:
        built.string_match.CopyFrom(_string(match))
    return cast("EnvoyMessage", built)


def _parameter(match: ValueMatch) -> EnvoyMessage:
    built = route_components_pb2.QueryParameterMatcher(name=match.name)
    if match.kind in ("present", "absent"):
        built.present_match = match.kind == "present"
    else:
        built.string_match.CopyFrom(_string(match))
    return cast("EnvoyMessage", built)


def _string(match: ValueMatch) -> string_pb2.StringMatcher:
    built = string_pb2.StringMatcher(ignore_case=match.ignore_case)
    if match.kind == "regex":
        built.safe_regex.CopyFrom(regex(match.value))
    else:
        setattr(built, match.kind, match.value)
    return built
