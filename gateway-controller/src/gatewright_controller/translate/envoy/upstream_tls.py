"""What stands between HTTP and a target's socket: TLS, and the PROXY protocol around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2, proxy_protocol_pb2
from envoy.extensions.transport_sockets.proxy_protocol.v3 import upstream_proxy_protocol_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from envoy.type.matcher.v3 import string_pb2
from gatewright_documents.values import JsonObject
from google.protobuf.json_format import ParseDict

from gatewright_controller.model import UpstreamTls
from gatewright_controller.resource.upstream import UpstreamUrl
from gatewright_controller.translate.envoy.common import EnvoyMessage, packed_any, struct
from gatewright_controller.translate.envoy.sds import authority_secret, certificate_secret

MATCH = "envoy.transport_socket_match"
"""Metadata of an endpoint that says which of a cluster's transport sockets it has."""

VERSIONS = {"1.2": common_pb2.TlsParameters.TLSv1_2, "1.3": common_pb2.TlsParameters.TLSv1_3}
PROXY_VERSIONS = {"v1": proxy_protocol_pb2.ProxyProtocolConfig.V1, "v2": proxy_protocol_pb2.ProxyProtocolConfig.V2}


class PoolTls(msgspec.Struct, frozen=True):
    """What a pool says, and the PEM file on the node that holds where it names no authority."""

    spec: UpstreamTls
    trusted_ca: str


def transport_sockets(
    built: cluster_pb2.Cluster, targets: Sequence[UpstreamUrl], tls: PoolTls | None, proxy_protocol: str
) -> None:
    """One for all targets; where they are verified by their own names, and these differ, one for each name."""
    names = dict.fromkeys("" if tls is None else tls.spec.server_name or target.host for target in targets)
    sockets = {name: _socket(name, tls, proxy_protocol) for name in names}
    if first := next(iter(sockets.values())):  # Envoy looks at this one to see whether `auto` is possible
        built.transport_socket.CopyFrom(first)
    if len(sockets) == 1:
        return
    for name, socket in sockets.items():
        match = built.transport_socket_matches.add(name=name, match=struct({"name": name}))
        match.transport_socket.CopyFrom(socket)
    endpoints = (endpoint for locality in built.load_assignment.endpoints for endpoint in locality.lb_endpoints)
    for endpoint in endpoints:
        name = endpoint.endpoint.address.socket_address.address
        endpoint.metadata.filter_metadata[MATCH].CopyFrom(struct({"name": name}))


def _socket(name: str, tls: PoolTls | None, proxy_protocol: str) -> EnvoyMessage | None:
    """None is a plain one."""
    inner = _named("envoy.transport_sockets.tls", _tls(name, tls)) if tls else None
    if not proxy_protocol:
        return inner
    outer = upstream_proxy_protocol_pb2.ProxyProtocolUpstreamTransport()
    outer.config.version = PROXY_VERSIONS[proxy_protocol]
    raw = cast("EnvoyMessage", raw_buffer_pb2.RawBuffer())
    outer.transport_socket.CopyFrom(inner or _named("envoy.transport_sockets.raw_buffer", raw))
    return _named("envoy.transport_sockets.upstream_proxy_protocol", cast("EnvoyMessage", outer))


def _named(name: str, config: EnvoyMessage) -> EnvoyMessage:
    return cast("EnvoyMessage", base_pb2.TransportSocket(name=name, typed_config=packed_any(config)))


def _tls(name: str, tls: PoolTls) -> EnvoyMessage:
    """A name is sent and verified; an address is verified only."""
    is_address = UpstreamUrl(True, name, 0, "").is_address
    context = tls_pb2.UpstreamTlsContext(sni="" if is_address else name)
    common = context.common_tls_context
    common.tls_params.tls_minimum_protocol_version = VERSIONS[tls.spec.min_version]
    # Envoy's own maximum is 1.2 towards upstreams.
    common.tls_params.tls_maximum_protocol_version = common_pb2.TlsParameters.TLSv1_3
    if tls.spec.client_certificate:
        common.tls_certificate_sds_secret_configs.append(_secret(certificate_secret(tls.spec.client_certificate)))
    if tls.spec.authority:
        validation = common.combined_validation_context.default_validation_context
        by_sds = _secret(authority_secret(tls.spec.authority))
        common.combined_validation_context.validation_context_sds_secret_config.CopyFrom(by_sds)
    else:
        validation = common.validation_context
        validation.trusted_ca.filename = tls.trusted_ca
    for expected in tls.spec.subject_names or [name]:
        validation.match_typed_subject_alt_names.add(
            san_type=_kind_of(expected), matcher=string_pb2.StringMatcher(exact=expected)
        )
    return cast("EnvoyMessage", context)


def _kind_of(name: str) -> common_pb2.SubjectAltNameMatcher.SanType.ValueType:
    """Of a subject alternative name."""
    kinds = common_pb2.SubjectAltNameMatcher
    if "://" in name:
        return kinds.URI
    return kinds.IP_ADDRESS if UpstreamUrl(True, name, 0, "").is_address else kinds.DNS


def _secret(document: JsonObject) -> EnvoyMessage:
    return cast("EnvoyMessage", ParseDict(document, secret_pb2.SdsSecretConfig()))
