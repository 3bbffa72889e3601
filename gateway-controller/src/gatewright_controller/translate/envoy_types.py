"""The one place that touches Envoy's protos, whose Python packages have no types: typed values in, messages out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, cast

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import address_pb2, base_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.ext_proc.v3 import ext_proc_pb2, processing_mode_pb2
from envoy.extensions.filters.http.set_metadata.v3 import set_metadata_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2
from google.protobuf import any_pb2, duration_pb2, message, struct_pb2, wrappers_pb2

from gatewright_controller.model import UpstreamProtocol

EXT_PROC = "envoy.filters.http.ext_proc"
"""The filter's name in the bootstrap. An entry of this name enables the filter on a route."""

ACCESS_LOG = "gatewright.access_log"
"""A filter of the bootstrap, set_metadata, and the namespace that it writes: what the access log's filter reads."""

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
"""Where a cluster has what it speaks."""

AUTHORITY_NAMESPACE = "gatewright.authority"
"""Dynamic metadata in which the engine tells an authority that a policy chose: {"value": "other.example"}."""

UPGRADE_NAMESPACE = "gatewright.upgrade"
"""A route's metadata that the bootstrap's log of refused upgrades reads: {"refused": "why"}."""


class EnvoyMessage(Protocol):
    """What is done with a finished message: it is put into another one, or serialized."""

    def SerializeToString(self, *, deterministic: bool) -> bytes: ...  # noqa: N802 - protobuf's name


def serialized(built: EnvoyMessage) -> bytes:
    """The same bytes for the same message, in this version of protobuf."""
    return built.SerializeToString(deterministic=True)


def _any(built: EnvoyMessage) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(cast("message.Message", built), deterministic=True)
    return packed


def _duration(milliseconds: int) -> duration_pb2.Duration:
    return duration_pb2.Duration(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)


def _regex(pattern: str) -> EnvoyMessage:
    return cast("EnvoyMessage", regex_pb2.RegexMatcher(regex=pattern))


# ---------------------------------------------------------------- matches


@dataclass(frozen=True)
class PathMatch:
    """`exact` and `regex` (RE2) match the whole path, `prefix` a path and all below it, `everything` any."""

    kind: Literal["exact", "regex", "prefix", "everything"]
    value: str = ""


def route_match(path: PathMatch, methods: Sequence[str] = ()) -> EnvoyMessage:
    """Requests to the path by one of the methods, or by any."""
    match = route_components_pb2.RouteMatch()
    match path.kind:
        case "exact":
            match.path = path.value
        case "prefix":
            match.path_separated_prefix = path.value
        case "everything":
            match.prefix = "/"
        case _:
            match.safe_regex.CopyFrom(_regex(path.value))
    if methods:
        match.headers.append(_method_is(methods))
    return cast("EnvoyMessage", match)


def _method_is(methods: Sequence[str]) -> EnvoyMessage:
    if len(methods) == 1:
        wanted = string_pb2.StringMatcher(exact=methods[0])
    else:
        wanted = string_pb2.StringMatcher(safe_regex=_regex("|".join(methods)))
    return cast("EnvoyMessage", route_components_pb2.HeaderMatcher(name=":method", string_match=wanted))


# ---------------------------------------------------------------- routes


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
    route.route.timeout.CopyFrom(_duration(0))
    route.route.retry_policy.per_try_timeout.CopyFrom(_duration(forward.request_timeout_ms))
    route.route.idle_timeout.CopyFrom(_duration(forward.idle_timeout_ms))
    if forward.policies_choose_authority:
        route.route.host_rewrite = _chosen_or_own_authority()
        route.metadata.filter_metadata[AUTHORITY_NAMESPACE].CopyFrom(_struct({"value": forward.authority}))
    else:
        route.route.host_rewrite_literal = forward.authority
    if forward.websocket.allowed:
        route.route.upgrade_configs.add(upgrade_type="websocket")
    elif forward.websocket.refused:
        route.metadata.filter_metadata[UPGRADE_NAMESPACE].CopyFrom(_struct({"refused": forward.websocket.refused}))
    if forward.rewrite:
        route.route.regex_rewrite.pattern.CopyFrom(_regex(forward.rewrite[0]))
        route.route.regex_rewrite.substitution = forward.rewrite[1]
    return cast("EnvoyMessage", route)


def _chosen_or_own_authority() -> str:
    """A literal would overwrite what a policy set: Envoy rewrites hosts after all filters have run."""
    places = [f"{kind}:{AUTHORITY_NAMESPACE}:value" for kind in ("DYNAMIC", "ROUTE")]
    operators = [{"command": "METADATA", "param": place} for place in places]
    return f"%COALESCE({json.dumps({'operators': operators})})%"


def _struct(values: Mapping[str, str]) -> struct_pb2.Struct:
    built = struct_pb2.Struct()
    built.update(dict(values))
    return built


def answering_route(name: str, match: EnvoyMessage, answer: Answer, filters: Filters) -> EnvoyMessage:
    """A route that Envoy answers itself, after the policies of its chain."""
    route = _route(name, match, filters)
    route.direct_response.status = answer.status
    if answer.body:
        route.direct_response.body.inline_string = answer.body
    route.response_headers_to_add.extend(_header(*pair) for pair in sorted(answer.headers.items()))
    return cast("EnvoyMessage", route)


def _route(name: str, match: EnvoyMessage, filters: Filters) -> route_components_pb2.Route:
    route = route_components_pb2.Route(name=name, match=match)
    if filters.ext_proc:
        route.typed_per_filter_config[EXT_PROC].CopyFrom(_any(_per_route(filters.ext_proc)))
    if filters.access_log != "all":
        route.typed_per_filter_config[ACCESS_LOG].CopyFrom(_any(_access_log(filters.access_log)))
    return route


def _access_log(lines: str) -> EnvoyMessage:
    told = set_metadata_pb2.Metadata(metadata_namespace=ACCESS_LOG, value=_struct({"lines": lines}))
    return cast("EnvoyMessage", set_metadata_pb2.Config(metadata=[told]))


def _header(name: str, value: str) -> EnvoyMessage:
    option = base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=name, value=value),
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )
    return cast("EnvoyMessage", option)


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


# ---------------------------------------------------------------- clusters

UNLIMITED = 1_000_000
"""Envoy's defaults of 1,024 fail requests that policies hold; what bounds a node is its memory, not this."""

HEADER_LINES, HEADER_KIB = 256, 256
"""What is taken of a response's headers, and with policies' changes; as the bootstrap has it for requests. Envoy's
defaults of 100 and 60 leave policies no room; the engine has lower limits, and says whose fault it is."""

BUFFER_BYTES = 32 << 10
"""What Envoy reads ahead of a response whose client reads slowly; as the bootstrap has it for requests."""

STREAM_WINDOW_BYTES, CONNECTION_WINDOW_BYTES = 64 << 10, 1 << 20
"""The same with HTTP/2, for one response and for all of a connection; Envoy's defaults are 16 and 24 MiB."""


@dataclass(frozen=True)
class Tls:
    """`server_name` is sent and verified; an address is verified only. `trusted_ca` is a PEM file on the node."""

    server_name: str
    is_address: bool
    trusted_ca: str


def cluster(
    name: str,
    *,
    host: str,
    port: int,
    is_address: bool,
    connect_timeout_ms: int,
    protocol: UpstreamProtocol,
    tls: Tls | None,
) -> EnvoyMessage:
    """One upstream, at an address or at all addresses of a name."""
    kind = cluster_pb2.Cluster.STATIC if is_address else cluster_pb2.Cluster.STRICT_DNS
    built = cluster_pb2.Cluster(name=name, type=kind, connect_timeout=_duration(connect_timeout_ms))
    built.per_connection_buffer_limit_bytes.value = BUFFER_BYTES
    built.load_assignment.cluster_name = name
    built.load_assignment.endpoints.add().lb_endpoints.append(_endpoint(host, port))
    threshold = built.circuit_breakers.thresholds.add()
    for limit in (threshold.max_connections, threshold.max_pending_requests, threshold.max_requests):
        limit.value = UNLIMITED
    built.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(
        _any(_http_options(protocol, negotiated=tls is not None))
    )
    if tls:
        built.transport_socket.name = "envoy.transport_sockets.tls"
        built.transport_socket.typed_config.CopyFrom(_any(_tls(tls)))
    return cast("EnvoyMessage", built)


def _http_options(protocol: UpstreamProtocol, *, negotiated: bool) -> EnvoyMessage:
    """`auto` is what the upstream chooses where that is `negotiated`, by ALPN, else what the client speaks."""
    options = http_protocol_options_pb2.HttpProtocolOptions()
    if protocol != "auto":
        spoken = options.explicit_http_config
    else:
        spoken = options.auto_config if negotiated else options.use_downstream_protocol_config
    if protocol != "http2":
        spoken.http_protocol_options.enable_trailers = True
    if protocol != "http1":
        spoken.http2_protocol_options.allow_connect = True  # WebSockets, by RFC 8441
        spoken.http2_protocol_options.initial_stream_window_size.value = STREAM_WINDOW_BYTES
        spoken.http2_protocol_options.initial_connection_window_size.value = CONNECTION_WINDOW_BYTES
    options.common_http_protocol_options.max_headers_count.value = HEADER_LINES
    options.common_http_protocol_options.max_response_headers_kb.value = HEADER_KIB
    return cast("EnvoyMessage", options)


def _endpoint(host: str, port: int) -> EnvoyMessage:
    address = address_pb2.Address(socket_address=address_pb2.SocketAddress(address=host, port_value=port))
    endpoint = endpoint_components_pb2.Endpoint(address=address)
    return cast("EnvoyMessage", endpoint_components_pb2.LbEndpoint(endpoint=endpoint))


def _tls(tls: Tls) -> EnvoyMessage:
    context = tls_pb2.UpstreamTlsContext(sni="" if tls.is_address else tls.server_name)
    validation = context.common_tls_context.validation_context
    validation.trusted_ca.filename = tls.trusted_ca
    names = common_pb2.SubjectAltNameMatcher
    validation.match_typed_subject_alt_names.add(
        san_type=names.IP_ADDRESS if tls.is_address else names.DNS,
        matcher=string_pb2.StringMatcher(exact=tls.server_name),
    )
    return cast("EnvoyMessage", context)
