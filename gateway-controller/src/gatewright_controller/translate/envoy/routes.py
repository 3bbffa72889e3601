"""Routes: what requests they match, and what becomes of those."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.ext_proc.v3 import ext_proc_pb2, processing_mode_pb2
from envoy.extensions.filters.http.set_metadata.v3 import set_metadata_pb2
from google.protobuf import wrappers_pb2

from gatewright_controller.translate.envoy.common import EnvoyMessage, duration, header, packed_any, regex, struct

EXT_PROC = "envoy.filters.http.ext_proc"
"""The filter's name in the bootstrap. An entry of this name enables the filter on a route."""

ACCESS_LOG = "gatewright.access_log"
"""A filter of the bootstrap, set_metadata, and the namespace that it writes: what the access log's filter reads."""

AUTHORITY_NAMESPACE = "gatewright.authority"
"""Dynamic metadata in which the engine tells an authority that a policy chose: {"value": "other.example"}."""

UPGRADE_NAMESPACE = "gatewright.upgrade"
"""A route's metadata that the bootstrap's log of refused upgrades reads: {"refused": "why"}."""


@dataclass(frozen=True)
class Websocket:
    """Whether clients may upgrade to one. refused: why they may not, as the log says it; "" where nothing is said."""

    allowed: bool
    refused: str = ""


@dataclass(frozen=True)
class Forward:
    """To a cluster. `rewrite` is an RE2 pattern and its substitution for the path; None: the path stays."""

    cluster: str
    authority: str
    request_timeout_ms: int
    """From the end of the request until the response begins."""
    idle_timeout_ms: int
    """Without a byte in either direction."""
    rewrite: tuple[str, str] | None
    policies_choose_authority: bool
    """Whether `authority` is what goes upstream only as long as no policy chose another one."""
    websocket: Websocket


@dataclass(frozen=True)
class Answer:
    """What Envoy answers by itself."""

    status: int
    headers: Mapping[str, str]
    body: str = ""


@dataclass(frozen=True)
class Problem:
    """What Envoy refuses by itself: RFC 9457, with the request's id."""

    status: int
    title: str
    detail: str


@dataclass(frozen=True)
class ExtProc:
    """What of an exchange goes to the engine. Request headers always do: without them no chain is found."""

    request_body: bool
    response_headers: bool
    response_body: bool
    failure_mode_allow: bool


@dataclass(frozen=True)
class Filters:
    """What the node's filters do on a route. `ext_proc` None: nothing goes to the engine. access_log: "all", "errors"
    or "none", of requests that the route takes."""

    ext_proc: ExtProc | None
    access_log: str = "all"


def forwarding_route(name: str, match: EnvoyMessage, forward: Forward, filters: Filters) -> EnvoyMessage:
    """A route to a cluster, with the time that a request may take and the authority that the upstream is given."""
    route = _route(name, match, filters)
    route.route.cluster = forward.cluster
    # Envoy's `timeout` cuts a response that is under way. The one for a try ends with the response's headers.
    route.route.timeout.CopyFrom(duration(0))
    route.route.retry_policy.per_try_timeout.CopyFrom(duration(forward.request_timeout_ms))
    route.route.idle_timeout.CopyFrom(duration(forward.idle_timeout_ms))
    if forward.policies_choose_authority:
        route.route.host_rewrite = _chosen_or_own_authority()
        route.metadata.filter_metadata[AUTHORITY_NAMESPACE].CopyFrom(struct({"value": forward.authority}))
    else:
        route.route.host_rewrite_literal = forward.authority
    if forward.websocket.allowed:
        route.route.upgrade_configs.add(upgrade_type="websocket")
    elif forward.websocket.refused:
        route.metadata.filter_metadata[UPGRADE_NAMESPACE].CopyFrom(struct({"refused": forward.websocket.refused}))
    if forward.rewrite:
        route.route.regex_rewrite.pattern.CopyFrom(regex(forward.rewrite[0]))
        route.route.regex_rewrite.substitution = forward.rewrite[1]
    return cast("EnvoyMessage", route)


def _chosen_or_own_authority() -> str:
    """A literal would overwrite what a policy set: Envoy rewrites hosts after all filters have run."""
    places = [f"{kind}:{AUTHORITY_NAMESPACE}:value" for kind in ("DYNAMIC", "ROUTE")]
    operators = [{"command": "METADATA", "param": place} for place in places]
    return f"%COALESCE({json.dumps({'operators': operators})})%"


def answering_route(name: str, match: EnvoyMessage, answer: Answer, filters: Filters) -> EnvoyMessage:
    """A route that Envoy answers itself, after the policies of its chain."""
    route = _route(name, match, filters)
    route.direct_response.status = answer.status
    if answer.body:
        route.direct_response.body.inline_string = answer.body
    literal = ((name, value.replace("%", "%%")) for name, value in sorted(answer.headers.items()))
    route.response_headers_to_add.extend(header(*pair) for pair in literal)
    return cast("EnvoyMessage", route)


def refusing_route(name: str, match: EnvoyMessage, problem: Problem, filters: Filters) -> EnvoyMessage:
    """A route that Envoy answers itself with a problem."""
    route = _route(name, match, filters)
    route.direct_response.status = problem.status
    shown = {
        "type": "about:blank",
        "title": problem.title,
        "detail": problem.detail,
        "requestId": "%REQ(X-REQUEST-ID)%",
    }
    route.direct_response.body_format.json_format.update({**shown, "status": problem.status})
    route.direct_response.body_format.content_type = "application/problem+json"
    return cast("EnvoyMessage", route)


def _route(name: str, match: EnvoyMessage, filters: Filters) -> route_components_pb2.Route:
    route = route_components_pb2.Route(name=name, match=match)
    if filters.ext_proc:
        route.typed_per_filter_config[EXT_PROC].CopyFrom(packed_any(_per_route(filters.ext_proc)))
    if filters.access_log != "all":
        route.typed_per_filter_config[ACCESS_LOG].CopyFrom(packed_any(_access_log(filters.access_log)))
    return route


def _access_log(lines: str) -> EnvoyMessage:
    told = set_metadata_pb2.Metadata(metadata_namespace=ACCESS_LOG, value=struct({"lines": lines}))
    return cast("EnvoyMessage", set_metadata_pb2.Config(metadata=[told]))


def _per_route(ext_proc: ExtProc) -> EnvoyMessage:
    mode = processing_mode_pb2.ProcessingMode
    body = {True: mode.FULL_DUPLEX_STREAMED, False: mode.NONE}
    send = {True: mode.SEND, False: mode.SKIP}
    wanted = mode(
        request_header_mode=mode.SEND,
        request_body_mode=body[ext_proc.request_body],
        request_trailer_mode=send[ext_proc.request_body],
        response_header_mode=send[ext_proc.response_headers or ext_proc.response_body],
        response_body_mode=body[ext_proc.response_body],
        response_trailer_mode=send[ext_proc.response_body],
    )
    overrides = ext_proc_pb2.ExtProcOverrides(
        processing_mode=wanted, failure_mode_allow=wrappers_pb2.BoolValue(value=ext_proc.failure_mode_allow)
    )
    return cast("EnvoyMessage", ext_proc_pb2.ExtProcPerRoute(overrides=overrides))
