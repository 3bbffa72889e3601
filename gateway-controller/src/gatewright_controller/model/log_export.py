"""Log lines of a node, sent to a collector."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from gatewright_documents.strict import expecting
from msgspec import UNSET, Meta, UnsetType

from gatewright_controller.model.common import Strict, doc

HeaderText = Annotated[str, Meta(max_length=4096, extra_json_schema=expecting("text of at most 4096 characters"))]


class LogExport(Strict, frozen=True):
    """Log lines of all components, and those of the access log that go to stdout, by OTLP. Off unless there is a
    collector."""

    collector: Annotated[
        Annotated[str, Meta(min_length=1, max_length=2048)] | UnsetType,
        doc("The receiving collector: HOST:PORT with protocol grpc, http://HOST:PORT or https://HOST:PORT with "
            "protocol http, whose path is /v1/logs unless one is written. Unset: they go to stderr and stdout alone."),
    ] = UNSET  # fmt: skip
    protocol: Annotated[Literal["grpc", "http"], doc("OTLP over gRPC, or over HTTP with protobuf.")] = "grpc"
    tls: Annotated[
        bool, doc("Of protocol grpc, by the certificate authorities of the node's system. With http the URL says it.")
    ] = False
    headers: Annotated[
        dict[str, HeaderText], doc("Sent to the collector with the lines, such as what it knows its tenants by.")
    ] = msgspec.field(default_factory=dict)

    @property
    def on(self) -> bool:
        """Whether lines are sent."""
        return self.collector is not UNSET
