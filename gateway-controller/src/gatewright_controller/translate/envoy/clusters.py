"""Clusters: one upstream each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import address_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from envoy.type.matcher.v3 import string_pb2

from gatewright_controller.model import UpstreamProtocol
from gatewright_controller.translate.envoy.common import EnvoyMessage, duration, packed_any

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
"""Where a cluster has what it speaks."""

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
    built = cluster_pb2.Cluster(name=name, type=kind, connect_timeout=duration(connect_timeout_ms))
    built.per_connection_buffer_limit_bytes.value = BUFFER_BYTES
    built.load_assignment.cluster_name = name
    built.load_assignment.endpoints.add().lb_endpoints.append(_endpoint(host, port))
    threshold = built.circuit_breakers.thresholds.add()
    for limit in (threshold.max_connections, threshold.max_pending_requests, threshold.max_requests):
        limit.value = UNLIMITED
    built.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(
        packed_any(_http_options(protocol, negotiated=tls is not None))
    )
    if tls:
        built.transport_socket.name = "envoy.transport_sockets.tls"
        built.transport_socket.typed_config.CopyFrom(packed_any(_tls(tls)))
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
