"""What a node tells of itself, and to whom: one function for each part of the message."""

from __future__ import annotations

from gatewright_controller._gen import node_pb2
from gatewright_controller.model import GatewaySpec, Recording, Redaction


def translate_telemetry(spec: GatewaySpec) -> node_pb2.Telemetry:
    """The message of a valid Gateway. Same input, same bytes."""
    return node_pb2.Telemetry(redaction=_redaction(spec.redaction), recording=_recording(spec.recording))


def _redaction(redaction: Redaction) -> node_pb2.Redaction:
    return node_pb2.Redaction(
        headers=redaction.all_headers,
        query_parameters=redaction.all_query_parameters,
        fields=redaction.all_fields,
    )


def _recording(recording: Recording) -> node_pb2.Recording:
    return node_pb2.Recording(max_bytes=recording.max_bytes, body_bytes=recording.body_bytes)
