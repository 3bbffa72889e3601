"""What a node tells of itself, and to whom: one function for each part of the message."""

from __future__ import annotations

from gatewright_controller._gen import node_pb2
from gatewright_controller.model import GatewaySpec, Redaction, Tracing


def translate_telemetry(spec: GatewaySpec) -> node_pb2.Telemetry:
    """The message of a valid Gateway. Same input, same bytes."""
    message = node_pb2.Telemetry(redaction=_redaction(spec.redaction))
    if spec.tracing.on:
        message.tracing.CopyFrom(_tracing(spec.tracing))
    return message


def _redaction(redaction: Redaction) -> node_pb2.Redaction:
    return node_pb2.Redaction(
        headers=redaction.all_headers,
        query_parameters=redaction.all_query_parameters,
        fields=redaction.all_fields,
    )


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
