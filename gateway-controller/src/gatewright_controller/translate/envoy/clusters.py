"""Clusters: a pool of targets each."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import cast

import msgspec
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import address_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from msgspec import UNSET

from gatewright_controller.model import CircuitBreaker, Dns, TcpKeepalive, Upstream, UpstreamProtocol, milliseconds
from gatewright_controller.resource.upstream import UpstreamUrl
from gatewright_controller.translate.envoy.attempts import attempt_filters
from gatewright_controller.translate.envoy.balancing import balance
from gatewright_controller.translate.envoy.common import EnvoyMessage, duration, packed_any
from gatewright_controller.translate.envoy.health import ejection, health_check
from gatewright_controller.translate.envoy.upstream_paths import upstream_filters
from gatewright_controller.translate.envoy.upstream_tls import PoolTls, transport_sockets

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
"""Where a cluster has what it speaks."""

UNLIMITED = 1_000_000
"""Envoy's defaults of 1,024 fail requests that policies hold; what bounds a node is its memory, not this."""

RETRY_PERCENT, RETRY_LEAST = 25, 100
"""Of the requests under way, and how many at once whatever is under way: enough for one target of a few that dies, and
no storm where all do. Envoy's defaults are 3 at once."""

HEADER_LINES, HEADER_KIB = 256, 256
"""What is taken of a response's headers, and with policies' changes; as listeners have it for requests. Envoy's
defaults of 100 and 60 leave policies no room; the engine has lower limits, and says whose fault it is."""

BUFFER_BYTES = 32 << 10
"""What Envoy reads ahead of a response whose client reads slowly; as listeners have it for requests."""

STREAM_WINDOW_BYTES, CONNECTION_WINDOW_BYTES = 64 << 10, 1 << 20
"""The same with HTTP/2, for one response and for all of a connection; Envoy's defaults are 16 and 24 MiB."""

FAMILIES = {"auto": 0, "ipv4": 1, "ipv6": 2, "preferIpv4": 3, "all": 4}
OTHER = re.compile(r"[^A-Za-z0-9_]+")


class PoolTarget(msgspec.Struct, frozen=True):
    """One target of a pool; zone "" is none."""

    url: UpstreamUrl
    weight: int
    zone: str


class Content(msgspec.Struct, frozen=True):
    """All that a cluster says. `connect_timeout_ms` is for pools that do not say; `trusted_ca`, a PEM file on the node,
    for those that name no authority. maps_paths: paths in the upstream's answers are mapped to those of the API.
    attempts: its requests are attempts, of which others may follow at other pools.
    """

    upstream: Upstream
    targets: Sequence[PoolTarget]
    protocol: UpstreamProtocol
    connect_timeout_ms: int
    trusted_ca: str
    maps_paths: bool = False
    attempts: bool = False

    @property
    def authority(self) -> str:
        """What targets are called, by health checks as by requests."""
        return self.upstream.host or self.targets[0].url.authority

    @property
    def tls(self) -> PoolTls | None:
        """None in clear."""
        return PoolTls(self.upstream.tls, self.trusted_ca) if self.targets[0].url.secure else None


def cluster(content: Content) -> EnvoyMessage:
    """A pool, named after a target and all of its content.

    `orders-internal-8080|HASH`: dots would end the cluster's name in the names of Envoy's statistics.
    """
    built = _cluster_without_name(content)
    digest = hashlib.sha256(built.SerializeToString(deterministic=True)).hexdigest()[:32]
    first = content.targets[0].url
    kind = "-attempts" if content.attempts else ""
    built.name = f"{OTHER.sub('-', first.socket or first.authority).strip('-')[:64]}{kind}|{digest}"
    built.load_assignment.cluster_name = built.name
    return cast("EnvoyMessage", built)


def name_of(built: EnvoyMessage) -> str:
    """What routes call the cluster."""
    return str(cast("cluster_pb2.Cluster", built).name)


def _cluster_without_name(content: Content) -> cluster_pb2.Cluster:
    upstream = content.upstream
    connect = milliseconds(upstream.connect_timeout) if upstream.connect_timeout else content.connect_timeout_ms
    built = cluster_pb2.Cluster(connect_timeout=duration(connect))
    built.per_connection_buffer_limit_bytes.value = BUFFER_BYTES
    _add_targets(built, content)
    _set_discovery(built, content.targets, upstream.dns)
    balance(built, upstream.load_balancing, zoned=any(target.zone for target in content.targets))
    _set_limits(built, upstream.circuit_breaker, attempts=content.attempts)
    if upstream.health_check:
        built.health_checks.append(
            health_check(upstream.health_check, content.authority, content.protocol, secure=content.tls is not None)
        )
        built.ignore_health_on_host_removal = True
    if watched := ejection(upstream.ejection):
        built.outlier_detection.CopyFrom(watched)
    if upstream.tcp_keepalive:
        built.upstream_connection_options.tcp_keepalive.CopyFrom(_keepalive(upstream.tcp_keepalive))
    built.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(packed_any(_http_options(content)))
    transport_sockets(built, [target.url for target in content.targets], content.tls, upstream.proxy_protocol or "")
    return built


def _add_targets(built: cluster_pb2.Cluster, content: Content) -> None:
    """Targets by zones, in the order in which they are named."""
    for zone in dict.fromkeys(target.zone for target in content.targets):
        targets = [target for target in content.targets if target.zone == zone]
        locality = built.load_assignment.endpoints.add()
        if zone:
            locality.locality.zone = zone
        if any(target.zone for target in content.targets):
            locality.load_balancing_weight.value = sum(target.weight for target in targets)
        for target in targets:
            endpoint = locality.lb_endpoints.add()
            endpoint.endpoint.address.CopyFrom(_address(target.url))
            if target.weight != 1:
                endpoint.load_balancing_weight.value = target.weight


def _address(url: UpstreamUrl) -> EnvoyMessage:
    if url.socket:
        return cast("EnvoyMessage", address_pb2.Address(pipe=address_pb2.Pipe(path=url.socket)))
    place = address_pb2.SocketAddress(address=url.host, port_value=url.port)
    return cast("EnvoyMessage", address_pb2.Address(socket_address=place))


def _set_discovery(built: cluster_pb2.Cluster, targets: Sequence[PoolTarget], dns: Dns) -> None:
    if all(target.url.is_address for target in targets):
        built.type = cluster_pb2.Cluster.STATIC
        return
    kinds = {"strict": cluster_pb2.Cluster.STRICT_DNS, "logical": cluster_pb2.Cluster.LOGICAL_DNS}
    built.type = kinds[dns.discovery]
    built.dns_refresh_rate.CopyFrom(duration(milliseconds(dns.refresh)))
    built.respect_dns_ttl = dns.respect_ttl
    built.dns_lookup_family = FAMILIES[dns.family]


def _set_limits(built: cluster_pb2.Cluster, limits: CircuitBreaker, *, attempts: bool) -> None:
    """Attempts at other pools are no retries at this one: they have no budget unless the pool sets one."""
    threshold = built.circuit_breakers.thresholds.add()
    threshold.max_connections.value = limits.max_connections or UNLIMITED
    threshold.max_pending_requests.value = limits.max_pending_requests or UNLIMITED
    threshold.max_requests.value = limits.max_requests or UNLIMITED
    if limits.max_retries:
        threshold.max_retries.value = limits.max_retries
    elif attempts:
        threshold.max_retries.value = UNLIMITED
    else:
        threshold.retry_budget.budget_percent.value = RETRY_PERCENT
        threshold.retry_budget.min_retry_concurrency.value = RETRY_LEAST


def _keepalive(keepalive: TcpKeepalive) -> EnvoyMessage:
    built = address_pb2.TcpKeepalive()
    built.keepalive_time.value = milliseconds(keepalive.time) // 1000
    built.keepalive_interval.value = milliseconds(keepalive.interval) // 1000
    built.keepalive_probes.value = keepalive.probes
    return cast("EnvoyMessage", built)


def _http_options(content: Content) -> EnvoyMessage:
    """`auto` is what the upstream chooses where that is negotiated, by ALPN, else what the client speaks."""
    options = http_protocol_options_pb2.HttpProtocolOptions()
    if content.protocol != "auto":
        spoken = options.explicit_http_config
    else:
        spoken = options.auto_config if content.tls else options.use_downstream_protocol_config
    if content.protocol != "http2":
        spoken.http_protocol_options.enable_trailers = True
    if content.protocol != "http1":
        spoken.http2_protocol_options.allow_connect = True  # WebSockets, by RFC 8441
        spoken.http2_protocol_options.initial_stream_window_size.value = STREAM_WINDOW_BYTES
        spoken.http2_protocol_options.initial_connection_window_size.value = CONNECTION_WINDOW_BYTES
    options.common_http_protocol_options.max_headers_count.value = HEADER_LINES
    options.common_http_protocol_options.max_response_headers_kb.value = HEADER_KIB
    _set_lifetimes(options.common_http_protocol_options, content.upstream)
    if content.maps_paths:
        options.http_filters.extend(upstream_filters())
    if content.attempts:
        options.http_filters.extend(attempt_filters())
    return cast("EnvoyMessage", options)


def _set_lifetimes(common: http_protocol_options_pb2.HttpProtocolOptions, upstream: Upstream) -> None:
    """Of connections."""
    if upstream.idle_timeout is not UNSET:
        common.idle_timeout.CopyFrom(duration(milliseconds(upstream.idle_timeout)))
    if upstream.max_connection_age is not UNSET:
        common.max_connection_duration.CopyFrom(duration(milliseconds(upstream.max_connection_age)))
    if upstream.max_requests_per_connection is not UNSET:
        common.max_requests_per_connection.value = upstream.max_requests_per_connection
