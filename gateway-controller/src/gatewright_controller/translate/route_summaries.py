"""What a request to each operation of an API meets, in short texts to be compared and shown to people.

They are made of the values that the routes are rendered from, so that what is said is what nodes are sent. No text has
a policy's parameters, which may be secret: these are compared by a digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import msgspec

from gatewright_controller._gen import node_pb2
from gatewright_controller.model import Answer, Api, OperationRedirect
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.resource.paths import PathTemplate, context_of
from gatewright_controller.translate.actions import Forwarding
from gatewright_controller.translate.bundle import routed_paths
from gatewright_controller.translate.pools import Pools, targets_of
from gatewright_controller.translate.route_table import RoutedOperation
from gatewright_controller.translate.settings import EdgeSettings


class PolicySummary(msgspec.Struct, frozen=True):
    """An attachment. settings: all else of it, its parameters too, as a digest."""

    name: str
    version: str
    shadow: bool
    settings: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}{' (shadow)' if self.shadow else ''}"


class RouteSummary(msgspec.Struct, frozen=True):
    """operation: `GET /items/{id} [x-version=2]`, below the context. target: "goes to http://orders:8080/api".
    policies: in the order in which requests pass them. times: in milliseconds, by what they are called. details: what
    else holds for it, by what it is called, as texts that are compared and not shown.
    """

    operation: str
    method: str
    path: str
    """The whole one, with the context: `/orders/v1/items/{id}`."""
    template: PathTemplate
    """The path below the context."""
    target: str
    policies: tuple[PolicySummary, ...]
    times: Mapping[str, int]
    details: Mapping[str, str]


def summarize_routes(api: Api, definitions: Definitions, settings: EdgeSettings) -> list[RouteSummary]:
    """Those of a valid API with exact versions, in the order in which requests are matched. Raises
    `UnknownPolicyError` if a policy has left the definitions since."""
    pools = Pools.of(api.spec.upstreams, settings, maps_paths=api.spec.map_upstream_paths)
    context = context_of(api.spec.context, api.spec.version)
    return [
        _summary(api, context, operation)
        for path in routed_paths(api, definitions, settings, pools)
        for operation in path.operations
    ]


def _summary(api: Api, context: str, operation: RoutedOperation) -> RouteSummary:
    method, _, path = operation.name.partition(" ")
    base = "" if context == "/" else context
    attachments = operation.chain.attachments if operation.chain else ()
    return RouteSummary(
        operation.name,
        method,
        base + path,
        operation.path,
        _target(api, operation),
        tuple(_policy(attachment) for attachment in attachments),
        _times(operation),
        dict(_details(api, operation)),
    )


def _policy(attachment: node_pb2.Attachment) -> PolicySummary:
    rest = node_pb2.Attachment()
    rest.CopyFrom(attachment)
    for name in ("policy_version", "definition_digest", "processing_mode", "operation", "instance"):
        rest.ClearField(name)  # which follow from the version, the place and the rest
    digest = hashlib.sha256(rest.SerializeToString(deterministic=True)).hexdigest()
    return PolicySummary(attachment.policy_name, attachment.policy_version, attachment.shadow, digest)


def _target(api: Api, operation: RoutedOperation) -> str:
    match operation.action:
        case Answer() as answer:
            return f"is answered {answer.status} by the gateway"
        case OperationRedirect() as redirect:
            parts = {**msgspec.to_builtins(redirect), "status": redirect.status}
            where = " ".join(str(parts[name]) for name in ("scheme", "host", "port", "path") if name in parts)
            return f"is redirected ({redirect.status}) to {where or 'where it was asked'}"
        case Forwarding() if api.spec.attach_to:
            return "goes where the attached Envoy sends it"
        case Forwarding() as forwarding:
            return f"goes to {_destinations(api, forwarding)}"


def _destinations(api: Api, forwarding: Forwarding) -> str:
    whole = sum(weight for _, weight in forwarding.pools)
    parts = []
    for name, weight in forwarding.pools:
        if isinstance(name, Answer):
            parts.append(f"an answer {name.status} of the gateway ({weight / whole:.3%} of requests)")
            continue
        urls = " or ".join(target.url for target in targets_of(api.spec.upstreams[name]))
        parts.append(urls if len(forwarding.pools) == 1 else f"{urls} ({weight / whole:.3%} of requests)")
    return " and ".join(parts)


def _times(operation: RoutedOperation) -> dict[str, int]:
    if not isinstance(operation.action, Forwarding):
        return {}
    times = {
        "the time that an upstream has to begin its answer": operation.timeouts.request_ms,
        "the time that may pass without a byte": operation.timeouts.idle_ms,
        "the time that a whole exchange may take": operation.action.stream_timeout_ms,
        "the time that a WebSocket may be idle": operation.action.websocket_idle_ms,
    }
    return {name: milliseconds for name, milliseconds in times.items() if milliseconds is not None}


def _details(api: Api, operation: RoutedOperation) -> Iterator[tuple[str, str]]:
    action = operation.action
    if isinstance(action, Forwarding):
        pools = {name: api.spec.upstreams[name] for name in sorted(action.named & api.spec.upstreams.keys())}
        yield "settings of its upstream", _text(pools)
        yield "mirrors", _text(action.mirrors)
        yield "retries", _text(action.retries)
        yield "failover", _text(action.failover)
        yield "rewriting of its requests", _text(action.rewrite)
        yield "rule for WebSockets", _text(action.websocket)
    else:
        yield "answer", _text(action)


def _text(value: object) -> str:
    return msgspec.json.encode(value, order="sorted").decode()
