"""Traces: which exchanges are traced, and the collector that receives their spans."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from gatewright_documents.strict import expecting
from msgspec import UNSET, Meta, UnsetType

from gatewright_controller.model.common import FilePath, Strict, doc

Value = Annotated[str, Meta(max_length=4096, extra_json_schema=expecting("text of at most 4096 characters"))]


class Tracing(Strict, frozen=True):
    """Spans of exchanges by OpenTelemetry, sent by OTLP. Off unless there is a collector."""

    collector: Annotated[
        Annotated[str, Meta(min_length=1, max_length=2048)] | UnsetType,
        doc("The receiving collector: HOST:PORT with protocol grpc, http://HOST:PORT or https://HOST:PORT with "
            "protocol http, whose path is /v1/traces unless one is written. Unset: there are no traces."),
    ] = UNSET  # fmt: skip
    protocol: Annotated[Literal["grpc", "http"], doc("OTLP over gRPC, or over HTTP with protobuf.")] = "grpc"
    tls: Annotated[
        bool, doc("Of protocol grpc, by the certificate authorities of the node's system. With http the URL says it.")
    ] = False
    headers: Annotated[
        dict[str, Value], doc("Sent to the collector with the spans, such as what it knows its tenants by.")
    ] = msgspec.field(default_factory=dict)
    sample: Annotated[float, doc("The share of exchanges that are traced.", ge=0, le=1)] = 0.01
    trust_clients: Annotated[
        bool,
        doc("Whether the sampled flag in a client's traceparent says if its exchange is traced. Without it the share "
            "in sample counts for these, too. The trace is the client's in any case."),
    ] = False  # fmt: skip
    force_token_file: Annotated[
        FilePath | UnsetType,
        doc("A file with a token: a request that has it in x-gatewright-trace is traced. Unset: none is by it."),
    ] = UNSET
    service_name: Annotated[
        Annotated[str, Meta(min_length=1, max_length=200)], doc("The attribute service.name of all spans.")
    ] = "gatewright"
    resource_attributes: Annotated[
        dict[str, Value], doc("Attributes of all spans, such as deployment.environment.name.")
    ] = msgspec.field(default_factory=dict)

    @property
    def on(self) -> bool:
        """Whether anything is traced."""
        return self.collector is not UNSET
