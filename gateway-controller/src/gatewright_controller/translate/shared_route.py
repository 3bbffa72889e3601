"""One Envoy route for all operations of an API, of which the engine finds the operation by the API's table.

What an API costs Envoy is the number of its routes (decision 82). So operations share one where all of them have
policies, and differ by nothing but these and what they match: the engine sees each request anyway (decision 89).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from msgspec.structs import replace

from gatewright_controller._gen import envoy_names, node_pb2
from gatewright_controller.translate import envoy
from gatewright_controller.translate.actions import Forwarding
from gatewright_controller.translate.identity import digest_of
from gatewright_controller.translate.route_table import (
    Preflight,
    Refusal,
    Routed,
    RoutedPath,
    Row,
    Unescaping,
    first_row,
    rows_of,
)
from gatewright_controller.translate.routes import Target, filters_of, forwarder

EVERYTHING = envoy.PathMatch("everything")
NO_WEBSOCKET = envoy.Websocket(allowed=False)
UNMATCHED = Row(EVERYTHING, Refusal(envoy.Problem(404, "Not Found", envoy.NO_ROUTE)))
"""The last row. Where operations have routes of their own, such requests match none of them, and Envoy refuses them."""
REFUSED, UNROUTED = "direct_response", "route_not_found"
"""What Envoy's access log says of answers that routes give, and of requests without a route."""


class SharedRoute(msgspec.Struct, frozen=True):
    """The route, and the table by which the engine finds the operation."""

    route: envoy.EnvoyMessage
    table: node_pb2.OperationTable


def share(paths: Sequence[RoutedPath], target: Target) -> SharedRoute | None:
    """None where operations need routes of their own."""
    if not all(operation.chain for routed in paths for operation in routed.operations):
        return None
    rows = _rows(paths, target)
    common = _common(rows, target)
    if common is None:
        return None
    table = _table(rows, target, _websocket)
    name = envoy_names.ROUTE_NAME_SEPARATOR.join([target.api, "", table.id])
    paths_in = EVERYTHING if target.context == "/" else envoy.PathMatch("prefix", target.context)
    return SharedRoute(envoy.forwarding_route(name, envoy.route_match(paths_in), *common), table)


def attached_table(paths: Sequence[RoutedPath], target: Target) -> node_pb2.OperationTable:
    """That of an API whose requests another Envoy sends on; an upgraded connection would pass its policies by."""
    return _table(_rows(paths, target), target, None)


def _rows(paths: Sequence[RoutedPath], target: Target) -> list[Row]:
    return [first_row(strict=target.strict), *rows_of(paths, target.context, strict=target.strict), UNMATCHED]


def _common(rows: Sequence[Row], target: Target) -> tuple[envoy.Forward, envoy.Filters] | None:
    """What Envoy does with all of the API's requests; None where that differs, or the engine does not see them all."""
    operations = [row.outcome for row in rows if isinstance(row.outcome, Routed)]
    preflights = [row.outcome.answer.chain for row in rows if isinstance(row.outcome, Preflight)]
    filters = [filters_of(routed.operation.chain, target) for routed in operations]
    filters += [filters_of(chain, target) for chain in preflights if chain]
    ext_proc = filters[0].ext_proc
    # failure_mode_allow: without the engine Envoy would pass on requests of any method and path.
    if not ext_proc or ext_proc.failure_mode_allow or not _agree(filters):
        return None
    forwards = [_forward(routed, target) for routed in operations]
    found = [forward for forward in forwards if forward]
    if len(found) < len(forwards):
        return None
    # Only a GET opens a WebSocket, and the engine refuses others: their routes may differ in that.
    opening = [forward.websocket for forward, routed in zip(found, operations, strict=True) if routed.method == "GET"]
    times = [routed.operation.timeouts for routed in operations]
    longest = max((time.idle_ms for time in times if not time.idle_is_set), default=0)
    idle_ms = [time.idle_ms if time.idle_is_set else longest for time in times]
    others = [
        replace(forward, websocket=NO_WEBSOCKET, idle_timeout_ms=own)
        for forward, own in zip(found, idle_ms, strict=True)
    ]
    if not _agree(others) or not _agree(opening):
        return None
    return replace(others[0], websocket=opening[0] if opening else NO_WEBSOCKET), filters[0]


def _agree(values: Sequence[object]) -> bool:
    return all(value == values[0] for value in values)


def _forward(routed: Routed, target: Target) -> envoy.Forward | None:
    """What Envoy does with an operation's requests; None where it goes nowhere, or one route cannot say it all."""
    operation = routed.operation
    if not isinstance(operation.action, Forwarding):
        return None
    return forwarder(operation, operation.action, routed.method, target).whole


def _websocket(routed: Routed, target: Target) -> bool:
    forward = _forward(routed, target)
    return forward is not None and forward.websocket.allowed


def _table(
    rows: Sequence[Row], target: Target, websocket: Callable[[Routed, Target], bool] | None
) -> node_pb2.OperationTable:
    table, places = node_pb2.OperationTable(), dict[envoy.PathMatch, int]()
    for row in rows:
        if row.place not in places:
            places[row.place] = len(places)
            table.paths.append(_path(row.place))
        message = _row(row, places[row.place])
        if websocket is not None and isinstance(row.outcome, Routed):
            message.websocket = websocket(row.outcome, target)
        table.rows.append(message)
    table.id = digest_of([target.api, table.SerializeToString(deterministic=True).hex()])
    return table


def _row(row: Row, place: int) -> node_pb2.OperationRow:
    message = node_pb2.OperationRow(
        path=place,
        methods=row.methods.named,
        other_methods=row.methods.other,
        headers=map(_value, row.headers),
        query=map(_value, row.query),
    )
    match row.outcome:
        case Routed(operation):
            message.operation, message.chain = operation.name, _chain_id(operation.chain)
        case Preflight(answer, allowed):
            message.operation, message.chain = answer.name, _chain_id(answer.chain)
            message.answer.CopyFrom(node_pb2.OwnAnswer(status=204, allow=allowed, details=REFUSED))
        case Refusal(problem, allowed):
            message.operation = str(problem.status)
            details = UNROUTED if row is UNMATCHED else REFUSED
            message.answer.CopyFrom(
                node_pb2.OwnAnswer(status=problem.status, detail=problem.detail, allow=allowed, details=details)
            )
        case Unescaping():
            message.operation = "307"
            message.answer.CopyFrom(node_pb2.OwnAnswer(status=307, unescape_slashes=True, details=REFUSED))
    return message


def _chain_id(chain: node_pb2.Chain | None) -> str:
    return chain.id if chain else ""


def _path(place: envoy.PathMatch) -> node_pb2.PathMatch:
    return node_pb2.PathMatch(**({} if place.kind == "everything" else {place.kind: place.value}))


def _value(match: envoy.ValueMatch) -> node_pb2.ValueMatch:
    message = node_pb2.ValueMatch(name=match.name, ignore_case=match.ignore_case)
    if match.kind in ("present", "absent"):
        message.present = match.kind == "present"
    else:
        setattr(message, match.kind, match.value)
    return message
