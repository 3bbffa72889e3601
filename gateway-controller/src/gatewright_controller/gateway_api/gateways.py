"""Gateways of our classes: their nodes, what these listen on, and their status."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec
from gatewright_documents.values import JsonObject

from gatewright_controller.gateway_api.cluster import (
    Cluster,
    generation_of,
    inner,
    items,
    spec_of,
    text,
)
from gatewright_controller.gateway_api.conditions import Problem, condition, good_or
from gatewright_controller.gateway_api.contract import NODE_LABEL, GatewayNodes, GatewayPort, Key
from gatewright_controller.gateway_api.features import SUPPORTED_FEATURES
from gatewright_controller.gateway_api.files import GatewayFiles, read_pair
from gatewright_controller.gateway_api.listeners import GatewayListener, listeners_of
from gatewright_controller.gateway_api.names import document_name, label_value, node_gateway_name
from gatewright_controller.model.admin import DEFAULT_PORT

PRIVILEGED = 1024
SHIFT = 10_000
"""Nodes listen on 10080 for port 80: a process without rights may not have ports below 1024."""
ADDRESS_TYPES = ("IPAddress", "Hostname")
API_VERSION = "gatewright.dev/v1"


class OurGateway(msgspec.Struct):
    """A Gateway of one of our classes. accepted, resolved: what is wrong with it, if anything is."""

    key: Key
    raw: JsonObject
    listeners: list[GatewayListener]
    accepted: Problem | None = None
    resolved: Problem | None = None
    client_certificate: str = ""
    """The name of the one that backends are shown."""
    files: GatewayFiles = msgspec.field(default_factory=GatewayFiles)

    @property
    def labels(self) -> dict[str, str]:
        """Of its nodes."""
        return {NODE_LABEL: label_value(self.key[1], self.key[2])}

    @property
    def document_name(self) -> str:
        """Of its NodeGateway."""
        return node_gateway_name(self.key)

    def listener_name(self, port: int) -> str:
        """Of the listener of its NodeGateway. No other Gateway's listener has this name: an Api claims its host on the
        listeners that it names, whatever nodes it is for."""
        return document_name(self.key[1], self.key[2], str(port))

    @property
    def ports(self) -> tuple[GatewayPort, ...]:
        """Those with a listener that works."""
        numbers = sorted({listener.port for listener in self.listeners if listener.works})
        targets = _targets(numbers)
        return tuple(GatewayPort(port_name(number), number, targets[number]) for number in numbers)

    @property
    def serves(self) -> bool:
        """Whether it has nodes."""
        return self.accepted is None and bool(self.ports)

    def status(self) -> JsonObject:
        """Its draft: Programmed and addresses are completed once nodes have answered."""
        generation = generation_of(self.raw)
        refused = None
        if not self.serves:
            refused = Problem("Invalid", self.accepted.message if self.accepted else "no listener works")
        programmed = refused or Problem("Pending", "no node has it yet")
        conditions = [
            self._accepted(generation),
            good_or("Programmed", programmed, generation),
            good_or("ResolvedRefs", self.resolved, generation),
        ]
        listeners = [listener.status(self.raw, refused) for listener in self.listeners]
        return {"conditions": conditions, "addresses": [], "listeners": listeners}

    def _accepted(self, generation: int) -> JsonObject:
        wrong = [listener.name for listener in self.listeners if listener.accepted or listener.conflicted]
        if self.accepted or not wrong:
            return good_or("Accepted", self.accepted, generation)
        message = f"not accepted: {', '.join(wrong)}; the status of each listener says why"
        some = len(wrong) < len(self.listeners)
        return condition("Accepted", is_true=some, reason="ListenersNotValid", message=message, generation=generation)

    def document(self) -> JsonObject:
        """Its NodeGateway."""
        admin = {"address": "0.0.0.0", "port": DEFAULT_PORT}  # noqa: S104 - of a pod, whose probes ask it
        listeners = [self._listener(port) for port in self.ports]
        spec: JsonObject = {"nodes": self.labels, "admin": admin, "listeners": listeners}
        if self.files.certificates:
            spec["certificates"] = dict(sorted(self.files.certificates.items()))
        if self.files.authorities:
            spec["authorities"] = dict(sorted(self.files.authorities.items()))
        return {
            "apiVersion": API_VERSION,
            "kind": "NodeGateway",
            "metadata": {"name": self.document_name, "labels": source_labels(self.key)},
            "spec": spec,
        }

    def _listener(self, port: GatewayPort) -> JsonObject:
        """Of all listeners of a port. Hosts are those of its Apis: a request for another one is answered 404."""
        at_port = [listener for listener in self.listeners if listener.works and listener.port == port.number]
        made: JsonObject = {
            "name": self.listener_name(port.number),
            "address": "0.0.0.0",  # noqa: S104 - of a pod
            "port": port.target,
            "internal": True,  # it serves its own Apis, and none that name no listener
        }
        if at_port[0].protocol == "HTTPS":
            certificates = dict.fromkeys(name for listener in at_port for name in listener.certificates)
            made |= {"protocol": "https", "tls": {"certificates": list(certificates)}}
            if authorities := at_port[0].client_authorities:
                asked = {"mode": "require", "authority": self.files.add_authority(authorities)}
                made["tls"]["clientCertificates"] = asked
        return made

    def nodes(self) -> GatewayNodes:
        """What it needs of the cluster."""
        infrastructure = inner(spec_of(self.raw), "infrastructure")
        return GatewayNodes(
            self.key,
            self.labels,
            self.ports,
            tuple(items(spec_of(self.raw), "addresses")),
            inner(infrastructure, "labels"),
            inner(infrastructure, "annotations"),
            dict(sorted(self.files.content.items())),
        )


def port_name(number: int) -> str:
    """Of the Service's port."""
    return f"port-{number}"


def _targets(numbers: Sequence[int]) -> dict[int, int]:
    """Ports of the nodes, each once, by those of the Gateway."""
    targets: dict[int, int] = {}
    for number in sorted(numbers, reverse=True):  # those that stay as they are come first
        target = number if number >= PRIVILEGED and number != DEFAULT_PORT else number + SHIFT
        while target in targets.values():
            target += 1
        targets[number] = target
    return targets


def source_labels(*keys: Key) -> dict[str, str]:
    """What a document was made of, for people who look for it."""
    return {f"gatewright.dev/{key[0].lower()}": label_value(key[1], key[2]) for key in keys}


def our_classes(cluster: Cluster, controller_name: str) -> Mapping[str, JsonObject]:
    """By name."""
    classes = cluster.of_kind("GatewayClass")
    return {key[2]: found for key, found in classes.items() if spec_of(found).get("controllerName") == controller_name}


def class_problem(found: JsonObject) -> Problem | None:
    """What keeps a class from being accepted."""
    if spec_of(found).get("parametersRef"):
        return Problem(
            "InvalidParameters", "expected no spec.parametersRef, since classes have no parameters; remove it"
        )
    return None


def class_status(found: JsonObject) -> JsonObject:
    """Of a GatewayClass of ours."""
    return {
        "conditions": [good_or("Accepted", class_problem(found), generation_of(found))],
        "supportedFeatures": [{"name": name} for name in SUPPORTED_FEATURES],
    }


def gateways_of(cluster: Cluster, classes: Collection[str]) -> Iterable[OurGateway]:
    """Those of these classes, in the order of their keys."""
    for key, raw in cluster.of_kind("Gateway").items():
        if text(spec_of(raw), "gatewayClassName") in classes:
            yield _gateway(cluster, key, raw)


def _gateway(cluster: Cluster, key: Key, raw: JsonObject) -> OurGateway:
    made = OurGateway(key, raw, listeners_of(cluster, key, raw), _problem(raw))
    for listener in made.listeners:
        for name, pair in listener.certificates.items() if listener.works else ():
            made.files.add_certificate(name, pair)
    ref = inner(inner(inner(spec_of(raw), "tls"), "backend"), "clientCertificateRef")
    if ref:
        read = read_pair(cluster, ref, key[1], "InvalidClientCertificateRef")
        if isinstance(read, Problem):
            made.resolved = read
        else:
            made.client_certificate = made.files.add_certificate(*read)
    unresolved = [listener.name for listener in made.listeners if listener.resolved]
    if made.resolved is None and unresolved:
        message = f"not resolved: {', '.join(unresolved)}; the status of each listener says why"
        made.resolved = Problem("ListenersNotResolved", message)
    return made


def _problem(raw: JsonObject) -> Problem | None:
    spec = spec_of(raw)
    if inner(spec, "infrastructure").get("parametersRef"):
        return Problem("InvalidParameters", "expected no infrastructure.parametersRef: there are none; remove it")
    types = [text(address, "type", "IPAddress") for address in items(spec, "addresses")]
    if others := [kind for kind in types if kind not in ADDRESS_TYPES]:
        expected = f"expected addresses of type {' or '.join(ADDRESS_TYPES)}"
        return Problem("UnsupportedAddress", f"{expected}, got {', '.join(others)}; remove it")
    return None
