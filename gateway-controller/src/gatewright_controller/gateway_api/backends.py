"""Backends of rules: Services, whose ready endpoints are the targets of pools."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from gatewright_documents.values import JsonObject

from gatewright_controller.gateway_api.backend_tls import BackendTls
from gatewright_controller.gateway_api.cluster import (
    GATEWAY_GROUP,
    Cluster,
    inner,
    items,
    number,
    spec_of,
    text,
    texts,
)
from gatewright_controller.gateway_api.conditions import Problem
from gatewright_controller.gateway_api.contract import Key
from gatewright_controller.gateway_api.gateways import OurGateway
from gatewright_controller.gateway_api.names import document_name

MOST_TARGETS = 256
H2C = "kubernetes.io/h2c"
APPLICATION_PROTOCOLS = ("", "http", "kubernetes.io/ws", H2C)
"""Those of a Service's port that are spoken in clear; `kubernetes.io/wss` and `https` need a BackendTLSPolicy."""


class Backend(msgspec.Struct, frozen=True):
    """Where a part of requests goes. pool: None where there is nothing to send them to; then `status` is answered."""

    name: str
    weight: int
    pool: JsonObject | None
    status: int = 500
    problem: Problem | None = None
    """Of the reference: what `ResolvedRefs` says."""


def backend_of(
    cluster: Cluster, tls: BackendTls, gateway: OurGateway, route: Key, ref: JsonObject, *, grpc: bool
) -> Backend:
    """What a `backendRef` means for a Gateway. route: the one that refers to it."""
    weight = number(ref, "weight", 1)
    found = _service(cluster, route, ref)
    if isinstance(found, Problem):
        return Backend("", weight, None, 500, found)
    key, port = found
    name, protocol = document_name(key[1], key[2], str(number(port, "port"))), text(port, "appProtocol")
    secure = tls.of(key, text(port, "name"), gateway)
    if isinstance(secure, Problem):
        return Backend("", weight, None, 500)
    if secure is None and protocol not in APPLICATION_PROTOCOLS and not protocol.startswith("grpc"):
        expected = f"expected a BackendTLSPolicy for {key[1]}/{key[2]}, or another appProtocol than {protocol!r}"
        return Backend("", weight, None, 500, Problem("UnsupportedProtocol", expected))
    targets = [f"{'http' if secure is None else 'https'}://{target}" for target in _targets(cluster, key, port)]
    if not targets:
        return Backend(name, weight, None, 503)
    pool: JsonObject = {"targets": [{"url": target} for target in targets[:MOST_TARGETS]]}
    if grpc or protocol == H2C or protocol.startswith("grpc"):
        pool["protocol"] = "http2"
    if secure:
        pool["tls"] = secure
        name = document_name(key[1], key[2], str(number(port, "port")), "tls")
    return Backend(name, weight, pool)


def _service(cluster: Cluster, route: Key, ref: JsonObject) -> tuple[Key, JsonObject] | Problem:
    """The Service and its port."""
    group, kind = text(ref, "group"), text(ref, "kind", "Service")
    namespace, name = text(ref, "namespace", route[1]), text(ref, "name")
    if (group, kind) != ("", "Service"):
        shown = f"{group}/{kind}" if group else kind
        return Problem("InvalidKind", f"expected a backend of kind Service, got {shown} {name}; name a Service")
    if not cluster.permits((GATEWAY_GROUP, route[0], route[1]), (group, kind, namespace, name)):
        cure = f"write a ReferenceGrant in {namespace} from {route[0]}s of {route[1]} to Services"
        return Problem("RefNotPermitted", f"no ReferenceGrant lets this route use {namespace}/{name}; {cure}")
    service = cluster.get("Service", namespace, name)
    if service is None:
        return Problem("BackendNotFound", f"there is no Service {namespace}/{name}; make it, or correct the name")
    if text(spec_of(service), "type") == "ExternalName":
        return Problem("InvalidKind", f"expected a Service with endpoints, got {namespace}/{name}, an ExternalName")
    wanted, ports = number(ref, "port"), items(spec_of(service), "ports")
    for port in ports:
        if number(port, "port") == wanted:
            return ("Service", namespace, name), port
    has = ", ".join(str(number(port, "port")) for port in ports) or "none"
    return Problem(
        "BackendNotFound", f"expected a port of the Service {namespace}/{name} ({has}), got {wanted or 'none'}"
    )


def _targets(cluster: Cluster, service: Key, port: JsonObject) -> list[str]:
    """`10.1.2.3:8080`, of each endpoint that is ready, sorted."""
    return sorted(set(_endpoints(cluster, service, text(port, "name"))))


def _endpoints(cluster: Cluster, service: Key, port_name: str) -> Iterator[str]:
    for found in cluster.slices_of(service[1], service[2]):
        if text(found, "addressType") not in ("IPv4", "IPv6"):
            continue
        numbers = [number(port, "port") for port in items(found, "ports") if text(port, "name") == port_name]
        for endpoint in items(found, "endpoints"):
            if inner(endpoint, "conditions").get("ready") is False:
                continue
            for address in texts(endpoint, "addresses")[:1]:  # all are the same endpoint
                host = f"[{address}]" if ":" in address else address
                yield from (f"{host}:{port}" for port in numbers if port)
