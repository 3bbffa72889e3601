"""Envoy's messages from the documents that its own reference shows: refused where a field is not Envoy's.

xds-protos lags behind the Envoy that we run. Fields that it has not, and Envoy has, are added here to what it says of
their messages, with Envoy's numbers; they are fields like all others then.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, cast

# Whatever an Any of ours holds has to be known.
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from envoy.extensions.access_loggers.grpc.v3 import als_pb2
from envoy.extensions.access_loggers.open_telemetry.v3 import logs_service_pb2
from envoy.extensions.compression.brotli.compressor.v3 import brotli_pb2
from envoy.extensions.compression.gzip.compressor.v3 import gzip_pb2
from envoy.extensions.compression.zstd.compressor.v3 import zstd_pb2
from envoy.extensions.filters.http.compressor.v3 import compressor_pb2
from envoy.extensions.filters.http.ext_proc.v3 import ext_proc_pb2
from envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2 as header_filter_pb2
from envoy.extensions.filters.http.header_to_metadata.v3 import header_to_metadata_pb2
from envoy.extensions.filters.http.local_ratelimit.v3 import local_rate_limit_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.http.set_filter_state.v3 import set_filter_state_pb2
from envoy.extensions.filters.http.set_metadata.v3 import set_metadata_pb2
from envoy.extensions.filters.listener.local_ratelimit.v3 import local_ratelimit_pb2
from envoy.extensions.filters.listener.proxy_protocol.v3 import proxy_protocol_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from envoy.extensions.filters.network.connection_limit.v3 import connection_limit_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.filters.network.set_filter_state.v3 import set_filter_state_pb2 as set_connection_state_pb2
from envoy.extensions.formatter.req_without_query.v3 import req_without_query_pb2
from envoy.extensions.http.early_header_mutation.header_mutation.v3 import header_mutation_pb2
from envoy.extensions.http.original_ip_detection.xff.v3 import xff_pb2
from envoy.extensions.transport_sockets.quic.v3 import quic_transport_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from gatewright_documents.values import JsonObject
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import Message

from gatewright_controller.translate.envoy.common import EnvoyMessage

KNOWN = (
    als_pb2, brotli_pb2, cel_pb2, compressor_pb2, connection_limit_pb2, ext_proc_pb2, file_pb2, gzip_pb2,
    header_filter_pb2, header_mutation_pb2, header_to_metadata_pb2, http_connection_manager_pb2, listener_pb2,
    local_rate_limit_pb2, local_ratelimit_pb2, logs_service_pb2, proxy_protocol_pb2, quic_transport_pb2, rbac_pb2,
    req_without_query_pb2, router_pb2, set_connection_state_pb2, set_filter_state_pb2, set_metadata_pb2,
    tls_inspector_pb2, tls_pb2, xff_pb2, zstd_pb2,
)  # fmt: skip
ANY = "google.protobuf.Any"
LISTENER = "envoy.config.listener.v3.Listener"
TYPE = "type.googleapis.com/envoy"
FIELD = descriptor_pb2.FieldDescriptorProto
BOOL, STRING, MESSAGE = FIELD.TYPE_BOOL, FIELD.TYPE_STRING, FIELD.TYPE_MESSAGE
GRPC_SERVICE = "envoy.config.core.v3.GrpcService"
NEWER: dict[str, dict[str, tuple[int, int, str, str]]] = {
    "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor": {"allow_content_length_header": (26, BOOL, "", "")},
    "envoy.extensions.filters.http.set_filter_state.v3.Config": {"clear_route_cache": (2, BOOL, "", "")},
    "envoy.extensions.transport_sockets.quic.v3.QuicDownstreamTransport": {
        "enable_resumption": (3, MESSAGE, ".google.protobuf.BoolValue", ""),
    },
    "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig": {
        "grpc_service": (9, MESSAGE, f".{GRPC_SERVICE}", "envoy/config/core/v3/grpc_service.proto"),
        "log_name": (10, STRING, "", ""),
    },
}
"""Message → its fields that xds-protos lacks: number, type, for messages its name and the file that it is in."""


class _WithNewerFields:
    """The database behind a pool of descriptors: those of xds-protos, with what it lacks."""

    def __init__(self) -> None:
        self._known = descriptor_pool.Default()

    def FindFileByName(self, name: str) -> descriptor_pb2.FileDescriptorProto:  # noqa: N802 - protobuf's name
        return _extended(self._known.FindFileByName(name))

    def FindFileContainingSymbol(self, symbol: str) -> descriptor_pb2.FileDescriptorProto:  # noqa: N802
        return _extended(self._known.FindFileContainingSymbol(symbol))


def _extended(file: Any) -> descriptor_pb2.FileDescriptorProto:
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    for message in proto.message_type:
        for name, (number, kind, of, within) in NEWER.get(f"{proto.package}.{message.name}", {}).items():
            message.field.add(name=name, number=number, type=kind, type_name=of or None, label=FIELD.LABEL_OPTIONAL)
            if within and within not in proto.dependency:
                proto.dependency.append(within)
    return proto


@cache
def pool() -> descriptor_pool.DescriptorPool:
    """What all messages here are described by."""
    return descriptor_pool.DescriptorPool(_WithNewerFields())


def message(kind: str, document: JsonObject) -> EnvoyMessage:
    """The message of this full name that the document describes. Raises `ParseError`."""
    made = json_format.ParseDict(document, _empty(kind), descriptor_pool=pool())
    _settle(made)
    return cast("EnvoyMessage", made)


def _empty(kind: str) -> Message:
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(kind))()


def _settle(made: Message) -> None:
    """What is inside of each Any, serialized the same way every time: `ParseDict` leaves maps in any order there."""
    if made.DESCRIPTOR.full_name == ANY:
        holder: Any = made
        inside = _empty(holder.type_url.rpartition("/")[2])
        inside.ParseFromString(holder.value)
        _settle(inside)
        holder.value = inside.SerializeToString(deterministic=True)
        return
    for field, value in made.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue  # Envoy's maps that we fill hold no Any
        for item in value if field.is_repeated else [value]:
            _settle(item)


def document_of(kind: str, serialized: bytes) -> JsonObject:
    """The inverse of `message`, of what was serialized."""
    read = _empty(kind)
    read.ParseFromString(serialized)
    text = json_format.MessageToJson(read, preserving_proto_field_name=True, descriptor_pool=pool())
    shown: JsonObject = json.loads(text)
    return shown


def typed(kind: str, **fields: object) -> JsonObject:
    """A `typed_config` of this type, its name without `envoy.`."""
    return {"@type": f"{TYPE}.{kind}", **fields}


def extension(name: str, kind: str, **fields: object) -> JsonObject:
    """An extension with its configuration."""
    return {"name": name, "typed_config": typed(kind, **fields)}


def seconds(milliseconds: int) -> str:
    """A duration as JSON has it."""
    return f"{milliseconds / 1000:.3f}".rstrip("0").rstrip(".") + "s"
