"""Access logs: one line a request, or for a share of them, to each destination."""

from __future__ import annotations

import json

from gatewright_documents.values import JsonObject

from gatewright_controller._gen import envoy_names
from gatewright_controller.model import AccessLogging, Destination, Redaction
from gatewright_controller.translate.envoy.local_replies import cel
from gatewright_controller.translate.envoy.messages import extension, typed
from gatewright_controller.translate.envoy.secret_parameters import has_secret

MILLION = 1_000_000
FORMATTER = "extensions.formatter.req_without_query.v3"


def _metadata(namespace: str, key: str) -> str:
    """The operator that gives a value of dynamic metadata."""
    return f"%DYNAMIC_METADATA({namespace}:{key})%"


def _first_of(*operators: tuple[str, str]) -> str:
    """The first of the operators that has a value."""
    named = [{"command": command} | ({"param": param} if param else {}) for command, param in operators]
    return f"%COALESCE({json.dumps({'operators': named})})%"


OPERATORS = {
    "requestId": "%REQ(X-REQUEST-ID)%",
    "method": "%REQ(:METHOD)%",
    "path": _first_of(("DYNAMIC_METADATA", f"{envoy_names.LOGGED_PATH_FILTER}:value"), ("REQ", ":PATH")),
    # The first once the request goes upstream, whose host is another.
    "authority": "%REQ(X-FORWARDED-HOST?:AUTHORITY)%",
    "status": "%RESPONSE_CODE%",
    "grpcStatus": "%GRPC_STATUS_NUMBER%",  # of gRPC requests only: their status is 200 whatever becomes of them
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "durationMs": "%DURATION%",
    "bytesReceived": "%BYTES_RECEIVED%",
    "bytesSent": "%BYTES_SENT%",
    # The first where operations share a route, whose name says nothing of them.
    "route": _first_of(
        ("DYNAMIC_METADATA", f"{envoy_names.ROUTE_NAMESPACE}:{envoy_names.ROUTE_NAME_KEY}"), ("ROUTE_NAME", "")
    ),
    "client": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "upstream": "%UPSTREAM_HOST%",
    "analytics": f"%DYNAMIC_METADATA({envoy_names.ANALYTICS_NAMESPACE})%",
    "protocol": "%PROTOCOL%",
    "serverName": "%REQUESTED_SERVER_NAME%",
    "tlsVersion": "%DOWNSTREAM_TLS_VERSION%",
    "tlsCipher": "%DOWNSTREAM_TLS_CIPHER%",
    "peerSubject": "%DOWNSTREAM_PEER_SUBJECT%",
    "peerFingerprint": "%DOWNSTREAM_PEER_FINGERPRINT_256%",
    "identitySubject": _metadata(envoy_names.IDENTITY_NAMESPACE, envoy_names.IDENTITY_SUBJECT_KEY),
    "identityIssuer": _metadata(envoy_names.IDENTITY_NAMESPACE, envoy_names.IDENTITY_ISSUER_KEY),
    "identityMethod": _metadata(envoy_names.IDENTITY_NAMESPACE, envoy_names.IDENTITY_METHOD_KEY),
    "consumer": _metadata(envoy_names.IDENTITY_NAMESPACE, envoy_names.IDENTITY_CONSUMER_KEY),
    "plan": _metadata(envoy_names.IDENTITY_NAMESPACE, envoy_names.IDENTITY_PLAN_KEY),
    "traceId": _metadata(envoy_names.TRACE_NAMESPACE, envoy_names.TRACE_ID_KEY),
    "spanId": _metadata(envoy_names.TRACE_NAMESPACE, envoy_names.TRACE_SPAN_ID_KEY),
}
"""What a field holds, in Envoy's words."""

PATH_WITHOUT_QUERY = _first_of(("DYNAMIC_METADATA", f"{envoy_names.LOGGED_PATH_FILTER}:value"), ("PATH", "NQ"))
"""Where the query has a secret, and no filter has taken it out: no policy is there, and nothing is rewritten."""

URL_HEADERS = ("referer", "x-original-url", "x-original-uri", "x-rewrite-url", "x-forwarded-uri", "x-forwarded-url")
"""Headers of requests that are logged without their queries."""

BEGINS = {"time": "%START_TIME%", "level": "info", "component": "access", "message": "request"}
"""Every line of ours begins with these: docs/reference/logs.md."""

UPGRADE_REFUSED = {
    "time": "%START_TIME%",
    "level": "warning",
    "component": "access",
    "message": "upgrade refused",
    "requestId": "%REQ(X-REQUEST-ID)%",
    "path": "%PATH(NQ)%",  # as the client sent it: no filter has run
    "upgrade": "%REQ(UPGRADE)%",
    "reason": f"%METADATA(ROUTE:{envoy_names.UPGRADE_NAMESPACE}:refused)%",
    "route": "%ROUTE_NAME%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS%",
}


def access_logs(settings: AccessLogging, redaction: Redaction, listener: str) -> list[JsonObject]:
    """Those of a listener of this name."""
    if not settings.enabled:
        return []
    fields = BEGINS | {name: _operator(source, listener) for name, source in settings.fields.items()}
    wanted = _line_filter(settings.sample)
    lines = [(wanted, fields)]
    if "path" in settings.fields.values():
        hidden = {name: PATH_WITHOUT_QUERY if field == OPERATORS["path"] else field for name, field in fields.items()}
        secret = {"name": ":path", "string_match": has_secret(redaction)}
        lines = [
            (all_of({"header_filter": {"header": {**secret, "invert_match": True}}}, wanted), fields),
            (all_of({"header_filter": {"header": secret}}, wanted), hidden),
        ]
    # Why a WebSocket was refused, for the operator: the client only gets a status.
    lines.append((_refused_upgrades(), UPGRADE_REFUSED))
    return [_logger(destination, *line) for destination in settings.destinations for line in lines]


def _operator(source: str, listener: str) -> str:
    kind, _, name = source.partition(":")
    if source.startswith("analytics."):
        return _metadata(envoy_names.ANALYTICS_NAMESPACE, source.removeprefix("analytics.").replace(".", ":"))
    if kind == "requestHeader" and name.lower() in URL_HEADERS:
        return f"%REQ_WITHOUT_QUERY({name.upper()})%"
    if name:
        return f"%{'REQ' if kind == 'requestHeader' else 'RESP'}({name.upper()})%"
    return listener if source == "listener" else OPERATORS[source]


def _logger(destination: Destination, chosen: JsonObject, fields: dict[str, str]) -> JsonObject:
    if destination.to == "otlp":
        return {
            "name": "envoy.access_loggers.open_telemetry",
            "filter": chosen,
            "typed_config": _open_telemetry(str(destination.collector), fields),
        }
    path = "/dev/stdout" if destination.to == "stdout" else str(destination.path)
    form = _text(fields) if destination.format == "text" else {"omit_empty_values": True, "json_format": fields}
    form |= _formatters(fields)
    file = typed("extensions.access_loggers.file.v3.FileAccessLog", path=path, log_format=form)
    return {"name": "envoy.access_loggers.file", "filter": chosen, "typed_config": file}


def _formatters(fields: dict[str, str]) -> JsonObject:
    """Those that are none of Envoy's own, where a field asks for one."""
    if not any("%REQ_WITHOUT_QUERY" in field for field in fields.values()):
        return {}
    return {"formatters": [extension("envoy.formatter.req_without_query", f"{FORMATTER}.ReqWithoutQuery")]}


def _text(fields: dict[str, str]) -> JsonObject:
    line = " ".join(f"{name}={value}" for name, value in fields.items())
    return {"text_format_source": {"inline_string": f"{line}\n"}}


def _open_telemetry(collector: str, fields: dict[str, str]) -> JsonObject:
    """By gRPC's own library: a cluster would have to be in the bootstrap."""
    attributes = [
        {"key": name, "value": {"string_value": value}}
        for name, value in fields.items()
        if name not in ("time", "level", "message")
    ]
    return typed(
        "extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig",
        grpc_service={"google_grpc": {"target_uri": collector, "stat_prefix": "access_log"}, "timeout": "10s"},
        log_name="gatewright",
        body={"string_value": fields["message"]},
        attributes={"values": attributes},
        **_formatters(fields),
    )


def _lines_setting_is(lines: str) -> JsonObject:
    """Whether the route's API says so, or nothing: docs/how-to/apis.md. No filter of metadata can say "is not"."""
    matcher = {
        "filter": envoy_names.ACCESS_LOG_FILTER,
        "path": [{"key": "lines"}],
        "value": {"string_match": {"exact": lines}},
    }
    return {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": True}}


def _line_filter(sample: float) -> JsonObject:
    """What says nothing has lines, and nothing says "all": so a share of those, and all errors."""
    share = {"numerator": round(sample * MILLION), "denominator": "MILLION"}
    sampled = {
        "runtime_key": envoy_names.ACCESS_LOG_SAMPLE_KEY,
        "percent_sampled": share,
        "use_independent_randomness": True,
    }
    worst = {"default_value": 500, "runtime_key": envoy_names.ACCESS_LOG_ERRORS_KEY}
    failed = {"status_code_filter": {"comparison": {"op": "GE", "value": worst}}}
    return all_of(
        _lines_setting_is("errors"),
        any_of(failed, _failed_grpc(), all_of(_lines_setting_is("all"), {"runtime_filter": sampled})),
    )


def _failed_grpc() -> JsonObject:
    """What is 500 and above to a gRPC client. Without the first filter: any request that is not gRPC."""
    grpc = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
    statuses = ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"]
    return all_of({"header_filter": {"header": grpc}}, {"grpc_status_filter": {"statuses": statuses}})


def _refused_upgrades() -> JsonObject:
    upgrade = {"header_filter": {"header": {"name": "upgrade", "present_match": True}}}
    refused = cel("response.code == 403 && response.code_details.matches('upgrade_failed|proxy_refused')")
    return all_of(upgrade, _lines_setting_is("errors"), refused)


def all_of(*filters: JsonObject) -> JsonObject:
    """A filter that wants all of them."""
    return {"and_filter": {"filters": list(filters)}}


def any_of(*filters: JsonObject) -> JsonObject:
    """A filter that wants one of them."""
    return {"or_filter": {"filters": list(filters)}}
