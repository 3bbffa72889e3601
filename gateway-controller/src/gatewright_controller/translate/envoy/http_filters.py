"""The HTTP filters of a listener, in the order in which requests meet them."""

from __future__ import annotations

import re

from gatewright_documents.values import JsonObject

from gatewright_controller._gen import envoy_names
from gatewright_controller.model import Compression, GatewaySpec, Limits, Redaction, Tracing
from gatewright_controller.translate.envoy.host_groups import HostGroup
from gatewright_controller.translate.envoy.messages import extension
from gatewright_controller.translate.envoy.quic import alt_svc
from gatewright_controller.translate.envoy.routes import coalesced
from gatewright_controller.translate.envoy.secret_parameters import SUBSTITUTION, secret_parameters
from gatewright_controller.translate.envoy.traces import forced, presented_token

FILTERS = "extensions.filters.http"

LIBRARIES = {
    "br": ("brotli", "extensions.compression.brotli.compressor.v3.Brotli"),
    "gzip": ("gzip", "extensions.compression.gzip.compressor.v3.Gzip"),
    "zstd": ("zstd", "extensions.compression.zstd.compressor.v3.Zstd"),
}


def http_filters(group: HostGroup, spec: GatewaySpec, *, udp: bool = False) -> list[JsonObject]:
    """Those of a listener that serves APIs, or of one that redirects. udp: of its HTTP/3."""
    listener = group.listener
    last = extension(
        "envoy.filters.http.router",
        f"{FILTERS}.router.v3.Router",
        suppress_envoy_headers=True,  # x-envoy-original-path and its like are not for upstreams
    )
    advertised = [alt_svc(listener)] if listener.http3 and not udp else []
    first = [*advertised, *_refused_hosts(group), *_rate(spec.limits)]
    peers = bool(listener.tls and listener.tls.client_certificates)
    if listener.redirect:
        return [*first, last]
    compressed = _compressors(listener.compression) if listener.compression else []
    certificate = [_peer()] if peers else []
    engine = _ext_proc([envoy_names.PEER_ATTRIBUTE] if peers else [], spec.tracing)
    token = [presented_token()] if forced(spec.tracing) else []
    kept = _kept_path(spec.redaction)
    return [*token, *first, *certificate, kept, _lines_setting(), *compressed, engine, _choice(), last]


def _refused_hosts(group: HostGroup) -> list[JsonObject]:
    """Requests for hosts that the listener has not, and for those of its other groups."""
    rules: JsonObject = {}
    if hosts := group.listener.hosts:
        own = {"name": ":authority", "string_match": {"safe_regex": {"regex": host_pattern(hosts)}}}
        rules[envoy_names.OTHER_HOSTS_RULE] = _unless({"header": own})
    if group.own:
        rules[envoy_names.OTHER_SERVER_NAMES_RULE] = _unless(group.own)
    refused = {"action": "DENY", "policies": rules}
    return [extension("envoy.filters.http.rbac", f"{FILTERS}.rbac.v3.RBAC", rules=refused)] if rules else []


def _unless(permission: JsonObject) -> JsonObject:
    return {"permissions": [{"and_rules": {"rules": [{"not_rule": permission}]}}], "principals": [{"any": True}]}


def host_pattern(hosts: list[str]) -> str:
    """RE2, of all of an authority: one of the hosts, in any case, with any port or none."""
    alternatives = "|".join(
        rf"[^.:\[\]]+(?:\.[^.:\[\]]+)*{re.escape(host[1:])}" if host.startswith("*.") else re.escape(host)
        for host in hosts
    )
    return f"(?i)(?:{alternatives})(?::[0-9]+)?"


def _kept_path(redaction: Redaction) -> JsonObject:
    """The path that the client asked for, for the access log: enabled by routes that rewrite it or have policies."""
    shown = {"pattern": {"regex": secret_parameters(redaction)}, "substitution": SUBSTITUTION}
    kept = {"metadata_namespace": envoy_names.LOGGED_PATH_FILTER, "key": "value", "regex_value_rewrite": shown}
    kind = f"{FILTERS}.header_to_metadata.v3.Config"
    rules = [{"header": ":path", "on_header_present": kept}]
    return {**extension(envoy_names.LOGGED_PATH_FILTER, kind, request_rules=rules), "disabled": True}


def _kept(key: str, value: str) -> JsonObject:
    source = {"text_format_source": {"inline_string": value}}
    return {"object_key": key, "factory_key": "envoy.string", "format_string": source}


def _rate(limits: Limits) -> list[JsonObject]:
    """Of each connection by itself."""
    if not limits.requests_per_second:
        return []
    rate = limits.requests_per_second
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    limited = extension(
        "envoy.filters.http.local_ratelimit",
        f"{FILTERS}.local_ratelimit.v3.LocalRateLimit",
        stat_prefix=envoy_names.STAT_PREFIX,
        token_bucket={"max_tokens": rate, "tokens_per_fill": rate, "fill_interval": "1s"},
        filter_enabled=always,
        filter_enforced=always,
        local_rate_limit_per_downstream_connection=True,
    )
    return [limited]


def _lines_setting() -> JsonObject:
    """What an API says of its access log lines: enabled, with the value, by the routes of those that say something."""
    return {**extension(envoy_names.ACCESS_LOG_FILTER, f"{FILTERS}.set_metadata.v3.Config"), "disabled": True}


def _compressors(compression: Compression) -> list[JsonObject]:
    """Before ext_proc: responses meet filters from the last to the first, and policies what is not compressed."""
    common = {"min_content_length": compression.min_bytes, "content_type": compression.content_types}
    return [
        extension(
            f"{envoy_names.COMPRESSOR_FILTER_PREFIX}{encoding}",
            f"{FILTERS}.compressor.v3.Compressor",
            response_direction_config={"common_config": common},
            choose_first=position == 0,
            compressor_library=extension(*LIBRARIES[encoding]),
        )
        for position, encoding in enumerate(compression.encodings)
    ]


def _peer() -> JsonObject:
    """The client's certificate, for the engine to read: what it says stands in no header."""
    text = {"omit_empty_values": True, "text_format_source": {"inline_string": "%DOWNSTREAM_PEER_CERT%"}}
    kept = {
        "object_key": envoy_names.PEER_FILTER,
        "factory_key": "envoy.string",
        "skip_if_empty": True,
        "format_string": text,
    }
    return extension(envoy_names.PEER_FILTER, f"{FILTERS}.set_filter_state.v3.Config", on_request_headers=[kept])


def _ext_proc(attributes: list[str], tracing: Tracing) -> JsonObject:
    """Enabled per route, which overrides the modes with what its chain needs: a request that matches none must not
    reach the engine."""
    mode = {
        "request_header_mode": "SEND",  # with SKIP the first message would be response_headers
        "response_header_mode": "SKIP",
        "request_body_mode": "NONE",
        "response_body_mode": "NONE",
        "request_trailer_mode": "SKIP",
        "response_trailer_mode": "SKIP",
    }
    received = [
        envoy_names.ANALYTICS_NAMESPACE,
        envoy_names.AUTHORITY_NAMESPACE,
        envoy_names.UPSTREAM_NAMESPACE,
        envoy_names.IDENTITY_NAMESPACE,
        envoy_names.ROUTE_NAMESPACE,
        envoy_names.ORDER_NAMESPACE,
        envoy_names.ATTEMPTS_NAMESPACE,
        envoy_names.WATCHED_NAMESPACE,
        *([envoy_names.TRACE_NAMESPACE] if tracing.on else []),
    ]
    metadata: JsonObject = {"receiving_namespaces": {"untyped": received}}
    if forced(tracing):
        metadata["forwarding_namespaces"] = {"untyped": [envoy_names.TRACE_NAMESPACE]}
    configured = extension(
        envoy_names.EXT_PROC_FILTER,
        f"{FILTERS}.ext_proc.v3.ExternalProcessor",
        grpc_service={"envoy_grpc": {"cluster_name": envoy_names.POLICY_ENGINE_CLUSTER, "skip_envoy_headers": True}},
        failure_mode_allow=False,
        status_on_error={"code": "ServiceUnavailable"},  # no engine, no policies, no answer but this
        message_timeout="60s",  # per filter, not per route: attachments have their own, shorter ones
        processing_mode=mode,
        request_attributes=[envoy_names.ROUTE_NAME_ATTRIBUTE, envoy_names.CLIENT_ADDRESS_ATTRIBUTE, *attributes],
        route_cache_action="RETAIN",  # a cleared route cache re-routes without the new route's policies
        allow_content_length_header=True,
        allow_mode_override=True,  # to record an exchange, the engine asks for the response too
        mutation_rules={"allow_all_routing": True, "allow_envoy": True, "disallow_is_error": True},  # the engine checks
        # What access log and host_rewrite of a route read, and the filter behind this one.
        metadata_options=metadata,
    )
    return {**configured, "disabled": True}


def _choice() -> JsonObject:
    """Enabled by the routes between whose pools policies choose: Envoy looks for the route again by this alone, so that
    nothing that policies have made of a request leads to a route with others. The engine's choices.go places them."""
    chosen = f"{envoy_names.UPSTREAM_NAMESPACE}:{envoy_names.CHOSEN_VALUE_KEY}"
    own = f"ROUTE:{envoy_names.CHOICE_FILTER}:{envoy_names.CHOICE_UPSTREAM_KEY}"
    upstream = coalesced("DYNAMIC_METADATA", chosen, "METADATA", own)
    route = f"%METADATA(ROUTE:{envoy_names.CHOICE_FILTER}:{envoy_names.CHOICE_ROUTE_KEY})%"
    key = _kept(envoy_names.CHOICE_FILTER, f"{route}{envoy_names.CHOICE_SEPARATOR}{upstream}")
    kind = f"{FILTERS}.set_filter_state.v3.Config"
    return {
        **extension(envoy_names.CHOICE_FILTER, kind, on_request_headers=[key], clear_route_cache=True),
        "disabled": True,
    }
