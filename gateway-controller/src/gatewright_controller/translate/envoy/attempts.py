"""Requests with several attempts: each goes to another pool, until one answers.

The route names the pools' clusters, and the engine their order for each request. Filters of the clusters make the
request that of the attempt, and have the engine look at the answer before the next pool is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import msgspec
from envoy.config.common.mutation_rules.v3 import mutation_rules_pb2
from envoy.config.core.v3 import grpc_service_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.ext_proc.v3 import ext_proc_pb2, processing_mode_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.filters.http.upstream_codec.v3 import upstream_codec_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2
from msgspec.structs import asdict

from gatewright_controller._gen import envoy_names
from gatewright_controller.translate.envoy.common import EnvoyMessage, duration, packed_any

SPECIFIER = "envoy.extensions.router.cluster_specifiers.priority_group.v3.PriorityGroupClusterSpecifier"
REFRESH_CLUSTER_ON_RETRY = b"\x70\x01"
"""Field 14 of Envoy's RetryPolicy, true."""
ALLOW_CONTENT_LENGTH_HEADER = b"\xd0\x01\x01"
"""Field 26 of ExternalProcessor, true."""
CONDITIONS = ("connect-failure", "refused-stream", "reset", "5xx", "retriable-status-codes", "retriable-headers")
STATUSES = (408, 425, 429)
"""Beside 500 and above, 529 among them."""
BODY_BYTES = 8 << 20
"""What Envoy keeps of a request's body for the next attempts; one that is longer is sent once."""


class AttemptPool(msgspec.Struct, frozen=True):
    """What an attempt needs of its pool. authority: "" is the one that the client has sent."""

    authority: str
    base: str


class Attempts(msgspec.Struct, frozen=True):
    """The pools that a route's requests may try, and their clusters, by the pools' names."""

    pools: Mapping[str, AttemptPool]
    clusters: Mapping[str, str]


@cache
def _specifier() -> type[Any]:
    """The message of Envoy 1.40 that xds-protos does not have."""
    file = descriptor_pb2.FileDescriptorProto(name="gatewright/priority_group.proto", syntax="proto3")
    file.dependency.append("google/protobuf/wrappers.proto")
    file.package = SPECIFIER.rpartition(".")[0]
    text, embedded = descriptor_pb2.FieldDescriptorProto.TYPE_STRING, descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
    many = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
    cluster = file.message_type.add(name="ClusterWeight")
    cluster.field.add(name="cluster_name", number=1, type=text)
    cluster.field.add(name="weight", number=2, type=embedded, type_name=".google.protobuf.UInt32Value")
    group = file.message_type.add(name="PriorityGroup")
    group.field.add(name="name", number=1, type=text)
    group.field.add(name="clusters", number=2, type=embedded, label=many, type_name=f".{file.package}.{cluster.name}")
    specifier = file.message_type.add(name=SPECIFIER.rpartition(".")[2])
    specifier.field.add(
        name="priority_groups", number=1, type=embedded, label=many, type_name=f".{file.package}.{group.name}"
    )
    specifier.field.add(name="override_metadata_namespace", number=2, type=text)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    made: type[Any] = message_factory.GetMessageClass(pool.FindMessageTypeByName(SPECIFIER))
    return made


def set_attempts(route: EnvoyMessage, attempts: Attempts) -> None:
    """Makes a route one whose requests are tried at several pools."""
    built = cast("route_components_pb2.Route", route)
    specifier = _specifier()(override_metadata_namespace=envoy_names.ORDER_NAMESPACE)
    for name, cluster in attempts.clusters.items():
        specifier.priority_groups.add(name=name).clusters.add(cluster_name=cluster).weight.value = 1
    extension = built.route.inline_cluster_specifier_plugin.extension
    extension.name = "envoy.router.cluster_specifier_plugin.priority_group"
    extension.typed_config.CopyFrom(
        any_pb2.Any(type_url=f"type.googleapis.com/{SPECIFIER}", value=specifier.SerializeToString(deterministic=True))
    )
    policy = built.route.retry_policy
    policy.retry_on = ",".join(CONDITIONS)
    policy.retriable_status_codes.extend(STATUSES)
    policy.retriable_headers.add(name=envoy_names.FIRST_EVENT_HEADER, present_match=True)
    policy.num_retries.value = len(attempts.clusters) - 1
    policy.retry_back_off.base_interval.CopyFrom(duration(1))
    policy.MergeFromString(REFRESH_CLUSTER_ON_RETRY)
    built.request_body_buffer_limit.value = BODY_BYTES
    built.response_headers_to_remove.append(envoy_names.FIRST_EVENT_HEADER)
    pools = {name: asdict(pool) for name, pool in attempts.pools.items()}
    built.metadata.filter_metadata[envoy_names.ATTEMPT_FILTER].update({"pools": pools})


def attempt_filters() -> Sequence[EnvoyMessage]:
    """Those of a cluster that takes attempts; the last one sends the request."""
    return list(_filters())


def _filters() -> Iterator[EnvoyMessage]:
    making = lua_pb2.Lua()
    making.default_source_code.inline_string = _source()
    named = {
        envoy_names.ATTEMPT_FILTER: making,
        envoy_names.FIRST_EVENT_FILTER: _first_event(),
        "envoy.filters.http.upstream_codec": upstream_codec_pb2.UpstreamCodec(),
    }
    for name, settings in named.items():
        made = http_connection_manager_pb2.HttpFilter(name=name)
        made.typed_config.CopyFrom(packed_any(cast("EnvoyMessage", settings)))
        yield cast("EnvoyMessage", made)


@cache
def _source() -> str:
    return Path(__file__).with_suffix(".lua").read_text("utf-8")


@cache
def _first_event() -> ext_proc_pb2.ExternalProcessor:
    """The engine holds the head of an answer until its first event has come."""
    mode = processing_mode_pb2.ProcessingMode
    grpc = grpc_service_pb2.GrpcService()
    grpc.envoy_grpc.cluster_name = envoy_names.POLICY_ENGINE_CLUSTER
    grpc.envoy_grpc.skip_envoy_headers = True
    built = ext_proc_pb2.ExternalProcessor(
        grpc_service=grpc,
        processing_mode=mode(
            request_header_mode=mode.SKIP,
            response_header_mode=mode.SEND,
            response_body_mode=mode.FULL_DUPLEX_STREAMED,
            request_trailer_mode=mode.SKIP,
            response_trailer_mode=mode.SEND,
        ),
        response_attributes=[envoy_names.CLUSTER_NAME_ATTRIBUTE],
        message_timeout=duration(3_600_000),  # the route's times end an exchange
        max_message_timeout=duration(3_600_000),
        mutation_rules=mutation_rules_pb2.HeaderMutationRules(allow_all_routing=wrappers_pb2.BoolValue(value=True)),
    )
    built.MergeFromString(ALLOW_CONTENT_LENGTH_HEADER)
    return built
