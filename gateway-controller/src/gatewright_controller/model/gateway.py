"""The `Gateway` resource as an operator writes it: what a node listens on. What values mean is checked in `validation`.

Every field has a default and the comment that stands over it in the reference; `restart` marks those that Envoy cannot
change in place, `behind` names Envoy's field.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import msgspec
from gatewright_documents.strict import expecting
from gatewright_documents.values import JsonObject, JsonValue
from msgspec import UNSET, Meta, UnsetType

from gatewright_controller.model.admin import Admin
from gatewright_controller.model.common import Address, FilePath, Port, ResourceName, Strict, Timeout, doc
from gatewright_controller.model.log_export import LogExport
from gatewright_controller.model.metrics import Metrics
from gatewright_controller.model.recording import Recording
from gatewright_controller.model.redaction import Redaction
from gatewright_controller.model.store import Store
from gatewright_controller.model.tracing import Tracing

Protocol = Literal["http", "https"]
TlsVersion = Literal["1.2", "1.3"]
Cipher = Literal[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
]
CIPHERS: tuple[Cipher, ...] = get_args(Cipher)
Encoding = Literal["br", "gzip", "zstd"]
UnderscoredHeaders = Literal["refuse", "drop", "allow"]
HostPattern = Annotated[
    str,
    Meta(
        pattern=r"^(\*\.)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$",
        max_length=253,
        extra_json_schema=expecting("a host name in lower case, or '*.' and one, such as '*.example.com'"),
    ),
]
FIELD_SOURCES = (
    "requestId", "method", "path", "authority", "status", "grpcStatus", "flags", "details", "durationMs",
    "bytesReceived", "bytesSent", "route", "client", "upstream", "analytics", "protocol", "serverName", "tlsVersion",
    "tlsCipher", "peerSubject", "peerFingerprint", "identitySubject", "identityIssuer", "identityMethod", "consumer",
    "plan", "listener", "traceId", "spanId",
)  # fmt: skip
LINE_BEGINS = ("time", "level", "component", "message")
"""What every line of the access log begins with."""
ANALYTICS_NAME = r"analytics(\.[A-Za-z0-9_-]{1,64}){1,4}"
HEADER_NAME = "[A-Za-z0-9-]{1,100}"
FieldSource = Annotated[
    str,
    Meta(
        pattern=rf"^({'|'.join(FIELD_SOURCES)}|(request|response)Header:{HEADER_NAME}|{ANALYTICS_NAME})$",
        extra_json_schema=expecting(
            f"one of {', '.join(FIELD_SOURCES)}, analytics.NAME, requestHeader:NAME or responseHeader:NAME",
        ),
    ),
]
DEFAULT_FIELDS = {
    name: name
    for name in (
        "requestId", "method", "path", "authority", "status", "grpcStatus", "flags", "details", "durationMs",
        "bytesReceived", "bytesSent", "route", "client", "upstream", "analytics", "traceId",
    )
}  # fmt: skip


class ClientCertificates(Strict, frozen=True, kw_only=True):
    """Whether clients of a listener, or of some of its hosts, show certificates."""

    mode: Annotated[
        Literal["require", "request"],
        doc(
            "require: a client without one, or with one that the authority has not signed, is not connected. "
            "request: a client without one is connected, and policies see no `ctx.peer`.",
            "DownstreamTlsContext.require_client_certificate",
        ),
    ] = "require"
    authority: Annotated[
        ResourceName,
        doc("A name of `authorities`: the one that signs the certificates.", "CommonTlsContext.validation_context_sds"),
    ]


class ListenerTls(Strict, frozen=True):
    """TLS of an https listener."""

    certificates: Annotated[
        list[ResourceName],
        doc(
            "Names of `certificates`. With several, the server name (SNI) that a client asks for decides; without "
            "SNI it gets the first.",
            "CommonTlsContext.tls_certificate_sds_secret_configs",
            min_length=1,
        ),
    ]
    min_version: Annotated[
        TlsVersion, doc("The oldest version of TLS that is spoken.", "TlsParameters.tls_minimum_protocol_version")
    ] = "1.2"
    ciphers: Annotated[
        list[Cipher],
        doc(
            "For TLS 1.2, in the order of preference; all have ECDHE, and authenticate what they encrypt. "
            "TLS 1.3 has its own, which cannot be chosen.",
            "TlsParameters.cipher_suites",
            min_length=1,
        ),
    ] = msgspec.field(default_factory=lambda: list(CIPHERS))
    session_resumption: Annotated[
        bool,
        doc(
            "Clients that come again need no whole handshake: by tickets, whose keys Envoy makes at its start and no "
            "other node has, and for TLS 1.2 by ids too. Never where client certificates are asked for, whose end "
            "would pass unseen.",
            "DownstreamTlsContext.disable_stateless_session_resumption, disable_stateful_session_resumption",
        ),
    ] = True
    client_certificates: Annotated[
        ClientCertificates | UnsetType,
        doc("Of all hosts but those of clientCertificatesByHost. Unset: no certificate is asked for.",
             "DownstreamTlsContext"),
    ] = UNSET  # fmt: skip
    client_certificates_by_host: Annotated[
        dict[str, ClientCertificates],
        doc(
            "Host → what its clients show; '*.example.com' is any host below that one, and the longest name that "
            "covers a host decides. A request for a host with other client certificates than its connection's server "
            "name (SNI) is answered with 421.",
            "FilterChainMatch.server_names, RBAC",
            max_length=100,
        ),
    ] = msgspec.field(default_factory=dict)


class Redirect(Strict, frozen=True):
    """A listener that answers each request with the same URL under https."""

    port: Annotated[Port, doc("Where https is, as clients see it.", "RedirectAction.port_redirect")] = 443
    status: Annotated[
        Literal[301, 302, 307, 308],
        doc("308 and 307 keep the method; 308 and 301 are for ever.", "RedirectAction.response_code"),
    ] = 308


class Compression(Strict, frozen=True):
    """Responses that Envoy compresses for clients that accept it, after all policies."""

    encodings: Annotated[
        list[Encoding],
        doc("In the order of preference, where the client has none.", "Compressor.compressor_library", min_length=1),
    ] = msgspec.field(default_factory=lambda: ["br", "gzip"])
    min_bytes: Annotated[
        int, doc("Shorter bodies are left as they are.", "CommonDirectionConfig.min_content_length", ge=30, le=1 << 30)
    ] = 1024
    content_types: Annotated[
        list[
            Annotated[
                str,
                Meta(pattern=r"^[a-z0-9.+-]+/[a-z0-9.+-]+$", extra_json_schema=expecting("a type such as text/html")),
            ]
        ],
        doc("What is compressed.", "CommonDirectionConfig.content_type", min_length=1),
    ] = msgspec.field(
        default_factory=lambda: [
            "application/javascript",
            "application/json",
            "application/problem+json",
            "application/xml",
            "image/svg+xml",
            "text/css",
            "text/html",
            "text/javascript",
            "text/plain",
            "text/xml",
        ]
    )


class ListenerLimits(Strict, frozen=True):
    """What clients of one listener may take. Unset: no limit but those of the node."""

    connections: Annotated[
        Annotated[int, Meta(ge=1, le=10_000_000)] | UnsetType,
        doc(
            "At once; more are closed. Those of HTTP/3, and those of hosts with client certificates of their own, are "
            "counted apart.",
            "ConnectionLimit.max_connections",
        ),
    ] = UNSET
    connections_per_second: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | UnsetType,
        doc("New ones, on average and in one burst; more are closed.", "LocalRateLimit.token_bucket"),
    ] = UNSET


class Listener(Strict, frozen=True):
    """An address and a port that the node listens on."""

    name: Annotated[ResourceName, doc("In logs and messages; a renamed listener is a new one.", "Listener.name")]
    address: Annotated[Address, doc("0.0.0.0: all of IPv4; '::': all of IPv6.", "Listener.address")] = "127.0.0.1"
    port: Annotated[Port, doc("TCP, and with `http3` UDP too; each listener has its own.", "Listener.address")] = 8080
    protocol: Annotated[
        Protocol,
        doc("http: HTTP/1.1, and HTTP/2 by prior knowledge. https: what the client chooses by ALPN, over TLS.",
            "FilterChain.transport_socket"),
    ] = "http"  # fmt: skip
    hosts: Annotated[
        list[HostPattern],
        doc(
            "The hosts that it serves; '*.example.com' is any host below that one. A request for another host is "
            "answered with 421, and with https a client that asks for another server name (SNI), or for none, is not "
            "connected. Empty: any host.",
            "FilterChainMatch.server_names, RBAC",
        ),
    ] = msgspec.field(default_factory=list)
    tls: Annotated[ListenerTls | UnsetType, doc("For https, and then required.", "FilterChain.transport_socket")] = (
        UNSET
    )
    http3: Annotated[
        bool,
        doc(
            "Of https: HTTP/3 on the same port of UDP as well. Answers over TCP advertise it by alt-svc.",
            "Listener.udp_listener_config, QuicDownstreamTransport",
        ),
    ] = False
    internal: Annotated[
        bool,
        doc("true: it serves only the APIs that name it in `spec.listeners`. false: those that name no listener, too.",
            "FilterStateInput"),
    ] = False  # fmt: skip
    redirect: Annotated[
        Redirect | UnsetType, doc("Each request is answered with the same URL under https.", "RouteAction.redirect")
    ] = UNSET
    proxy_protocol: Annotated[
        bool,
        doc(
            "Connections begin with a PROXY header, version 1 or 2, of one of `trustedProxies.networks`; all others "
            "are closed.",
            "envoy.filters.listener.proxy_protocol",
        ),
    ] = False
    compression: Annotated[
        Compression | UnsetType, doc("Unset: responses go out as they are.", "envoy.filters.http.compressor")
    ] = UNSET
    limits: Annotated[ListenerLimits, doc("Of this listener.", "")] = msgspec.field(default_factory=ListenerLimits)


class Acme(Strict, frozen=True, kw_only=True):
    """A certificate that the gateway obtains by itself, and renews (RFC 8555, http-01)."""

    hosts: Annotated[
        list[HostPattern],
        doc(
            "What the certificate is for. The authority asks for each of them at port 80, which must lead to a "
            "listener with `protocol: http`.",
            "TlsCertificate",
            min_length=1,
            max_length=100,
        ),
    ]
    terms_of_service_agreed: Annotated[
        bool,
        doc(
            "true: you agree to the terms of service of the directory's authority. Required.",
            "RFC 8555: newAccount.termsOfServiceAgreed",
        ),
    ]
    directory: Annotated[
        str,
        doc("The authority's directory. Unset: Let's Encrypt's.", "RFC 8555: directory",
            pattern=r"^https://[^\s]+$", max_length=2048,
            expected="a URL such as https://acme.example.com/directory"),
    ] = "https://acme-v02.api.letsencrypt.org/directory"  # fmt: skip
    directory_authority: Annotated[
        FilePath | UnsetType,
        doc("PEM: the authority that signs the certificate of a private directory. Unset: those of the system.",
            "RFC 8555: directory, by TLS"),
    ] = UNSET  # fmt: skip
    email: Annotated[
        Annotated[str, Meta(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254, extra_json_schema=expecting("an address"))]
        | UnsetType,
        doc("Where the authority writes to about the account, if it does.", "RFC 8555: newAccount.contact"),
    ] = UNSET
    key_type: Annotated[
        Literal["ecdsa-p256", "ecdsa-p384", "rsa-2048", "rsa-4096"],
        doc("Of the certificate's key, which is made anew each time.", "TlsCertificate.private_key"),
    ] = "ecdsa-p256"


class Certificate(Strict, frozen=True):
    """A certificate and its private key: files on the node that are watched, or `acme` in their place."""

    certificate_file: Annotated[
        FilePath | UnsetType,
        doc("PEM: the certificate itself first, then those that lead to its authority.", "TlsCertificate"),
    ] = UNSET
    key_file: Annotated[FilePath | UnsetType, doc("PEM, without a passphrase.", "TlsCertificate.private_key")] = UNSET
    acme: Annotated[Acme | UnsetType, doc("Obtained and renewed by the gateway itself, in place of files.", "")] = UNSET


class Authority(Strict, frozen=True):
    """Certificates that sign others, and lists of what they have revoked."""

    file: Annotated[FilePath, doc("PEM, one or more certificates.", "CertificateValidationContext.trusted_ca")]
    revocation_file: Annotated[
        FilePath | UnsetType,
        doc("PEM, a list of each authority there is. Unset: nothing is revoked.", "CertificateValidationContext.crl"),
    ] = UNSET


class TrustedProxies(Strict, frozen=True):
    """Proxies whose word for the client's address is believed."""

    hops: Annotated[
        int,
        doc("So many proxies stand before every client: its address is that many from the end of x-forwarded-for.",
            "HttpConnectionManager.xff_num_trusted_hops", ge=0, le=16),
    ] = 0  # fmt: skip
    networks: Annotated[
        list[Annotated[str, Meta(max_length=64, extra_json_schema=expecting("a network such as 10.0.0.0/8"))]],
        doc(
            "Proxies by their addresses: the client is the last in x-forwarded-for that is none of them, if the "
            "connection comes from one. Either this or hops.",
            "FilterChainMatch.source_prefix_ranges, XffConfig.xff_trusted_cidrs",
        ),
    ] = msgspec.field(default_factory=list)
    request_ids: Annotated[
        bool,
        doc(
            "true: the proxies set x-request-id themselves, and it is the request's id here too. false: the gateway "
            "makes an id of its own, since a proxy may pass on what its client sent.",
            "HttpConnectionManager.preserve_external_request_id",
        ),
    ] = False


class Limits(Strict, frozen=True):
    """What clients may take, on each listener."""

    header_count: Annotated[
        int,
        doc("Lines of a request's headers; more are answered with 431, and more than 100 where policies run.",
            "max_headers_count", ge=10, le=256),
    ] = 256  # fmt: skip
    header_bytes: Annotated[
        int,
        doc("Of a request's headers, whole KiB; more are answered with 431, and more than 64 KiB where policies run.",
            "max_request_headers_kb", ge=8192, le=262_144, multiple_of=1024,
            expected="whole KiB, a multiple of 1024 from 8192 to 262144"),
    ] = 262_144  # fmt: skip
    concurrent_streams: Annotated[
        int,
        doc("Of one HTTP/2 connection; the client waits with more.", "Http2ProtocolOptions.max_concurrent_streams",
            ge=1, le=10_000),
    ] = 100  # fmt: skip
    requests_per_connection: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000_000)] | UnsetType,
        doc("Then the connection is closed in good order. Unset: any number.",
            "HttpProtocolOptions.max_requests_per_connection"),
    ] = UNSET  # fmt: skip
    requests_per_second: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | UnsetType,
        doc("Of one connection, on average and in one burst; more are answered with 429. Unset: any number.",
            "LocalRateLimit.token_bucket, local_rate_limit_per_downstream_connection"),
    ] = UNSET  # fmt: skip
    connections: Annotated[
        Annotated[int, Meta(ge=1, le=10_000_000)] | UnsetType,
        doc("Of all listeners together, at once; more are closed. Unset: 50000, or half of the files that a process "
            "may open. Those of HTTP/3 are not among them: each listener has as many of these.",
            "DownstreamConnectionsConfig.max_active_downstream_connections",
            restart=True),
    ] = UNSET  # fmt: skip
    memory: Annotated[
        Annotated[int, Meta(ge=128 * 2**20, le=2**50)] | UnsetType,
        doc("Bytes of Envoy's heap, from half of which on it defends itself. Unset: a third of what the node may "
            "take.", "FixedHeapConfig.max_heap_size_bytes", restart=True),
    ] = UNSET  # fmt: skip


class Timeouts(Strict, frozen=True):
    """How long clients may take. What an exchange may take is each API's."""

    handshake: Annotated[
        Timeout,
        doc("Of TLS, and of what precedes it: a PROXY header.",
            "FilterChain.transport_socket_connect_timeout, Listener.listener_filters_timeout"),
    ] = "10s"  # fmt: skip
    request_headers: Annotated[
        Timeout, doc("From the first byte of a request to the end of its headers.", "request_headers_timeout")
    ] = "10s"
    connection_idle: Annotated[
        Timeout, doc("Of a connection without a request.", "HttpProtocolOptions.idle_timeout")
    ] = "300s"
    stream_idle: Annotated[
        Timeout, doc("Without a byte, before a route is found; then its own counts.", "stream_idle_timeout")
    ] = "300s"
    connection_maximum: Annotated[
        Timeout | UnsetType,
        doc("Age at which a connection is closed in good order. Unset: any, and 900s where client certificates are "
             "asked for, which may have ended or been revoked since the handshake.",
             "HttpProtocolOptions.max_connection_duration"),
    ] = UNSET  # fmt: skip
    drain: Annotated[
        Timeout, doc("Time between the two GOAWAY frames that end an HTTP/2 connection.", "drain_timeout")
    ] = "1s"


class Destination(Strict, frozen=True):
    """Where lines of the access log go."""

    to: Annotated[
        Literal["stdout", "file", "otlp"],
        doc("stdout: to the logs of `gatewright run`. otlp: to a collector of OpenTelemetry, over gRPC in clear.",
            "AccessLog.name"),
    ] = "stdout"  # fmt: skip
    path: Annotated[FilePath | UnsetType, doc("Of a file, and then required.", "FileAccessLog.path")] = UNSET
    format: Annotated[
        Literal["json", "text"],
        doc("Of a file: JSON lines as on stdout, or `name=value` with spaces between.", "FileAccessLog.log_format"),
    ] = "json"
    collector: Annotated[
        Annotated[
            str,
            Meta(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$", extra_json_schema=expecting("HOST:PORT")),
        ]
        | UnsetType,
        doc("HOST:PORT of an OTLP receiver, and then required.", "OpenTelemetryAccessLogConfig.grpc_service"),
    ] = UNSET


class AccessLogging(Strict, frozen=True):
    """Lines about requests. What an API says of its own (`accessLog`) counts too."""

    enabled: Annotated[bool, doc("false: no lines.", "HttpConnectionManager.access_log")] = True
    sample: Annotated[
        float,
        doc("The share of requests that have a line; those answered with 500 and above always have one.",
            "RuntimeFilter.percent_sampled", ge=0, le=1),
    ] = 1.0  # fmt: skip
    fields: Annotated[
        dict[str, FieldSource],
        doc("Name → what it holds, behind time, level, component and message, which every line begins with.",
            "SubstitutionFormatString.json_format", min_length=1),
    ] = msgspec.field(default_factory=lambda: dict(DEFAULT_FIELDS))  # fmt: skip
    destinations: Annotated[
        list[Destination], doc("Each line goes to all of them.", "HttpConnectionManager.access_log", min_length=1)
    ] = msgspec.field(default_factory=lambda: [Destination()])


class GatewaySpec(Strict, frozen=True):
    """What a node listens on."""

    listeners: Annotated[list[Listener], doc("At least one.", "Listener", min_length=1, max_length=100)] = (
        msgspec.field(default_factory=lambda: [Listener(name="http")])
    )
    certificates: Annotated[
        dict[str, Certificate], doc("Name → files, or acme. Listeners and APIs use them by their names.", "Secret")
    ] = msgspec.field(default_factory=dict)
    authorities: Annotated[
        dict[str, Authority], doc("Name → files. Listeners and APIs use them by their names.", "Secret")
    ] = msgspec.field(default_factory=dict)
    trusted_proxies: Annotated[
        TrustedProxies, doc("None, by default: the client's address is that of the connection.", "")
    ] = msgspec.field(default_factory=TrustedProxies)
    limits: Annotated[Limits, doc("What clients may take.", "")] = msgspec.field(default_factory=Limits)
    timeouts: Annotated[Timeouts, doc("How long clients may take.", "")] = msgspec.field(default_factory=Timeouts)
    underscored_headers: Annotated[
        UnderscoredHeaders,
        doc(
            "For headers with _ in their name: refuse the request (400), drop the headers, or pass them. Upstreams may "
            "take _ for -.",
            "HttpProtocolOptions.headers_with_underscores_action",
        ),
    ] = "refuse"
    passed_headers: Annotated[
        list[
            Annotated[
                str,
                Meta(pattern=r"^[a-z0-9-]{1,100}$", extra_json_schema=expecting("a header's name in lower case")),
            ]
        ],
        doc(
            "Headers such as x-real-ip, which only trusted proxies may send, that go on from all other clients too. "
            "The upstream must not believe them.",
            "HttpConnectionManager.early_header_mutation_extensions",
        ),
    ] = msgspec.field(default_factory=list)
    access_log: Annotated[AccessLogging, doc("Lines about requests.", "")] = msgspec.field(
        default_factory=AccessLogging
    )
    admin: Annotated[Admin, doc("Where the node answers /metrics, /healthz and /ready.")] = msgspec.field(
        default_factory=Admin
    )
    metrics: Annotated[Metrics, doc("What is observed of exchanges and executions.")] = msgspec.field(
        default_factory=Metrics
    )
    logs: Annotated[LogExport, doc("Log lines of all components, sent to a collector as well.")] = msgspec.field(
        default_factory=LogExport
    )
    tracing: Annotated[Tracing, doc("Spans of exchanges. There are none without a collector.")] = msgspec.field(
        default_factory=Tracing
    )
    redaction: Annotated[Redaction, doc("What is secret by its name: in no log line, recording, metric or span.")] = (
        msgspec.field(default_factory=Redaction)
    )
    recording: Annotated[Recording, doc("How much the engine may keep of recorded exchanges.")] = msgspec.field(
        default_factory=Recording
    )
    store: Annotated[Store, doc("Where policies keep the state that they share.")] = msgspec.field(
        default_factory=Store
    )


class GatewayMetadata(Strict, frozen=True):
    """What a Gateway is called. A controller has one."""

    name: ResourceName = "gateway"
    source: str = ""
    """The file that it was read from, where there is one; written by `gatewright run`."""


class Gateway(Strict, frozen=True):
    """One `Gateway` resource, as its operator writes it."""

    api_version: Literal["gatewright.dev/v1"]
    kind: Literal["Gateway"]
    metadata: GatewayMetadata = msgspec.field(default_factory=GatewayMetadata)
    spec: GatewaySpec = msgspec.field(default_factory=GatewaySpec)


def gateway_from_document(document: JsonObject) -> Gateway:
    """For documents that were validated before."""
    return msgspec.convert(document, Gateway)


def gateway_to_document(gateway: Gateway) -> JsonObject:
    """The Gateway as plain values, fields with their defaults left out, but for what each listener is."""
    document = _written(gateway)
    spec = document.setdefault("spec", {})
    spec["listeners"] = [
        {"name": listener.name, "address": listener.address, "port": listener.port, "protocol": listener.protocol}
        | _written(listener)
        for listener in gateway.spec.listeners
    ]
    return document


def _written(struct: msgspec.Struct) -> JsonObject:
    fields = ((field, getattr(struct, field.name)) for field in msgspec.structs.fields(struct))
    return {field.encode_name: _plain(value) for field, value in fields if value != _default(field)}


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _plain(value: Any) -> JsonValue:
    match value:
        case msgspec.Struct():
            return _written(value)
        case list():
            return [_plain(item) for item in value]
        case dict():
            return {key: _plain(item) for key, item in value.items()}
    return value
