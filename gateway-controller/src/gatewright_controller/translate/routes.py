"""An API's operations to Envoy routes, one for each row of its table, where they do not share a route."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from gatewright_controller._gen import envoy_names, node_pb2
from gatewright_controller.model import AccessLog, Answer, OperationRedirect
from gatewright_controller.translate import envoy
from gatewright_controller.translate.actions import Forwarding
from gatewright_controller.translate.chains import goes_on_when_crashed
from gatewright_controller.translate.forwarding import Forwarder
from gatewright_controller.translate.pools import Pool
from gatewright_controller.translate.rewrites import redirect_path
from gatewright_controller.translate.route_table import (
    Preflight,
    Refusal,
    Routed,
    RoutedAnswer,
    RoutedOperation,
    RoutedPath,
    Row,
    Unescaping,
    first_row,
    methods_of,
    rows_of,
)


class Target(msgspec.Struct, frozen=True):
    """Where an API's requests come in, and where they go."""

    api: str
    context: str
    pool: Callable[[str], Pool]
    """Those of the API by their names."""
    access_log: AccessLog = "all"
    strict: bool = False
    """Whether a slash at the end makes no other path."""
    tried: Mapping[str, Pool] = msgspec.field(default_factory=dict)
    """Those of the API as requests with several attempts go to them."""
    forwarders: dict[tuple[str, str], Forwarder] = msgspec.field(default_factory=dict)
    """Made so far, by operation and method: what policies choose between is worked out once for all of its routes."""


def first_route(target: Target) -> envoy.EnvoyMessage:
    """The route before all others."""
    (route,) = _routes(first_row(strict=target.strict), target)
    return route


def render_routes(paths: Sequence[RoutedPath], target: Target) -> Iterator[envoy.EnvoyMessage]:
    """All others, in the order in which Envoy is to try them."""
    for row in rows_of(paths, target.context, strict=target.strict):
        yield from _routes(row, target)


def _routes(row: Row, target: Target) -> Iterator[envoy.EnvoyMessage]:
    match = envoy.route_match(row.place, row.methods, row.headers, row.query)
    match row.outcome:
        case Routed():
            yield from _operation_routes(row.outcome, match, target)
        case Preflight():
            name, answer = route_name(target.api, row.outcome.answer), envoy.Answer(204, {"allow": row.outcome.allowed})
            yield envoy.answering_route(name, match, answer, filters_of(row.outcome.answer.chain, target))
        case Refusal():
            yield _refusing_route(row.outcome, match, target)
        case Unescaping():
            plain = envoy.Redirect(307, None, None, None, (envoy_names.ESCAPED_SLASH_PATTERN, "/"))
            yield envoy.redirecting_route(_refusal_name(target.api, 307), match, plain, filters_of(None, target))


def _operation_routes(routed: Routed, match: envoy.EnvoyMessage, target: Target) -> Iterator[envoy.EnvoyMessage]:
    operation = routed.operation
    name, filters = route_name(target.api, operation), filters_of(operation.chain, target)
    match operation.action:
        case Forwarding():
            yield from forwarder(operation, operation.action, routed.method, target).routes(match)
        case OperationRedirect():
            yield envoy.redirecting_route(name, match, _redirect(operation.action, operation, target), filters)
        case Answer():
            answer = envoy.Answer(operation.action.status, operation.action.headers, operation.action.body)
            yield envoy.answering_route(name, match, answer, filters)


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
        filters=filters_of(operation.chain, target),
        pool=target.pool,
        tried=target.tried,
    )
    return made


def render_chosen_routes(paths: Sequence[RoutedPath], target: Target) -> Iterator[envoy.EnvoyMessage]:
    """Where policies' choices send requests: the same for all places that an operation's path matches, each once."""
    made: dict[bytes, envoy.EnvoyMessage] = {}
    for routed in paths:
        for operation in routed.operations:
            if isinstance(operation.action, Forwarding):
                for _, method in methods_of(routed, operation):
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


def _refusing_route(refusal: Refusal, match: envoy.EnvoyMessage, target: Target) -> envoy.EnvoyMessage:
    problem, filters = refusal.problem, filters_of(None, target)
    name = _refusal_name(target.api, problem.status)
    if not refusal.allowed:
        return envoy.refusing_route(name, match, problem, filters)
    members = {"type": "about:blank", "title": problem.title, "status": problem.status, "detail": problem.detail}
    headers = {"allow": refusal.allowed, "content-type": "application/problem+json"}
    return envoy.answering_route(name, match, envoy.Answer(problem.status, headers, json.dumps(members)), filters)


def route_name(api: str, operation: RoutedOperation | RoutedAnswer) -> str:
    """`API|OPERATION|CHAIN_ID`; the engine finds the chain by it."""
    return envoy_names.ROUTE_NAME_SEPARATOR.join([api, operation.name, operation.chain.id if operation.chain else ""])


def _refusal_name(api: str, status: int) -> str:
    """`API|STATUS|`, of a route that refuses what it matches."""
    return envoy_names.ROUTE_NAME_SEPARATOR.join([api, str(status), ""])


def filters_of(chain: node_pb2.Chain | None, target: Target) -> envoy.Filters:
    return envoy.Filters(_ext_proc(chain), target.access_log)


def _ext_proc(chain: node_pb2.Chain | None) -> envoy.ExtProc | None:
    if chain is None:
        return None
    mode = chain.processing_mode
    return envoy.ExtProc(
        request_body=mode.request_body > node_pb2.BODY_MODE_SKIP,
        response_headers=chain.failover or mode.response_headers > node_pb2.HEADER_MODE_SKIP,
        response_body=mode.response_body > node_pb2.BODY_MODE_SKIP,
        failure_mode_allow=goes_on_when_crashed(chain),
    )
