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


class Target(Strict, frozen=True):
    """One address or name in a pool."""

    url: str
    """As a pool's `url`. All targets of a pool have the same scheme and the same base path."""
    weight: Annotated[int, Meta(ge=1, le=1_000)] = 1
    """Its share of requests, in proportion to the weights of the others."""
    zone: Text | UnsetType = UNSET
    """Where it runs. Requests are spread over zones by the weights of what is healthy there, and then within each; a
    node does not prefer its own zone."""


class HashOn(Strict, frozen=True):
    """What of a request says which target it goes to; exactly one of these."""

    header: HeaderName | UnsetType = UNSET
    """The value of this request header."""
    cookie: HeaderName | UnsetType = UNSET
    """The value of this cookie."""
    cookie_ttl: Timeout | UnsetType = UNSET
    """With `cookie`: a client that has none is given one for this long. Unset: it is given none."""
    client_address: Literal[True] | UnsetType = UNSET
    """The client's address, as the listener sees it: `true`."""


class LoadBalancing(Strict, frozen=True):
    """Which target a request goes to."""

    algorithm: Algorithm = "leastRequest"
    """`leastRequest`: of two chosen by weight the one with fewer requests under way. `roundRobin`: in turn, by weight.
    `random`: any. `ringHash`: the same target for the same `hashOn`, of which few move when targets come and go."""
    hash_on: HashOn | UnsetType = UNSET
    """With `ringHash`, and only then. A request without it goes to any target."""


class HttpCheck(Strict, frozen=True):
    """A request that a healthy target answers with one of these statuses."""

    path: Annotated[
        str,
        Meta(pattern=r"^/[!-~]{0,1023}$", extra_json_schema=expecting("a path such as '/health'")),
    ]
    """It is asked as it stands, without the pool's base path."""
    expected_statuses: Annotated[list[Statuses], Meta(min_length=1, max_length=20)] = msgspec.field(
        default_factory=lambda: ["200-299"]
    )
    host: Host | UnsetType = UNSET
    """The Host header; unset: the pool's."""


class GrpcCheck(Strict, frozen=True):
    """`grpc.health.v1.Health/Check`; the pool speaks `http2`."""

    service: Annotated[str, Meta(max_length=200)] = ""
    """The service that is asked for; "" is the server itself."""


class TcpCheck(Strict, frozen=True):
    """A connection that opens."""


class HealthCheck(Strict, frozen=True):
    """Asks each target by itself, whether or not clients do. Exactly one of `http`, `grpc` and `tcp`.

    A target is given requests once it has passed, and none once it has failed; where all have failed, clients are
    answered 503.
    """

    http: HttpCheck | UnsetType = UNSET
    grpc: GrpcCheck | UnsetType = UNSET
    tcp: TcpCheck | UnsetType = UNSET
    interval: Timeout = "5s"
    """From one check to the next; at least 100ms."""
    timeout: Timeout = "1s"
    """Time a check may take."""
    unhealthy_threshold: Threshold = 3
    """Checks in a row that must fail."""
    healthy_threshold: Threshold = 2
    """Checks in a row that must pass once it was unhealthy; the first of all is enough by itself."""


class Ejection(Strict, frozen=True):
    """Takes a target out for a time because of what became of clients' requests to it. 0: never because of that.

    Statuses count only where this is said: an application's answers may be what a client provokes, refused and reset
    connections are not.
    """

    consecutive_local_failures: Failures = 5
    """Connections in a row that were refused, reset or late, and requests in a row that were not answered in time."""
    consecutive_gateway_errors: Failures = 0
    """Answers in a row with 502, 503 or 504."""
    consecutive_5xx: Failures = msgspec.field(default=0, name="consecutive5xx")
    """Answers in a row with 500 and above."""
    base_time: Timeout = "30s"
    """How long it is out the first time; the second time twice as long, and so on, 300s at most."""
    max_percent: Annotated[int, Meta(ge=1, le=100)] = 50
    """How many of a pool's targets may be out at once. A single target never is, unless this is 100."""


class Dns(Strict, frozen=True):
    """How the names of targets are looked up."""

    discovery: Literal["strict", "logical"] = "strict"
    """`strict`: all addresses of a name are targets, and connections to those that it loses end. `logical`: new
    connections go to its first address, those that are open stay; for one target with many addresses that change."""
    refresh: Timeout = "5s"
    """From one lookup to the next; at least 100ms."""
    respect_ttl: bool = False
    """The record's own time to live takes the place of `refresh`."""
    family: Literal["auto", "ipv4", "ipv6", "preferIpv4", "all"] = "auto"
    """`auto`: IPv6 addresses where there are any, else IPv4. `all`: both, whichever answers first."""


class TcpKeepalive(Strict, frozen=True):
    """Probes on connections on which nothing moves (SO_KEEPALIVE)."""

    time: Timeout = "60s"
    """Idle time before the first probe, in whole seconds."""
    interval: Timeout = "10s"
    """From one probe to the next, in whole seconds."""
    probes: Threshold = 3
    """Probes without an answer after which the connection is dead."""


class CircuitBreaker(Strict, frozen=True):
    """What one node has under way with a pool at most; above it, clients are answered 503 with Retry-After."""

    max_connections: Count | UnsetType = UNSET
    """Unset: no limit. Requests over HTTP/1.1 wait for one of these."""
    max_pending_requests: Count | UnsetType = UNSET
    """Requests that wait for a connection. Unset: no limit."""
    max_requests: Count | UnsetType = UNSET
    """Requests under way. Unset: no limit; what bounds a node is its memory."""
    max_retries: Count | UnsetType = UNSET
    """Retries under way. Unset: a quarter of the requests under way, but 100 at least."""


class UpstreamTls(Strict, frozen=True):
    """TLS with the targets, whose URLs are `https://` or `grpcs://`. Their certificates are always verified."""

    server_name: HostName | UnsetType = UNSET
    """What is asked for (SNI) and must stand in the certificate. Unset: each target's own name or address."""
    authority: ResourceName | UnsetType = UNSET
    """The name of the Gateway's authority (`spec.authorities`) that must have signed it. Unset: the operator's file."""
    client_certificate: ResourceName | UnsetType = UNSET
    """The name of the Gateway's certificate (`spec.certificates`) that the targets are shown."""
    min_version: TlsVersion = "1.2"
    """The lowest version of TLS; the highest is 1.3."""


class Upstream(Strict, frozen=True):
    """A pool: one target, as `url`, or several, as `targets`."""

    url: str | UnsetType = UNSET
    """`http://host[:port][/base]` or `https://…`; the part of the path after the context is put behind the base.
    `grpc://…` and `grpcs://…` are the same with `protocol: http2`, without and with TLS. `unix:/path` is a Unix socket
    that the operator's `allowedUpstreams` has."""
    targets: Annotated[list[Target], Meta(min_length=1, max_length=256)] | UnsetType = UNSET
    host: Host | UnsetType = UNSET
    """The Host header that targets are sent. Unset: host and port of the URL; where targets have different names, it
    must be said."""
    protocol: UpstreamProtocol | UnsetType = UNSET
    """What is spoken with it: `http1`, `http2`, or `auto`: over TLS what it chooses (ALPN), in clear what the client
    speaks. Unset: `http1`, and `http2` with a `grpc://` or `grpcs://` URL."""
    load_balancing: LoadBalancing = LoadBalancing()
    health_check: HealthCheck | UnsetType = UNSET
    """Unset: targets are taken for healthy until requests to them fail (`ejection`)."""
    ejection: Ejection = Ejection()
    dns: Dns = Dns()
    connect_timeout: Timeout | UnsetType = UNSET
    """Time a connection may take to open, TLS included. Unset: the operator's, 5s."""
    idle_timeout: Timeout | UnsetType = UNSET
    """Time after which a connection without requests is closed. Unset: 3600s."""
    max_requests_per_connection: Count | UnsetType = UNSET
    """Requests after which a connection is closed. Unset: no limit."""
    max_connection_age: Timeout | UnsetType = UNSET
    """Time after which a connection takes no more requests, and is closed when those under way have ended. Unset: no
    limit."""
    tcp_keepalive: TcpKeepalive | UnsetType = UNSET
    """Unset: none is sent."""
    circuit_breaker: CircuitBreaker = CircuitBreaker()
    tls: UpstreamTls = UpstreamTls()
    proxy_protocol: Literal["v1", "v2"] | UnsetType = UNSET
    """The PROXY protocol's header, with the addresses of the client's connection, begins each connection, so that no
    two clients' connections share one. Unset: none."""


Upstreams = Annotated[dict[ResourceName, Upstream], Meta(min_length=1, max_length=100)]
"""The pools of an API by their names. `main` is the one that operations use which name none."""
