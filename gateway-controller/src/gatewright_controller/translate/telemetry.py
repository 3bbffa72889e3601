"""Telemetry of a node and its receivers: one function for each part of the message."""

from __future__ import annotations

from msgspec import UNSET

from gatewright_controller._gen import node_pb2
from gatewright_controller.model import Admin, GatewaySpec, LogExport, Metrics, Recording, Redaction, Tracing


def translate_telemetry(spec: GatewaySpec) -> node_pb2.Telemetry:
    """The message of a valid Gateway. Same input, same bytes."""
    message = node_pb2.Telemetry(
        admin=_admin(spec.admin),
        metrics=_metrics(spec.metrics),
        redaction=_redaction(spec.redaction),
        recording=_recording(spec.recording),
    )
    if spec.tracing.on:
        message.tracing.CopyFrom(_tracing(spec.tracing))
    if spec.logs.on:
        message.logging.CopyFrom(_logging(spec.logs))
    return message


def _admin(admin: Admin) -> node_pb2.Admin:
    return node_pb2.Admin(
        address=admin.address, port=0 if admin.port is UNSET else admin.port, disabled=not admin.enabled
    )


def _metrics(metrics: Metrics) -> node_pb2.Metrics:
    return node_pb2.Metrics(
        disabled=not metrics.enabled, max_series=metrics.max_series, without_operations=not metrics.operations
    )


def _logging(logs: LogExport) -> node_pb2.Logging:
    return node_pb2.Logging(
        endpoint=logs.collector or "", http=logs.protocol == "http", tls=logs.tls, headers=logs.headers
    )


def _redaction(redaction: Redaction) -> node_pb2.Redaction:
    return node_pb2.Redaction(
        headers=redaction.all_headers,
        query_parameters=redaction.all_query_parameters,
        fields=redaction.all_fields,
    )


def _recording(recording: Recording) -> node_pb2.Recording:
    return node_pb2.Recording(max_bytes=recording.max_bytes, body_bytes=recording.body_bytes)


def _tracing(tracing: Tracing) -> node_pb2.Tracing:
    return node_pb2.Tracing(
        endpoint=tracing.collector or "",
        http=tracing.protocol == "http",
        tls=tracing.tls,
        sample=tracing.sample,
        force_token_file=tracing.force_token_file or "",
        service_name=tracing.service_name,
        resource_attributes=tracing.resource_attributes,
        headers=tracing.headers,
        trust_clients=tracing.trust_clients,
    )
