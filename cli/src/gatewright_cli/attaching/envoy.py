"""The filter and the cluster, as any Envoy has them."""

from __future__ import annotations

from gatewright_controller._gen import envoy_names
from gatewright_documents.values import JsonObject

from gatewright_cli.attaching.target import Target

TYPE = "type.googleapis.com/envoy.extensions"
CLUSTER = "gatewright"
ATTRIBUTES = [envoy_names.ROUTE_NAME_ATTRIBUTE, envoy_names.CLIENT_ADDRESS_ATTRIBUTE]
MESSAGE_TIMEOUT = "60s"
"""Above all timeouts of attachments: each of these has its own answer, and Envoy's would come in its place."""
FILES = "/etc/gatewright"
"""Where the TLS files are in what is printed."""


def ext_proc_filter(cluster: str, authority: str = "") -> JsonObject:
    """Both bodies go to the engine, whatever the policies are: what these do not need goes on as it comes, and an edit
    of them needs no other filter."""
    service: JsonObject = {"cluster_name": cluster}
    if authority:
        service["authority"] = authority
    return {
        "name": envoy_names.EXT_PROC_FILTER,
        "typed_config": {
            "@type": f"{TYPE}.filters.http.ext_proc.v3.ExternalProcessor",
            "grpc_service": {"envoy_grpc": service},
            "failure_mode_allow": False,
            "status_on_error": {"code": "ServiceUnavailable"},
            "message_timeout": MESSAGE_TIMEOUT,
            "request_attributes": [*ATTRIBUTES, envoy_names.ENVOY_MINOR_ATTRIBUTE],
            "route_cache_action": "RETAIN",
            "allow_content_length_header": True,
            "mutation_rules": {"allow_all_routing": True, "allow_envoy": True, "disallow_is_error": True},
            "processing_mode": {
                "request_header_mode": "SEND",
                "request_body_mode": "FULL_DUPLEX_STREAMED",
                "request_trailer_mode": "SEND",
                "response_header_mode": "SEND",
                "response_body_mode": "FULL_DUPLEX_STREAMED",
                "response_trailer_mode": "SEND",
            },
        },
    }


def http2() -> JsonObject:
    """What a cluster says that speaks gRPC."""
    name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        name: {
            "@type": f"type.googleapis.com/{name}",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    }


def engine_cluster(target: Target) -> JsonObject:
    """The engine, by its name or address."""
    host, port = target.address
    address = {"socket_address": {"address": host, "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    limits = {"max_requests": 1_000_000, "max_connections": 1_000_000, "max_pending_requests": 1_000_000}
    cluster: JsonObject = {
        "name": CLUSTER,
        "type": "STRICT_DNS",
        "connect_timeout": "1s",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": CLUSTER, "endpoints": endpoints},
        "typed_extension_protocol_options": http2(),
    }
    if target.tls:
        cluster["transport_socket"] = _tls(host)
    return cluster


def _tls(host: str) -> JsonObject:
    pair = {
        "certificate_chain": {"filename": f"{FILES}/envoy.pem"},
        "private_key": {"filename": f"{FILES}/envoy.key"},
    }
    validated = {
        "trusted_ca": {"filename": f"{FILES}/authority.pem"},
        "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": host}}],
    }
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{TYPE}.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": host,
            "common_tls_context": {"tls_certificates": [pair], "validation_context": validated},
        },
    }


def static_parts(target: Target) -> list[JsonObject]:
    """What goes into a static bootstrap, by the fields where it goes."""
    return [{"http_filters": [ext_proc_filter(CLUSTER)], "clusters": [engine_cluster(target)]}]
