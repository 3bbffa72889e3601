"""Envoy's access log of traced exchanges, which the engine makes spans of.

The engine decides which exchanges with policies are traced, and says so in their metadata. It does not see the others:
of these a share is sent, and those with a token, which it checks. internal/tracing reads all of it.
"""

from __future__ import annotations

from gatewright_documents.values import JsonObject
from msgspec import UNSET

from gatewright_controller._gen import envoy_names
from gatewright_controller.model import Tracing
from gatewright_controller.translate.envoy.access_logs import MILLION, OPERATORS, all_of, any_of
from gatewright_controller.translate.envoy.messages import extension, typed

TAGS = {
    envoy_names.METHOD_TAG: "%REQ(:METHOD)%",
    envoy_names.PATH_TAG: OPERATORS["path"],
    envoy_names.AUTHORITY_TAG: OPERATORS["authority"],
    envoy_names.FLAGS_TAG: "%RESPONSE_FLAGS%",
    envoy_names.TRACEPARENT_TAG: "%REQ(TRACEPARENT)%",
    envoy_names.TRACESTATE_TAG: "%REQ(TRACESTATE)%",
}
"""Beside what such a log has by itself: internal/tracing/accesslog.go."""


def trace_log(tracing: Tracing) -> list[JsonObject]:
    """The access log that goes to the engine."""
    if not tracing.on:
        return []
    return [grpc_log(envoy_names.TRACES_LOG, TAGS) | {"filter": any_of(*_trace_filters(tracing))}]


def grpc_log(name: str, tags: dict[str, str]) -> JsonObject:
    """An access log that goes to the engine, which knows it by its name."""
    common = {
        "log_name": name,
        "grpc_service": {"envoy_grpc": {"cluster_name": envoy_names.XDS_CLUSTER}, "timeout": "10s"},
        "transport_api_version": "V3",
        "buffer_flush_interval": "1s",
        "custom_tags": [{"tag": tag, "value": value} for tag, value in tags.items()],
    }
    kind = "extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig"
    return {"name": "envoy.access_loggers.http_grpc", "typed_config": typed(kind, common_config=common)}


def _trace_filters(tracing: Tracing) -> list[JsonObject]:
    chosen = [
        _has_trace_metadata(envoy_names.TRACE_ID_KEY),
        *([_has_trace_metadata(envoy_names.TRACE_TOKEN_KEY)] if forced(tracing) else []),
    ]
    share = {"numerator": round(tracing.sample * MILLION), "denominator": "MILLION"}
    by_chance: JsonObject = {
        "runtime_filter": {
            "runtime_key": envoy_names.TRACES_SAMPLE_KEY,
            "percent_sampled": share,
            "use_independent_randomness": True,
        }
    }
    if not tracing.trust_clients:
        return [*chosen, by_chance]
    brings_none = _traceparent(present_match=False)
    return [*chosen, _traceparent(string_match={"suffix": "-01"}), all_of(brings_none, by_chance)]


def _has_trace_metadata(key: str) -> JsonObject:
    """Whether the metadata of the exchange's trace has this."""
    matcher = {"filter": envoy_names.TRACE_NAMESPACE, "path": [{"key": key}], "value": {"present_match": True}}
    return {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": False}}


def _traceparent(**match: object) -> JsonObject:
    return {"header_filter": {"header": {"name": "traceparent", **match}}}


def forced(tracing: Tracing) -> bool:
    """Whether a token forces traces."""
    return tracing.on and tracing.force_token_file is not UNSET


def presented_token() -> JsonObject:
    """The first filter where a token forces traces: takes it out of the request, for the engine alone to read."""
    kept = {"metadata_namespace": envoy_names.TRACE_NAMESPACE, "key": envoy_names.TRACE_TOKEN_KEY, "type": "STRING"}
    rule = {"header": envoy_names.TRACE_TOKEN_HEADER, "on_header_present": kept, "remove": True}
    kind = "extensions.filters.http.header_to_metadata.v3.Config"
    return extension("envoy.filters.http.header_to_metadata", kind, request_rules=[rule])
