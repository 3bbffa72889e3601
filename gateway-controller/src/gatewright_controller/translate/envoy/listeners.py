"""Listeners: what a node listens on, and what of its clients' requests gets as far as a route."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from gatewright_documents.values import JsonObject

from gatewright_controller._gen import envoy_names
from gatewright_controller.model import GatewaySpec, Listener, Redirect, milliseconds
from gatewright_controller.translate.envoy import quic
from gatewright_controller.translate.envoy.access_logs import access_logs
from gatewright_controller.translate.envoy.common import EnvoyMessage
from gatewright_controller.translate.envoy.downstream_tls import downstream_quic, downstream_tls
from gatewright_controller.translate.envoy.host_groups import HostGroup, host_groups
from gatewright_controller.translate.envoy.http_filters import http_filters
from gatewright_controller.translate.envoy.local_replies import TWO_HOSTS, local_reply_config
from gatewright_controller.translate.envoy.messages import LISTENER, extension, message, seconds
from gatewright_controller.translate.envoy.proxy_answers import answers_log
from gatewright_controller.translate.envoy.removed_headers import removed_headers
from gatewright_controller.translate.envoy.traces import forced, trace_log

BUFFER_BYTES = 32 << 10
"""What Envoy reads ahead of a client's request, as clusters have it of responses: a slow reader holds no more."""

UNSENT_BYTES = 128 << 10
"""What the system takes of an answer before the client has room for it. It has one memory for all connections, and
where that is full none of them goes on."""

TCP, TCP_NOTSENT_LOWAT = 6, 25
STREAM_WINDOW_BYTES, CONNECTION_WINDOW_BYTES = 64 << 10, 1 << 20
UNDERSCORED = {"refuse": "REJECT_REQUEST", "drop": "DROP_HEADER", "allow": "ALLOW"}
MANAGER = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
LISTENER_FILTERS = "extensions.filters.listener"
WHO_CONNECTS: JsonObject = {"use_remote_address": True, "xff_num_trusted_hops": 0}
"""The client's address where no proxy is trusted: the connection's. Over HTTP/3 as well, where Envoy finds no other."""

CERTIFIED_CONNECTION_MAXIMUM = "900s"
"""The age of a client's connection where listeners ask for certificates and `connectionMaximum` is unset. Envoy looks
at a certificate in the handshake alone, so this bounds how long one that has ended, or was revoked, goes on."""


def listeners(listener: Listener, spec: GatewaySpec) -> list[EnvoyMessage]:
    """What Envoy listens with for the listener `one` of a Gateway: TCP, and UDP with HTTP/3.

    Its routes are those of all APIs, unless it redirects.
    """
    return [_over_tcp(listener, spec), *([_over_udp(listener, spec)] if listener.http3 else [])]


def _over_tcp(listener: Listener, spec: GatewaySpec) -> EnvoyMessage:
    document = {
        "name": listener.name,
        "address": {"socket_address": {"address": listener.address, "port_value": listener.port}},
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "socket_options": [
            {"level": TCP, "name": TCP_NOTSENT_LOWAT, "int_value": UNSENT_BYTES, "state": "STATE_LISTENING"}
        ],
        "filter_chains": list(_filter_chains(listener, spec)),
    }
    if filters := list(_listener_filters(listener)):
        document["listener_filters"] = filters
        document["listener_filters_timeout"] = seconds(milliseconds(spec.timeouts.handshake))
    return message(LISTENER, document)


def _over_udp(listener: Listener, spec: GatewaySpec) -> EnvoyMessage:
    """No listener filters: QUIC says the server name by itself, and has none of the others."""
    address = {"protocol": "UDP", "address": listener.address, "port_value": listener.port}
    document: JsonObject = {
        "name": f"{listener.name}/http3",  # no name that a listener of the Gateway may have
        "address": {"socket_address": address},
        "per_connection_buffer_limit_bytes": BUFFER_BYTES,
        "udp_listener_config": quic.udp_listener(spec.limits, spec.timeouts),
        "filter_chains": list(_filter_chains(listener, spec, udp=True)),
    }
    return message(LISTENER, document)


def _listener_filters(listener: Listener) -> Iterator[JsonObject]:
    """In order: what is refused, what the connection begins with, what it asks for."""
    if listener.limits.connections_per_second:
        rate = listener.limits.connections_per_second
        bucket = {"max_tokens": rate, "tokens_per_fill": rate, "fill_interval": "1s"}
        kind = f"{LISTENER_FILTERS}.local_ratelimit.v3.LocalRateLimit"
        name = "envoy.filters.listener.local_ratelimit"
        yield extension(name, kind, stat_prefix=listener.name, token_bucket=bucket)
    if listener.proxy_protocol:
        kind = f"{LISTENER_FILTERS}.proxy_protocol.v3.ProxyProtocol"
        yield extension("envoy.filters.listener.proxy_protocol", kind)
    if listener.tls and (listener.hosts or listener.tls.client_certificates_by_host):
        yield extension("envoy.filters.listener.tls_inspector", f"{LISTENER_FILTERS}.tls_inspector.v3.TlsInspector")


def _filter_chains(listener: Listener, spec: GatewaySpec, *, udp: bool = False) -> Iterator[JsonObject]:
    """Of each group of hosts one for what trusted proxies connect, where there are any, and one for all else. With
    PROXY headers, none but trusted proxies may send them, and the peer that they name may be a trusted proxy too."""
    trusted = [] if udp else [_cidr(network) for network in spec.trusted_proxies.networks]
    for group in host_groups(listener):
        always: JsonObject = {"server_names": group.server_names} if listener.tls and group.server_names else {}
        if listener.proxy_protocol:
            always = {**always, "direct_source_prefix_ranges": trusted}
        if trusted:
            yield _filter_chain(group, spec, {**always, "source_prefix_ranges": trusted}, trusted, udp=udp)
        yield _filter_chain(group, spec, always, [], udp=udp)


def _cidr(network: str) -> JsonObject:
    of = ipaddress.ip_network(network)
    return {"address_prefix": str(of.network_address), "prefix_len": of.prefixlen}


def _filter_chain(
    group: HostGroup, spec: GatewaySpec, match: JsonObject, trusted: list[JsonObject], *, udp: bool
) -> JsonObject:
    listener = group.listener
    by_trusted_proxies = bool(trusted) or (spec.trusted_proxies.hops > 0 and not udp)
    settings = _manager(group, spec, trusted) | ({**quic.codec(), **WHO_CONNECTS} if udp else {})
    settings |= _believed_headers(listener, spec, by_trusted_proxies)
    settings["http_filters"] = http_filters(group, spec, udp=udp)
    manager = extension("envoy.filters.network.http_connection_manager", MANAGER, **settings)
    most = listener.limits.connections or (udp and (spec.limits.connections or quic.CONNECTIONS))
    named = [] if listener.redirect else [_listener_name(listener)]
    chain: JsonObject = {"filters": [*named, *([_connection_limit(listener, most)] if most else []), manager]}
    if match:
        chain["filter_chain_match"] = match
    if listener.tls and udp:
        chain["transport_socket"] = downstream_quic(listener.tls)
    elif listener.tls:
        chain["transport_socket"] = downstream_tls(listener.tls)
        chain["transport_socket_connect_timeout"] = seconds(milliseconds(spec.timeouts.handshake))
    return chain


def _listener_name(listener: Listener) -> JsonObject:
    """By which the routes of APIs that name their listeners are found: internal/xds/listener_views.go."""
    text = {"text_format_source": {"inline_string": listener.name}}
    kept = {"object_key": envoy_names.LISTENER_STATE, "factory_key": "envoy.string", "format_string": text}
    kind = "extensions.filters.network.set_filter_state.v3.Config"
    return extension("envoy.filters.network.set_filter_state", kind, on_new_connection=[kept])


def _connection_limit(listener: Listener, most: int) -> JsonObject:
    name, kind = "envoy.filters.network.connection_limit", "extensions.filters.network.connection_limit.v3"
    return extension(name, f"{kind}.ConnectionLimit", stat_prefix=listener.name, max_connections=most)


def _manager(group: HostGroup, spec: GatewaySpec, trusted: list[JsonObject]) -> JsonObject:
    listener, limits, timeouts = group.listener, spec.limits, spec.timeouts
    return {
        "stat_prefix": envoy_names.STAT_PREFIX,
        "codec_type": "AUTO",  # HTTP/1.1, and HTTP/2 by prior knowledge or ALPN
        "http_protocol_options": {"enable_trailers": True, "allow_custom_methods": True},
        # Without allow_connect: to a client whose WebSocket over HTTP/2 it refuses, Envoy answers nothing.
        "http2_protocol_options": {
            "max_concurrent_streams": limits.concurrent_streams,
            "initial_stream_window_size": STREAM_WINDOW_BYTES,
            "initial_connection_window_size": CONNECTION_WINDOW_BYTES,
        },
        "scheme_header_transformation": {"match_upstream": True},  # HTTP/2 upstreams with TLS are asked for https
        # `..` and `//` would pass route policies by, and so would %2F.
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",  # the first route of each API takes them
        # No request_timeout: the engine bounds the time for bodies that it gathers.
        "request_headers_timeout": seconds(milliseconds(timeouts.request_headers)),
        # By default the engine's own limits are lower, and leave policies room: chain/limits.go.
        "max_request_headers_kb": limits.header_bytes // 1024,
        "common_http_protocol_options": _connections(listener, spec),
        "drain_timeout": seconds(milliseconds(timeouts.drain)),
        "stream_idle_timeout": seconds(milliseconds(timeouts.stream_idle)),
        "local_reply_config": local_reply_config(
            hosts=bool(listener.hosts), groups=bool(group.own), rate=bool(limits.requests_per_second)
        ),
        "access_log": [
            *access_logs(spec.access_log, spec.redaction, listener.name),
            *([] if listener.redirect else [*trace_log(spec.tracing), answers_log(listener.name)]),
        ],
        **_client_address(spec, trusted),
        **_routes(listener, answers_challenges(spec)),
    }


def _connections(listener: Listener, spec: GatewaySpec) -> JsonObject:
    options: JsonObject = {
        "max_headers_count": spec.limits.header_count,
        "headers_with_underscores_action": UNDERSCORED[spec.underscored_headers],
        # Of connections without a request, those too whose last answer is unread: it is done with, for HTTP/1.1.
        "idle_timeout": seconds(milliseconds(spec.timeouts.connection_idle)),
    }
    if spec.limits.requests_per_connection:
        options["max_requests_per_connection"] = spec.limits.requests_per_connection
    asks_certificates = bool(listener.tls and listener.tls.client_certificates)
    if maximum := spec.timeouts.connection_maximum or (asks_certificates and CERTIFIED_CONNECTION_MAXIMUM):
        options["max_connection_duration"] = seconds(milliseconds(maximum))
    return options


def _believed_headers(listener: Listener, spec: GatewaySpec, by_trusted_proxies: bool) -> JsonObject:
    """What a request's headers may say. by_trusted_proxies: whether only these send requests here."""
    keeps_request_id = by_trusted_proxies and spec.trusted_proxies.request_ids
    mutations = removed_headers(
        proxy_headers=not by_trusted_proxies,
        passed=spec.passed_headers,
        request_id=not keeps_request_id,
        trace_token=not forced(spec.tracing) or bool(listener.redirect),
    )
    return {"early_header_mutation_extensions": [mutations], "preserve_external_request_id": keeps_request_id}


def _client_address(spec: GatewaySpec, trusted: list[JsonObject]) -> JsonObject:
    """The client's address: of connections by trusted proxies the last in x-forwarded-for that is none of these."""
    if trusted:
        kind = "extensions.http.original_ip_detection.xff.v3.XffConfig"
        name = "envoy.http.original_ip_detection.xff"
        found = extension(name, kind, xff_trusted_cidrs={"cidrs": trusted}, skip_xff_append=False)
        return {"use_remote_address": False, "original_ip_detection_extensions": [found]}
    return {**WHO_CONNECTS, "xff_num_trusted_hops": spec.trusted_proxies.hops}


def answers_challenges(spec: GatewaySpec) -> bool:
    """Whether authorities ask this node, by ACME, whether hosts are its own."""
    return any(certificate.acme for certificate in spec.certificates.values())


def _routes(listener: Listener, challenges: bool) -> JsonObject:
    if listener.redirect:
        redirecting = {"name": listener.name, "virtual_hosts": [_redirecting(listener.redirect, challenges)]}
        return {"route_config": redirecting, "strip_any_host_port": True}
    source = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    # Upgrades are the routes' business, where their policies want no body: then nothing passes a policy by.
    return {"rds": {"route_config_name": envoy_names.ROUTE_CONFIGURATION, "config_source": source}}


def _redirecting(redirect: Redirect, challenges: bool) -> JsonObject:
    """Challenges of ACME are answered here all the same, as the engine has it for others: xds/challenges.go."""
    codes = {301: "MOVED_PERMANENTLY", 302: "FOUND", 307: "TEMPORARY_REDIRECT", 308: "PERMANENT_REDIRECT"}
    to: JsonObject = {"https_redirect": True, "response_code": codes[redirect.status]}
    if redirect.port != 443:
        to["port_redirect"] = redirect.port
    refused: JsonObject = {"match": {"prefix": "/", "headers": [TWO_HOSTS]}, "direct_response": {"status": 400}}
    answered: JsonObject = {
        "name": envoy_names.CHALLENGES_ROUTE,
        "match": {"prefix": envoy_names.CHALLENGE_PATH},
        "route": {"cluster": envoy_names.CHALLENGES_CLUSTER, "timeout": "10s"},
    }
    routes = [refused, *([answered] if challenges else []), {"match": {"prefix": "/"}, "redirect": to}]
    return {"name": "redirect", "domains": ["*"], "routes": routes}
