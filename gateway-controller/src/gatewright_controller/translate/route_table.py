"""An API's operations as a table: rows in order of precedence, of which the first that matches a request counts.

Envoy is given a route for each row (routes.py), or one for all of them, and the engine the rows (shared_route.py): then
the engine finds the operation. A list of routes holds no catch-all: `/orders` may stand before `/`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from gatewright_controller._gen import envoy_names, node_pb2
from gatewright_controller.model import Operation
from gatewright_controller.resource.matches import ANY_METHOD, NO_MATCHES, Matches, matches_of
from gatewright_controller.resource.paths import Kind, PathIndex, PathTemplate, Segment, is_plain, parse_path, spellings
from gatewright_controller.translate import envoy
from gatewright_controller.translate.actions import Action, Forwarding
from gatewright_controller.translate.query import ambiguous, parameter_match
from gatewright_controller.translate.timeouts import Timeouts

STANDARD = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
"""What `Allow` names where any method is allowed."""
NOT_ALLOWED = envoy.Problem(405, "Method Not Allowed", "Allow names the methods of this path.")
MISMATCH = envoy.Problem(
    404, "Not Found", "No operation at this path and method takes a request with these headers and query parameters."
)
DOUBTFUL = envoy.Problem(
    400,
    "Bad Request",
    "The path has a ';', an escaped slash, or a part that is not encoded exactly once: "
    "upstreams read it in different ways.",
)
AMBIGUOUS = envoy.Problem(
    400,
    "Bad Request",
    "A query parameter that selects the operation occurs twice, or is encoded unnecessarily.",
)


class RoutedAnswer(msgspec.Struct, frozen=True):
    """What Envoy answers by itself, once the chain, if any, has let it."""

    name: str
    chain: node_pb2.Chain | None


class RoutedOperation(msgspec.Struct, frozen=True):
    """`chain` is None for an operation without policies."""

    method: str
    name: str
    chain: node_pb2.Chain | None
    timeouts: Timeouts
    action: Action
    path: PathTemplate
    """With the names of its parameters."""
    matches: Matches = NO_MATCHES


class RoutedPath(msgspec.Struct, frozen=True):
    """A path of the API and the operations at it."""

    template: PathTemplate
    operations: list[RoutedOperation]
    """In the order of precedence."""
    preflight: RoutedAnswer | None
    """The generated OPTIONS, which runs the API's own policies; None where an operation answers OPTIONS."""
    ordered: bool = False
    """Whether the API's operations are tried in the order of the file: then each has a `RoutedPath` of its own, and
    `GET` does not answer HEAD."""

    @property
    def methods(self) -> set[str]:
        """Those that requests may come with: HEAD where there is GET; of any, those of RFC 9110."""
        return _answered(self.operations)


def _answered(operations: Iterable[RoutedOperation]) -> set[str]:
    named = {operation.method for operation in operations}
    if ANY_METHOD in named:
        named = (named - {ANY_METHOD}) | STANDARD
    return named | {"HEAD"} if "GET" in named else named


class Routed(msgspec.Struct, frozen=True):
    """An operation takes the request. method: says what becomes of it, where its methods differ in that."""

    operation: RoutedOperation
    method: str


class Preflight(msgspec.Struct, frozen=True):
    """The generated OPTIONS: for API-level policies such as CORS; where none of them answers, the answer is `Allow`."""

    answer: RoutedAnswer
    allowed: str


class Refusal(msgspec.Struct, frozen=True):
    """No operation takes the request. allowed: what `Allow` says; "" where the answer has none."""

    problem: envoy.Problem
    allowed: str = ""


class Unescaping(msgspec.Struct, frozen=True):
    """The client is sent to the path without escaped slashes, which is the one that upstream would see."""


class Row(msgspec.Struct, frozen=True):
    """Which requests, and what becomes of them."""

    place: envoy.PathMatch
    outcome: Routed | Preflight | Refusal | Unescaping
    methods: envoy.Methods = envoy.EVERY_METHOD
    headers: Sequence[envoy.ValueMatch] = ()
    query: Sequence[envoy.ValueMatch] = ()


def by_path(operations: Sequence[Operation]) -> dict[PathTemplate, list[Operation]]:
    """The operations of each path together, in the order of precedence. `/{a}` and `/{b}` are one path."""
    groups: dict[PathTemplate, list[Operation]] = {}
    for operation in sorted(operations, key=_precedence):
        groups.setdefault(parse_path(operation.path).shape, []).append(operation)
    return dict(sorted(groups.items(), key=lambda group: group[0].precedence))


def _precedence(operation: Operation) -> tuple[bool, bool, str, tuple[int, int]]:
    """A named method before any, HEAD before the GET that would answer it; then the more matches the earlier. What is
    equal stays in the order in which it is written."""
    method = operation.method
    return method == ANY_METHOD, method != "HEAD", method, matches_of(operation).precedence


def first_row(*, strict: bool) -> Row:
    """The row before all others, which takes the paths that none of them may.

    An API with `strictPaths` refuses paths that upstreams read in different ways. Any other sends a client that escapes
    slashes to the path that upstream would see, as RFC 3986 has them differ.
    """
    if strict:
        return Row(envoy.PathMatch("regex", envoy_names.DOUBTFUL_PATH_PATTERN), Refusal(DOUBTFUL))
    return Row(envoy.PathMatch("regex", envoy_names.ESCAPED_SLASH_PATH_PATTERN), Unescaping())


def rows_of(paths: Sequence[RoutedPath], context: str, *, strict: bool) -> Iterator[Row]:
    """All others: operations, generated OPTIONS, then 404 and 405. strict: a slash at the end makes no other path."""
    if any(routed.ordered for routed in paths):
        return _ordered_rows(paths, context, strict=strict)
    return _narrowest_rows(paths, context, strict=strict)


def _ordered_rows(paths: Sequence[RoutedPath], context: str, *, strict: bool) -> Iterator[Row]:
    """Those of operations alone: what none of them takes is 404."""
    index = PathIndex(routed.template for routed in paths)
    for routed in paths:
        for place in _places(routed.template, index, context, strict=strict):
            if strict:
                yield from _ambiguity_rows(routed, place)
            for operation in routed.operations:
                yield from _operation_rows(routed, place, operation)


def _narrowest_rows(paths: Sequence[RoutedPath], context: str, *, strict: bool) -> Iterator[Row]:
    found = {routed.template: routed for routed in paths}
    index = PathIndex(found)
    covering = {template: [found[other] for other in index.covering(template)] for template in found}
    allowed = {routed.template: _allowed(covering[routed.template]) for routed in paths}
    places = [(routed, place) for routed in paths for place in _places(routed.template, index, context, strict=strict)]
    for routed, place in places:
        if strict:
            yield from _ambiguity_rows(routed, place)
        for operation in routed.operations:
            yield from _operation_rows(routed, place, operation)
    for routed, place in places:
        if routed.preflight:
            yield Row(place, Preflight(routed.preflight, allowed[routed.template]), envoy.Methods(("OPTIONS",)))
    for routed, place in places:
        if conditional := _conditional(covering[routed.template]):
            others = conditional >= STANDARD
            # 404: the method would be right, so that 405 would be a lie.
            yield Row(place, Refusal(MISMATCH), envoy.Methods(sorted(conditional), other=others))
        yield Row(place, Refusal(NOT_ALLOWED, allowed[routed.template]))


def _places(template: PathTemplate, index: PathIndex, context: str, *, strict: bool) -> Iterator[envoy.PathMatch]:
    """What a path of the API matches. In a strict one, no looser path takes it for having a slash more or less."""
    yield path_match(context, template)
    slashed = template.slashed
    if strict and slashed and slashed not in index and index.is_met(slashed):
        yield path_match(context, slashed)


def _operation_rows(routed: RoutedPath, place: envoy.PathMatch, operation: RoutedOperation) -> Iterator[Row]:
    headers, query = _values(operation.matches)
    for methods, first in methods_of(routed, operation):
        yield Row(place, Routed(operation, first), methods, headers, query)


def _ambiguity_rows(routed: RoutedPath, place: envoy.PathMatch) -> Iterator[Row]:
    for headers, query in ambiguous(operation.matches.query for operation in routed.operations):
        yield Row(place, Refusal(AMBIGUOUS), headers=headers, query=query)


def _values(matches: Matches) -> tuple[list[envoy.ValueMatch], list[envoy.ValueMatch]]:
    headers = [
        envoy.ValueMatch(header.name, header.kind, header.value, header.ignore_case) for header in matches.headers
    ]
    return headers, [parameter_match(parameter) for parameter in matches.query]


def methods_of(routed: RoutedPath, operation: RoutedOperation) -> Iterator[tuple[envoy.Methods, str]]:
    """What the operation's rows match, and the method that says what becomes of them: of any, GET has a row of its
    own, for a WebSocket begins as one."""
    if operation.method == ANY_METHOD and isinstance(operation.action, Forwarding):
        yield envoy.Methods(("GET",)), "GET"
        yield envoy.Methods(other=True), ANY_METHOD
    elif operation.method == ANY_METHOD:
        yield envoy.Methods(other=True), ANY_METHOD
    elif operation.method == "GET":
        heads = not routed.ordered and all(other.method != "HEAD" or other.matches for other in routed.operations)
        yield envoy.Methods(("GET", "HEAD") if heads else ("GET",)), "GET"
    else:
        yield envoy.Methods((operation.method,)), operation.method


def _conditional(covering: Sequence[RoutedPath]) -> set[str]:
    """Methods of the path with which a request may come and meet no operation, for want of what they match besides; of
    one that asks for more in one operation and for nothing in another, all requests meet one."""
    operations = [operation for other in covering for operation in other.operations]
    asking = _answered(operation for operation in operations if operation.matches)
    always = _answered(operation for operation in operations if not operation.matches)
    return set() if asking <= always else asking


def _allowed(covering: Sequence[RoutedPath]) -> str:
    return ", ".join(sorted({"OPTIONS"}.union(*(other.methods for other in covering))))


def path_match(context: str, template: PathTemplate) -> envoy.PathMatch:
    """The paths of the template under the context. `/` is the context with and without a slash; `/*` all below."""
    base = "" if context == "/" else context
    if not template.segments:
        return _regex(base, "/?") if base else envoy.PathMatch("exact", "/")
    if not all(map(_is_fixed, template.fixed)):
        return _regex(base, "".join(map(_pattern, template.segments)) + _end(template))
    literal = base + "".join(f"/{segment.text}" for segment in template.fixed)
    if template.ends_in_wildcard:
        return envoy.PathMatch("prefix", literal) if literal else envoy.PathMatch("everything")
    return envoy.PathMatch("exact", literal + _end(template))


def _regex(base: str, pattern: str) -> envoy.PathMatch:
    """Of whole paths all the same: with the caret RE2 passes those by that begin otherwise without running."""
    return envoy.PathMatch("regex", f"^{re.escape(base)}{pattern}")


def _end(template: PathTemplate) -> str:
    return "/" if template.trailing_slash else ""


def _is_fixed(segment: Segment) -> bool:
    return segment.kind is Kind.LITERAL and is_plain(segment.text)


def _pattern(segment: Segment) -> str:
    match segment.kind:
        case Kind.LITERAL:
            return "/" + spellings(segment.text)
        case Kind.PARAMETER:
            return "/[^/]+"
    return "(?:/.*)?"
