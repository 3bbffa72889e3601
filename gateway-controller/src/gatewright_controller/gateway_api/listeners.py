"""Listeners of a Gateway: what each of them serves, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gatewright_documents.values import JsonObject

from gatewright_controller.gateway_api.cluster import (
    GATEWAY_GROUP,
    Cluster,
    generation_of,
    inner,
    items,
    number,
    selects,
    spec_of,
    text,
)
from gatewright_controller.gateway_api.conditions import Problem, condition, good_or, joined
from gatewright_controller.gateway_api.contract import Key
from gatewright_controller.gateway_api.files import authority_of, read_pair
from gatewright_controller.resource.hosts import HostSyntaxError, check_host

ROUTE_KINDS = ("HTTPRoute", "GRPCRoute")
PROTOCOLS = ("HTTP", "HTTPS")
NO_CERTIFICATE = "InvalidCertificateRef"


@dataclass
class GatewayListener:
    """One listener. hostname: "" is every host. accepted, resolved, conflicted: what is wrong, if anything is."""

    raw: JsonObject
    name: str
    port: int
    protocol: str
    hostname: str
    kinds: list[str]
    accepted: Problem | None = None
    resolved: Problem | None = None
    conflicted: Problem | None = None
    certificates: dict[str, tuple[bytes, bytes]] = field(default_factory=dict, repr=False)
    """Pairs by their names."""
    client_authorities: str = ""
    """In PEM: what signs certificates of clients; "" where none is asked for."""
    attached: set[Key] = field(default_factory=set)
    """Routes that are accepted here."""

    @property
    def works(self) -> bool:
        """Whether it serves requests: HTTPS without a certificate cannot."""
        return not (self.accepted or self.conflicted) and (self.protocol == "HTTP" or bool(self.certificates))

    def allows(self, kind: str, namespace: str, gateway: str, cluster: Cluster) -> bool:
        """Whether routes of this kind and namespace may attach. gateway: the namespace of the Gateway."""
        if kind not in self.kinds:
            return False
        allowed = inner(inner(self.raw, "allowedRoutes"), "namespaces")
        match text(allowed, "from", "Same"):
            case "All":
                return True
            case "Selector":
                return selects(inner(allowed, "selector"), cluster.namespace_labels(namespace))
            case "None":
                return False
        return namespace == gateway

    def status(self, gateway: JsonObject, refused: Problem | None) -> JsonObject:
        """Its draft: Programmed is completed once nodes have answered. refused: why the Gateway has no nodes."""
        generation = generation_of(gateway)
        wrong = joined(problem for problem in (self.accepted, self.conflicted, self.resolved) if problem)
        programmed = refused or Problem("Pending", "no node has it yet")
        if wrong and not self.works:
            programmed = Problem("Invalid", wrong.message)
        conditions = [
            good_or("Accepted", self.accepted or self.conflicted, generation),
            good_or("Programmed", programmed, generation),
            good_or("ResolvedRefs", self.resolved, generation),
            _conflict(self.conflicted, generation),
        ]
        kinds = [{"group": GATEWAY_GROUP, "kind": kind} for kind in self.kinds]
        return {
            "name": self.name,
            "supportedKinds": kinds,
            "attachedRoutes": len(self.attached),
            "conditions": conditions,
        }


def _conflict(problem: Problem | None, generation: int) -> JsonObject:
    """The one condition that is true where something is wrong."""
    reason, message = (problem.reason, problem.message) if problem else ("NoConflicts", "")
    return condition("Conflicted", is_true=bool(problem), reason=reason, message=message, generation=generation)


def listeners_of(cluster: Cluster, key: Key, gateway: JsonObject) -> list[GatewayListener]:
    """All listeners of a Gateway, each with what is wrong with it."""
    listeners = [_listener(cluster, key, raw) for raw in items(spec_of(gateway), "listeners")]
    _mark_conflicts(listeners)
    _ask_for_client_certificates(cluster, key, gateway, listeners)
    return listeners


def _listener(cluster: Cluster, key: Key, raw: JsonObject) -> GatewayListener:
    protocol = text(raw, "protocol")
    kinds, resolved = _kinds(raw)
    made = GatewayListener(
        raw, text(raw, "name"), number(raw, "port"), protocol, text(raw, "hostname").lower(), kinds, resolved=resolved
    )
    if made.hostname and (problem := host_problem(made.hostname)):
        made.accepted = problem
    if protocol not in PROTOCOLS:
        made.kinds = []
        made.accepted = Problem(
            "UnsupportedProtocol", f"expected one of {', '.join(PROTOCOLS)}, got {protocol!r}; use another listener"
        )
    elif protocol == "HTTPS":
        _read_certificates(cluster, key, made)
    return made


def host_problem(hostname: str) -> Problem | None:
    """What keeps our resources from having this host."""
    try:
        check_host(hostname)
    except HostSyntaxError as error:
        return Problem("UnsupportedValue", str(error))
    return None


def _kinds(raw: JsonObject) -> tuple[list[str], Problem | None]:
    """Kinds of routes that may attach, and whether others are named."""
    named = items(inner(raw, "allowedRoutes"), "kinds")
    if not named:
        return list(ROUTE_KINDS), None
    pairs = [(text(kind, "group", GATEWAY_GROUP), text(kind, "kind")) for kind in named]
    known = [kind for group, kind in pairs if group == GATEWAY_GROUP and kind in ROUTE_KINDS]
    others = [f"{group}/{kind}" for group, kind in pairs if group != GATEWAY_GROUP or kind not in ROUTE_KINDS]
    if not others:
        return known, None
    expected = f"expected kinds of {', '.join(ROUTE_KINDS)}, got {', '.join(others)} too; remove what is not served"
    return known, Problem("InvalidRouteKinds", expected)


def _read_certificates(cluster: Cluster, key: Key, listener: GatewayListener) -> None:
    """A listener goes on with the certificates that are right."""
    tls = inner(listener.raw, "tls")
    if text(tls, "mode", "Terminate") != "Terminate":
        listener.accepted = Problem("UnsupportedValue", "expected tls.mode Terminate for HTTPS, got Passthrough")
        return
    problems = [listener.resolved] if listener.resolved else []
    refs = items(tls, "certificateRefs")
    if not refs:
        problems.append(Problem(NO_CERTIFICATE, "expected tls.certificateRefs with a Secret, got none"))
    for ref in refs:
        read = read_pair(cluster, ref, key[1], NO_CERTIFICATE)
        if isinstance(read, Problem):
            problems.append(read)
        else:
            listener.certificates[read[0]] = read[1]
    listener.resolved = joined(problems)


def _mark_conflicts(listeners: Sequence[GatewayListener]) -> None:
    """Of one port: the same protocol, and each hostname once. The first of those that conflict stays."""
    protocols: dict[int, GatewayListener] = {}
    hostnames: dict[tuple[int, str], GatewayListener] = {}
    for listener in listeners:
        if listener.accepted:
            continue
        first = protocols.setdefault(listener.port, listener)
        if first.protocol != listener.protocol:
            listener.conflicted = Problem(
                "ProtocolConflict", f"port {listener.port} speaks {first.protocol}, as listener {first.name} says"
            )
            continue
        other = hostnames.setdefault((listener.port, listener.hostname), listener)
        if other is not listener:
            shown = listener.hostname or "every host"
            message = f"listener {other.name} has {shown} on port {listener.port} already; name another hostname"
            listener.conflicted = Problem("HostnameConflict", message)


def _ask_for_client_certificates(
    cluster: Cluster, key: Key, gateway: JsonObject, listeners: Sequence[GatewayListener]
) -> None:
    """`tls.frontend`: by port, else the default. What cannot be followed closes the listener."""
    frontend = inner(inner(spec_of(gateway), "tls"), "frontend")
    default = inner(inner(frontend, "default"), "validation")
    by_port = {number(entry, "port"): inner(inner(entry, "tls"), "validation") for entry in items(frontend, "perPort")}
    for listener in listeners:
        validation = by_port.get(listener.port, default)
        if listener.protocol == "HTTPS" and validation:
            _validate_clients(cluster, key, listener, validation)


def _validate_clients(cluster: Cluster, key: Key, listener: GatewayListener, validation: JsonObject) -> None:
    mode = text(validation, "mode", "AllowValidOnly")
    if mode != "AllowValidOnly":
        message = f"expected mode AllowValidOnly, got {mode}: it would take clients with any certificate"
        listener.accepted = Problem("UnsupportedValue", message)
        return
    found, problems = list[str](), list[Problem]()
    for ref in items(validation, "caCertificateRefs"):
        read = _client_authority(cluster, key, ref)
        if isinstance(read, Problem):
            problems.append(read)
        else:
            found.append(read)
    if problems:
        listener.resolved = joined([*([listener.resolved] if listener.resolved else []), *problems])
    if not found:
        listener.accepted = Problem("NoValidCACertificate", "none of caCertificateRefs has a certificate that is right")
    listener.client_authorities = "".join(f"{pem.strip()}\n" for pem in found)


def _client_authority(cluster: Cluster, key: Key, ref: JsonObject) -> str | Problem:
    kind, namespace, name = text(ref, "kind"), text(ref, "namespace", key[1]), text(ref, "name")
    if text(ref, "group") or kind not in ("ConfigMap", "Secret"):
        return Problem("InvalidCACertificateKind", f"expected a ConfigMap or a Secret, got {kind} {name}")
    if not cluster.permits((GATEWAY_GROUP, "Gateway", key[1]), ("", kind, namespace, name)):
        return Problem("RefNotPermitted", f"no ReferenceGrant lets this Gateway use the {kind} {namespace}/{name}")
    return authority_of(cluster, ref, namespace)
