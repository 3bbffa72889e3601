"""Where an API's requests go: pools of targets, and how they are spoken with, watched and spared."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from gatewright_documents.strict import expecting
from msgspec import UNSET, Meta, UnsetType

from gatewright_controller.model.common import ResourceName, Strict, Text, Timeout

UpstreamProtocol = Literal["http1", "http2", "auto"]
Algorithm = Literal["leastRequest", "roundRobin", "random", "ringHash"]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Failures = Annotated[int, Meta(ge=0, le=1_000)]
Threshold = Annotated[int, Meta(ge=1, le=100)]
HeaderName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}$",
        extra_json_schema=expecting("a header's or cookie's name, such as 'x-user'"),
    ),
]
HostName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?$",
        extra_json_schema=expecting("a host name such as 'orders.internal'"),
    ),
]
Host = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(:[1-9][0-9]{0,4})?$",
        extra_json_schema=expecting("a host with or without a port, such as 'orders.internal:8080'"),
    ),
]
Statuses = Annotated[
    str,
    Meta(
        pattern=r"^[1-5][0-9]{2}(-[1-5][0-9]{2})?$",
        extra_json_schema=expecting("a quoted status or a range of them, such as '204' or '200-299'"),
    ),
]
TlsVersion = Annotated[Literal["1.2", "1.3"], Meta(extra_json_schema=expecting("a quoted '1.2' or '1.3'"))]


SubjectName = Annotated[
    str,
    Meta(
        max_length=253,
        pattern=r"^([A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[a-z][a-z0-9+.-]*://[!-~]+)$",
        extra_json_schema=expecting("a host name or a URI, such as 'orders.internal' or 'spiffe://example/orders'"),
    ),
]


class Target(Strict, frozen=True):
    """One address or name in a pool."""

    url: str
    """As a pool's `url`. All targets of a pool have the same scheme and the same base path. Envoy:
    `LbEndpoint.endpoint.address`"""
    weight: Annotated[int, Meta(ge=1, le=1_000)] = 1
    """Its share of requests, in proportion to the weights of the others. Envoy:
    `LbEndpoint.load_balancing_weight`"""
    zone: Text | UnsetType = UNSET
    """Where it runs. Requests are spread over zones by the weights of what is healthy there, and then within each;
    a node does not prefer its own zone. Envoy: `LocalityLbEndpoints.locality.zone`"""


class HashOn(Strict, frozen=True):
    """What of a request says which target it goes to; exactly one of these."""

    header: HeaderName | UnsetType = UNSET
    """The value of this request header. Envoy: `RouteAction.HashPolicy.header`"""
    cookie: HeaderName | UnsetType = UNSET
    """The value of this cookie. Envoy: `RouteAction.HashPolicy.cookie.name`"""
    cookie_ttl: Timeout | UnsetType = UNSET
    """With `cookie`: a client that has none is given one for this long. Unset: it is given none. Envoy:
    `RouteAction.HashPolicy.cookie.ttl`"""
    client_address: Literal[True] | UnsetType = UNSET
    """The client's address, as the listener sees it: `true`. Envoy:
    `RouteAction.HashPolicy.connection_properties.source_ip`"""


class LoadBalancing(Strict, frozen=True):
    """Which target a request goes to."""

    algorithm: Algorithm = "leastRequest"
    """`leastRequest`: of two chosen by weight the one with fewer requests under way. `roundRobin`: in turn, by
    weight. `random`: any, whatever its weight. `ringHash`: the same target for the same `hashOn`, of which few move
    when targets come and go. Envoy: `Cluster.lb_policy`, `Cluster.load_balancing_policy`"""
    hash_on: HashOn | UnsetType = UNSET
    """With `ringHash`, and only then. A request without it goes to any target. Envoy:
    `RingHash.consistent_hashing_lb_config.hash_policy`"""


class HttpCheck(Strict, frozen=True):
    """A request that a healthy target answers with one of these statuses."""

    path: Annotated[
        str,
        Meta(pattern=r"^/[!-~]{0,1023}$", extra_json_schema=expecting("a path such as '/health'")),
    ]
    """It is requested unchanged, without the pool's base path. Envoy: `HttpHealthCheck.path`"""
    expected_statuses: Annotated[list[Statuses], Meta(min_length=1, max_length=20)] = msgspec.field(
        default_factory=lambda: ["200-299"]
    )
    """Those of a healthy target. Envoy: `HttpHealthCheck.expected_statuses`"""
    host: Host | UnsetType = UNSET
    """The Host header; unset: the pool's. Envoy: `HttpHealthCheck.host`"""


class GrpcCheck(Strict, frozen=True):
    """`grpc.health.v1.Health/Check`; the pool speaks `http2`."""

    service: Annotated[str, Meta(max_length=200)] = ""
    """The service that is asked for; "" is the server itself. Envoy: `GrpcHealthCheck.service_name`"""


class TcpCheck(Strict, frozen=True):
    """A connection that opens."""


class HealthCheck(Strict, frozen=True):
    """Asks each target by itself, whether or not clients do. Exactly one of `http`, `grpc` and `tcp`.

    A target is given requests once it has passed, and none once it has failed; where all have failed, clients are
    answered 503.
    """

    http: HttpCheck | UnsetType = UNSET
    """A request. Envoy: `HealthCheck.http_health_check`"""
    grpc: GrpcCheck | UnsetType = UNSET
    """A call. Envoy: `HealthCheck.grpc_health_check`"""
    tcp: TcpCheck | UnsetType = UNSET
    """A connection. Envoy: `HealthCheck.tcp_health_check`"""
    interval: Timeout = "5s"
    """From one check to the next; at least 100ms. Envoy: `HealthCheck.interval`, `no_traffic_interval`"""
    timeout: Timeout = "1s"
    """Time a check may take. Envoy: `HealthCheck.timeout`"""
    unhealthy_threshold: Threshold = 3
    """Checks in a row that must fail. Envoy: `HealthCheck.unhealthy_threshold`"""
    healthy_threshold: Threshold = 2
    """Checks in a row that must pass once it was unhealthy; the first of all is enough by itself. Envoy:
    `HealthCheck.healthy_threshold`"""


class Ejection(Strict, frozen=True):
    """Takes a target out for a time because of what became of clients' requests to it. 0: never because of that."""

    consecutive_gateway_errors: Failures = 5
    """In a row: answers with 502, 503 or 504, connections that were refused, reset or late, and requests that were
    not answered in time. Envoy: `OutlierDetection.consecutive_gateway_failure`"""
    consecutive_5xx: Failures = msgspec.field(default=0, name="consecutive5xx")
    """The same, and any other answer with 500 and above. Off, for what an application answers a client may provoke.
    Envoy: `OutlierDetection.consecutive_5xx`"""
    base_time: Timeout = "30s"
    """How long it is out the first time; the second time twice as long, and so on, 300s at most. Envoy:
    `OutlierDetection.base_ejection_time`"""
    max_percent: Annotated[int, Meta(ge=1, le=100)] = 50
    """How many of a pool's targets may be out at once. A single target never is, unless this is 100. Envoy:
    `OutlierDetection.max_ejection_percent`"""


class Dns(Strict, frozen=True):
    """How the names of targets are looked up."""

    discovery: Literal["strict", "logical"] = "strict"
    """`strict`: all addresses of a name are targets, and connections to those that it loses end. `logical`: new
    connections go to its first address, those that are open stay; for one target with many addresses that change.
    Envoy: `Cluster.type`"""
    refresh: Timeout = "5s"
    """From one lookup to the next; at least 100ms. Envoy: `Cluster.dns_refresh_rate`"""
    respect_ttl: bool = False
    """The record's own time to live takes the place of `refresh`. Envoy: `Cluster.respect_dns_ttl`"""
    family: Literal["auto", "ipv4", "ipv6", "preferIpv4", "all"] = "auto"
    """`auto`: IPv6 addresses where there are any, else IPv4. `all`: both, whichever answers first. Envoy:
    `Cluster.dns_lookup_family`"""


class TcpKeepalive(Strict, frozen=True):
    """Probes on connections on which nothing moves (SO_KEEPALIVE)."""

    time: Timeout = "60s"
    """Idle time before the first probe, in whole seconds. Envoy: `TcpKeepalive.keepalive_time`"""
    interval: Timeout = "10s"
    """From one probe to the next, in whole seconds. Envoy: `TcpKeepalive.keepalive_interval`"""
    probes: Threshold = 3
    """Probes without an answer after which the connection is dead. Envoy: `TcpKeepalive.keepalive_probes`"""


class CircuitBreaker(Strict, frozen=True):
    """What one node has under way with a pool at most; above it, clients are answered 503 with Retry-After."""

    max_connections: Count | UnsetType = UNSET
    """Unset: no limit. Requests over HTTP/1.1 wait for one of these. Envoy:
    `CircuitBreakers.Thresholds.max_connections`"""
    max_pending_requests: Count | UnsetType = UNSET
    """Requests that wait for a connection. Unset: no limit. Envoy:
    `CircuitBreakers.Thresholds.max_pending_requests`"""
    max_requests: Count | UnsetType = UNSET
    """Requests under way. Unset: no limit; what bounds a node is its memory. Envoy:
    `CircuitBreakers.Thresholds.max_requests`"""
    max_retries: Count | UnsetType = UNSET
    """Retries under way. Unset: a quarter of the requests under way, but 100 at least. Envoy:
    `CircuitBreakers.Thresholds.max_retries`, `retry_budget`"""


class UpstreamTls(Strict, frozen=True):
    """TLS with the targets, whose URLs are `https://` or `grpcs://`. Their certificates are always verified."""

    server_name: HostName | UnsetType = UNSET
    """What is asked for (SNI) and must stand in the certificate. Unset: each target's own name or address. Envoy:
    `UpstreamTlsContext.sni`, `match_typed_subject_alt_names`"""
    subject_names: Annotated[list[SubjectName], Meta(min_length=1, max_length=16)] | UnsetType = UNSET
    """Host names and URIs of which one must stand in the certificate, in place of the name that is asked for. Envoy:
    `match_typed_subject_alt_names`"""
    authority: ResourceName | UnsetType = UNSET
    """The name of the Gateway's authority (`spec.authorities`) that must have signed it. Unset: the operator's
    file. Envoy: `CommonTlsContext.combined_validation_context`"""
    client_certificate: ResourceName | UnsetType = UNSET
    """The name of the Gateway's certificate (`spec.certificates`) that the targets are shown. Envoy:
    `CommonTlsContext.tls_certificate_sds_secret_configs`"""
    min_version: TlsVersion = "1.2"
    """The lowest version of TLS; the highest is 1.3. Envoy: `TlsParameters.tls_minimum_protocol_version`"""


class Upstream(Strict, frozen=True):
    """A pool: one target, as `url`, or several, as `targets`."""

    url: str | UnsetType = UNSET
    """`http://host[:port][/base]` or `https://…`; the part of the path after the context is put behind the base.
    `grpc://…` and `grpcs://…` are the same with `protocol: http2`, without and with TLS. `unix:/path` is a Unix
    socket that the operator's `allowedUpstreams` has. Envoy: `Cluster.load_assignment`"""
    targets: Annotated[list[Target], Meta(min_length=1, max_length=256)] | UnsetType = UNSET
    """Several targets. Envoy: `Cluster.load_assignment`"""
    host: Host | UnsetType = UNSET
    """The Host header that targets are sent. Unset: host and port of the URL; where targets have different names,
    it must be said. Envoy: `RouteAction.host_rewrite`"""
    protocol: UpstreamProtocol | UnsetType = UNSET
    """What is spoken with it: `http1`, `http2`, or `auto`: over TLS what it chooses (ALPN), in clear what the
    client speaks. Unset: `http1`, and `http2` with a `grpc://` or `grpcs://` URL. Envoy:
    `HttpProtocolOptions.upstream_protocol_options`"""
    load_balancing: LoadBalancing = LoadBalancing()
    """Which target a request goes to. Envoy: `Cluster.lb_policy`"""
    health_check: HealthCheck | UnsetType = UNSET
    """Unset: targets are taken for healthy until requests to them fail (`ejection`). Envoy:
    `Cluster.health_checks`"""
    ejection: Ejection = Ejection()
    """What takes a target out for a time. Envoy: `Cluster.outlier_detection`"""
    dns: Dns = Dns()
    """How names are looked up. Envoy: `Cluster.type`"""
    connect_timeout: Timeout | UnsetType = UNSET
    """Time a connection may take to open, TLS included. Unset: the operator's, 5s. Envoy:
    `Cluster.connect_timeout`"""
    idle_timeout: Timeout | UnsetType = UNSET
    """Time after which a connection without requests is closed. Unset: 3600s. Envoy:
    `HttpProtocolOptions.idle_timeout`"""
    max_requests_per_connection: Count | UnsetType = UNSET
    """Requests after which a connection is closed. Unset: no limit. Envoy:
    `HttpProtocolOptions.max_requests_per_connection`"""
    max_connection_age: Timeout | UnsetType = UNSET
    """Time after which a connection takes no more requests, and is closed when those under way have ended. Unset:
    no limit. Envoy: `HttpProtocolOptions.max_connection_duration`"""
    tcp_keepalive: TcpKeepalive | UnsetType = UNSET
    """Unset: none is sent. Envoy: `UpstreamConnectionOptions.tcp_keepalive`"""
    circuit_breaker: CircuitBreaker = CircuitBreaker()
    """What is under way at most. Envoy: `Cluster.circuit_breakers`"""
    tls: UpstreamTls = UpstreamTls()
    """With `https://` and `grpcs://`, and only then. Envoy: `Cluster.transport_socket`,
    `transport_socket_matches`"""
    proxy_protocol: Literal["v1", "v2"] | UnsetType = UNSET
    """The PROXY protocol's header, with the addresses of the client's connection, begins each connection, so that
    no two clients' connections share one. Unset: none. Envoy: `ProxyProtocolUpstreamTransport.config.version`"""


UPSTREAMS_FORM = {"x-cure": "its form is {main: {url: 'http://orders.internal:8080'}}"}
Upstreams = Annotated[
    dict[ResourceName, Upstream], Meta(min_length=1, max_length=100, extra_json_schema=UPSTREAMS_FORM)
]
"""The pools of an API by their names. `main` is the one that operations use which name none."""
