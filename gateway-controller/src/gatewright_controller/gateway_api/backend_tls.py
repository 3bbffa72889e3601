"""BackendTLSPolicies: which Services are spoken with over TLS, and how they are verified."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from gatewright_documents.values import JsonObject

from gatewright_controller.gateway_api.cluster import (
    GATEWAY_GROUP,
    Cluster,
    age_of,
    generation_of,
    inner,
    items,
    spec_of,
    text,
)
from gatewright_controller.gateway_api.conditions import Problem, good_or, joined
from gatewright_controller.gateway_api.contract import Key
from gatewright_controller.gateway_api.files import authority_of
from gatewright_controller.gateway_api.gateways import OurGateway

KIND = "BackendTLSPolicy"


class BackendTls:
    """Remembers for which Gateways a policy was asked for: these are the ancestors of its status."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._ancestors: dict[Key, set[Key]] = {}

    def of(self, service: Key, port_name: str, gateway: OurGateway) -> JsonObject | Problem | None:
        """`tls` of a pool; None for a Service without a policy. A policy that is wrong closes its Service."""
        found = self._by_target.get((service[1], service[2], port_name)) if port_name else None
        every = self._by_target.get((service[1], service[2], ""))
        for key in (*(found or []), *(every or [])):
            self._ancestors.setdefault(key, set()).add(gateway.key)
        if not (policies := found or every):
            return None
        policy = self._cluster.of_kind(KIND)[policies[0]]
        read = self._read(policies[0], policy)
        if accepted := _accepted(read[0], read[1]):
            return accepted
        validation = inner(spec_of(policy), "validation")
        tls: JsonObject = {"serverName": text(validation, "hostname")}
        if names := [_subject_name(name) for name in items(validation, "subjectAltNames")]:
            tls["subjectNames"] = names
        if read[0]:
            tls["authority"] = gateway.files.add_authority("".join(f"{pem.strip()}\n" for pem in read[0]))
        if gateway.client_certificate:
            tls["clientCertificate"] = gateway.client_certificate
        return tls

    @cached_property
    def _by_target(self) -> Mapping[tuple[str, str, str], list[Key]]:
        """By namespace, Service and name of a port ("" is every one): policies, the one that counts first."""
        found: dict[tuple[str, str, str], list[Key]] = {}
        policies = self._cluster.of_kind(KIND)
        for key in sorted(policies, key=lambda key: age_of(key, policies[key])):
            for ref in items(spec_of(policies[key]), "targetRefs"):
                if (text(ref, "group"), text(ref, "kind")) == ("", "Service"):
                    found.setdefault((key[1], text(ref, "name"), text(ref, "sectionName")), []).append(key)
        return found

    def _read(self, key: Key, policy: JsonObject) -> tuple[list[str], list[Problem]]:
        """Authorities in PEM, none where the system's count, and what is wrong with the policy."""
        validation = inner(spec_of(policy), "validation")
        names = [_subject_name(name) for name in items(validation, "subjectAltNames")]
        if wrong := [name for name in names if not name or name.startswith("*")]:
            expected = "expected subjectAltNames with a whole hostname or a URI"
            return [], [Problem("Invalid", f"{expected}, got {', '.join(wrong) or 'none'}")]
        known = text(validation, "wellKnownCACertificates")
        if known:
            message = f"expected wellKnownCACertificates System, got {known}"
            return [], [Problem("Invalid", message)] if known != "System" else []
        reads = [authority_of(self._cluster, ref, key[1]) for ref in items(validation, "caCertificateRefs")]
        problems = [read for read in reads if isinstance(read, Problem)]
        return [read for read in reads if isinstance(read, str)], problems

    def statuses(self, controller_name: str) -> Mapping[Key, JsonObject]:
        """Of all policies that Gateways of ours use, or would use."""
        first = {keys[0]: target for target, keys in self._by_target.items()}
        policies = self._cluster.of_kind(KIND)
        made: dict[Key, JsonObject] = {}
        for key, gateways in sorted(self._ancestors.items()):
            pems, problems = self._read(key, policies[key])
            accepted = _accepted(pems, problems) if key in first else self._conflict(key)
            unresolved = joined(problem for problem in problems if problem.reason != "Invalid")
            generation = generation_of(policies[key])
            conditions = [
                good_or("Accepted", accepted, generation),
                good_or("ResolvedRefs", unresolved, generation),
            ]
            ancestors = [
                {"ancestorRef": ancestor_ref(gateway), "controllerName": controller_name, "conditions": conditions}
                for gateway in sorted(gateways)
            ]
            made[key] = {"ancestors": ancestors}
        return made

    def _conflict(self, key: Key) -> Problem:
        winners = {keys[0] for keys in self._by_target.values() if key in keys}
        names = ", ".join(f"{winner[1]}/{winner[2]}" for winner in sorted(winners))
        return Problem("Conflicted", f"{names} is older and targets the same Service; remove one of the two")


def _subject_name(name: JsonObject) -> str:
    """ "" of another type."""
    match text(name, "type"):
        case "Hostname":
            return text(name, "hostname")
        case "URI":
            return text(name, "uri")
    return ""


def _accepted(pems: list[str], problems: list[Problem]) -> Problem | None:
    """A policy goes on with the authorities that are right."""
    if pems or not problems:
        return None
    if any(problem.reason == "Invalid" for problem in problems):
        return joined(problem for problem in problems if problem.reason == "Invalid")
    joint = joined(problems)
    return Problem("NoValidCACertificate", joint.message if joint else "")


def ancestor_ref(gateway: Key) -> JsonObject:
    """A Gateway, as statuses of policies name it."""
    return {"group": GATEWAY_GROUP, "kind": "Gateway", "namespace": gateway[1], "name": gateway[2]}
