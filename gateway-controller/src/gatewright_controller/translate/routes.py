"""An API's operations to Envoy routes, in the order of precedence: operations, generated OPTIONS, then 404 and 405.

A list holds no catch-all: the engine puts the routes of shorter contexts behind it (`/orders` before `/`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from gatewright_controller._gen import envoy_names, node_pb2
from gatewright_controller.model import AccessLog, Answer, Operation, OperationRedirect
from gatewright_controller.resource.matches import ANY_METHOD, NO_MATCHES, Matches, matches_of
from gatewright_controller.resource.paths import Kind, PathIndex, PathTemplate, Segment, is_plain, parse_path, spellings
from gatewright_controller.translate import envoy
from gatewright_controller.translate.actions import Action, Forwarding
from gatewright_controller.translate.chains import goes_on_when_crashed
from gatewright_controller.translate.forwarding import Forwarder
from gatewright_controller.translate.pools import Pool
from gatewright_controller.translate.query import ambiguous, parameter_match
from gatewright_controller.translate.rewrites import redirect_path
from gatewright_controller.translate.timeouts import Timeouts

NOT_ALLOWED = json.dumps(
    {
        "type": "about:blank",
        "title": "Method Not Allowed",
        "status": 405,
        "detail": "Allow names the methods of this path.",
    }
)
STANDARD = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
"""What `Allow` names where any method is allowed."""
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


@dataclass(frozen=True)
class RoutedAnswer:
    """What Envoy answers by itself, once the chain, if any, has let it."""

    name: str
    chain: node_pb2.Chain | None


@dataclass(frozen=True)
class RoutedOperation:
    """`chain` is None for an operation without policies."""

    method: str
    name: str
    chain: node_pb2.Chain | None
    timeouts: Timeouts
    action: Action
    path: PathTemplate
    """With the names of its parameters."""
    matches: Matches = NO_MATCHES


@dataclass(frozen=True)
class RoutedPath:
    """A path of the API and the operations at it."""

    template: PathTemplate
    operations: list[RoutedOperation]
    """In the order of precedence."""
    preflight: RoutedAnswer | None
    """The generated OPTIONS, which runs the API's own policies; None where an operation answers OPTIONS."""

    @property
    def methods(self) -> set[str]:
        """Those that requests may come with: HEAD where there is GET; of any, those of RFC 9110."""
        return _answered(self.operations)


def _answered(operations: Iterable[RoutedOperation]) -> set[str]:
    named = {operation.method for operation in operations}
    if ANY_METHOD in named:
        named = (named - {ANY_METHOD}) | STANDARD
    return named | {"HEAD"} if "GET" in named else named


@dataclass(frozen=True)
class Target:
    """Where an API's requests come in, and where they go."""

    api: str
    context: str
    pool: Callable[[str], Pool]
    """Those of the API by their names."""
    access_log: AccessLog = "all"
    strict: bool = False
    """Whether a slash at the end makes no other path."""
    forwarders: dict[tuple[str, str], Forwarder] = field(default_factory=dict)
    """Made so far, by operation and method: what policies choose between is worked out once for all of its routes."""


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


def first_route(target: Target) -> envoy.EnvoyMessage:
    """The route before all others, which takes the paths that none of them may.

    An API with `strictPaths` refuses paths that upstreams read in different ways. Any other sends a client that escapes
    slashes to the path that upstream would see, as RFC 3986 has them differ.
    """
    filters = _filters(None, target)
    if target.strict:
        match = envoy.route_match(envoy.PathMatch("regex", envoy_names.DOUBTFUL_PATH_PATTERN))
        return envoy.refusing_route(_refusal_name(target.api, 400), match, DOUBTFUL, filters)
    match = envoy.route_match(envoy.PathMatch("regex", envoy_names.ESCAPED_SLASH_PATH_PATTERN))
    plain = envoy.Redirect(307, None, None, None, (envoy_names.ESCAPED_SLASH_PATTERN, "/"))
    return envoy.redirecting_route(_refusal_name(target.api, 307), match, plain, filters)


def render_routes(paths: Sequence[RoutedPath], target: Target) -> Iterator[envoy.EnvoyMessage]:
    """All of an API's routes, in the order in which Envoy is to try them."""
    found = {routed.template: routed for routed in paths}
    index = PathIndex(found)
    covering = {template: [found[other] for other in index.covering(template)] for template in found}
    allowed = {routed.template: _allowed(covering[routed.template]) for routed in paths}
    places = [(routed, place) for routed in paths for place in _places(routed.template, index, target)]
    for routed, place in places:
        if target.strict:
            yield from _ambiguity_routes(routed, place, target)
        for operation in routed.operations:
            yield from _operation_routes(routed, place, operation, target)
    for routed, place in places:
        if routed.preflight:
            yield _preflight_route(place, routed.preflight, allowed[routed.template], target)
    for routed, place in places:
        if conditional := _conditional(covering[routed.template]):
            yield _mismatch_route(place, conditional, target)
        yield _refusing_route(place, allowed[routed.template], target)


def _places(template: PathTemplate, index: PathIndex, target: Target) -> Iterator[envoy.PathMatch]:
    """What a path of the API matches. In a strict one, no looser path takes it for having a slash more or less."""
    yield path_match(target.context, template)
    slashed = template.slashed
    if target.strict and slashed and slashed not in index and index.is_met(slashed):
        yield path_match(target.context, slashed)


def _operation_routes(
    routed: RoutedPath, place: envoy.PathMatch, operation: RoutedOperation, target: Target
) -> Iterator[envoy.EnvoyMessage]:
    name, filters = route_name(target.api, operation), _filters(operation.chain, target)
    for methods, first in _methods(routed, operation):
        match = envoy.route_match(place, methods, *_values(operation.matches))
        match operation.action:
            case Forwarding():
                yield from forwarder(operation, operation.action, first, target).routes(match)
            case OperationRedirect():
                yield envoy.redirecting_route(name, match, _redirect(operation.action, operation, target), filters)
            case Answer():
                answer = envoy.Answer(operation.action.status, operation.action.headers, operation.action.body)
                yield envoy.answering_route(name, match, answer, filters)


def _values(matches: Matches) -> tuple[list[envoy.ValueMatch], list[envoy.ValueMatch]]:
    headers = [
        envoy.ValueMatch(header.name, header.kind, header.value, header.ignore_case) for header in matches.headers
    ]
    return headers, [parameter_match(parameter) for parameter in matches.query]


def _methods(routed: RoutedPath, operation: RoutedOperation) -> Iterator[tuple[envoy.Methods, str]]:
    """What the operation's routes match, and the method that says what becomes of them: of any, GET has a route of its
    own, for a WebSocket begins as one."""
    if operation.method == ANY_METHOD and isinstance(operation.action, Forwarding):
        yield envoy.Methods(("GET",)), "GET"
        yield envoy.Methods(other=True), ANY_METHOD
    elif operation.method == ANY_METHOD:
        yield envoy.Methods(other=True), ANY_METHOD
    elif operation.method == "GET":
        heads = all(other.method != "HEAD" or other.matches for other in routed.operations)
        yield envoy.Methods(("GET", "HEAD") if heads else ("GET",)), "GET"
    else:
        yield envoy.Methods((operation.method,)), operation.method


def forwarder(operation: RoutedOperation, action: Forwarding, method: str, target: Target) -> Forwarder:
    """What makes an operation's routes to its pools, of requests with the method."""
    if made := target.forwarders.get((operation.name, method)):
        return made
    target.forwarders[operation.name, method] = made = Forwarder(
        name=route_name(target.api, operation),
        action=action,
        method=method,
        path=operation.path,
        context=target.context,
        chain=operation.chain,
        timeouts=operation.timeouts,
        filters=_filters(operation.chain, target),
        pool=target.pool,
    )
    return made


def render_chosen_routes(paths: Sequence[RoutedPath], target: Target) -> Iterator[envoy.EnvoyMessage]:
    """Where policies' choices send requests: the same for all places that an operation's path matches, each once."""
    made: dict[bytes, envoy.EnvoyMessage] = {}
    for routed in paths:
        for operation in routed.operations:
            if isinstance(operation.action, Forwarding):
                for _, method in _methods(routed, operation):
                    for route in forwarder(operation, operation.action, method, target).chosen_routes():
                        made.setdefault(envoy.serialized(route), route)
    yield from made.values()


def _redirect(redirect: OperationRedirect, operation: RoutedOperation, target: Target) -> envoy.Redirect:
    return envoy.Redirect(
        redirect.status,
        redirect.scheme if isinstance(redirect.scheme, str) else None,
        redirect.host if isinstance(redirect.host, str) else None,
        redirect.port if isinstance(redirect.port, int) else None,
        redirect_path(target.context, operation.path, redirect.path) if isinstance(redirect.path, str) else None,
    )


def _preflight_route(
    place: envoy.PathMatch, preflight: RoutedAnswer, allowed: str, target: Target
) -> envoy.EnvoyMessage:
    """For API-level policies such as CORS; where none of them answers, the answer is `Allow`."""
    match = envoy.route_match(place, envoy.Methods(("OPTIONS",)))
    answer = envoy.Answer(204, {"allow": allowed})
    return envoy.answering_route(route_name(target.api, preflight), match, answer, _filters(preflight.chain, target))


def _ambiguity_routes(routed: RoutedPath, place: envoy.PathMatch, target: Target) -> Iterator[envoy.EnvoyMessage]:
    for headers, query in ambiguous(operation.matches.query for operation in routed.operations):
        match = envoy.route_match(place, envoy.EVERY_METHOD, headers, query)
        yield envoy.refusing_route(_refusal_name(target.api, 400), match, AMBIGUOUS, _filters(None, target))


def _conditional(covering: Sequence[RoutedPath]) -> set[str]:
    """Methods of the path with which a request may come and meet no operation, for want of what they match besides; of
    one that asks for more in one operation and for nothing in another, all requests meet one."""
    operations = [operation for other in covering for operation in other.operations]
    asking = _answered(operation for operation in operations if operation.matches)
    always = _answered(operation for operation in operations if not operation.matches)
    return set() if asking <= always else asking


def _mismatch_route(place: envoy.PathMatch, methods: set[str], target: Target) -> envoy.EnvoyMessage:
    """404: the method would be right, so that 405 would be a lie."""
    others = methods >= STANDARD
    match = envoy.route_match(place, envoy.Methods(sorted(methods), other=others))
    return envoy.refusing_route(_refusal_name(target.api, 404), match, MISMATCH, _filters(None, target))


def _refusing_route(place: envoy.PathMatch, allowed: str, target: Target) -> envoy.EnvoyMessage:
    match = envoy.route_match(place)
    headers = {"allow": allowed, "content-type": "application/problem+json"}
    name = _refusal_name(target.api, 405)
    return envoy.answering_route(name, match, envoy.Answer(405, headers, NOT_ALLOWED), _filters(None, target))


def _allowed(covering: Sequence[RoutedPath]) -> str:
    return ", ".join(sorted({"OPTIONS"}.union(*(other.methods for other in covering))))


def route_name(api: str, operation: RoutedOperation | RoutedAnswer) -> str:
    """`API|OPERATION|CHAIN_ID`; the engine finds the chain by it."""
    return envoy_names.ROUTE_NAME_SEPARATOR.join([api, operation.name, operation.chain.id if operation.chain else ""])


def _refusal_name(api: str, status: int) -> str:
    """`API|STATUS|`, of a route that refuses what it matches."""
    return envoy_names.ROUTE_NAME_SEPARATOR.join([api, str(status), ""])


def _filters(chain: node_pb2.Chain | None, target: Target) -> envoy.Filters:
    return envoy.Filters(_ext_proc(chain), target.access_log)


def _ext_proc(chain: node_pb2.Chain | None) -> envoy.ExtProc | None:
    if chain is None:
        return None
    mode = chain.processing_mode
    return envoy.ExtProc(
        request_body=mode.request_body > node_pb2.BODY_MODE_SKIP,
        response_headers=mode.response_headers > node_pb2.HEADER_MODE_SKIP,
        response_body=mode.response_body > node_pb2.BODY_MODE_SKIP,
        failure_mode_allow=goes_on_when_crashed(chain),
    )


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
