"""Routes and the listeners that they attach to, by their `parentRefs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from gatewright_documents.values import JsonObject

from gatewright_controller.gateway_api.cluster import (
    GATEWAY_GROUP,
    Cluster,
    age_of,
    items,
    number,
    spec_of,
    text,
    texts,
)
from gatewright_controller.gateway_api.conditions import Problem
from gatewright_controller.gateway_api.contract import Key
from gatewright_controller.gateway_api.gateways import OurGateway
from gatewright_controller.gateway_api.hostnames import common
from gatewright_controller.gateway_api.listeners import ROUTE_KINDS, GatewayListener, host_problem


class Parent(msgspec.Struct):
    """One `parentRef` of a route that names a Gateway of ours. accepted: what is wrong, if anything is."""

    ref: JsonObject
    gateway: OurGateway
    hostnames: dict[str, list[str]] = msgspec.field(default_factory=dict)
    """By the names of listeners: the hosts that the route has there."""
    accepted: Problem | None = None


class AttachedRoute(msgspec.Struct, frozen=True):
    """A route with the parents of ours that it names."""

    key: Key
    raw: JsonObject
    age: tuple[str, str]
    parents: Sequence[Parent]

    def hostnames(self, gateway: OurGateway, listener: str) -> list[str]:
        """The hosts that it has on a listener; none where it does not attach."""
        found = [
            name
            for parent in self.parents
            if parent.gateway is gateway and parent.accepted is None
            for name in parent.hostnames.get(listener, [])
        ]
        return list(dict.fromkeys(found))


def routes_of(cluster: Cluster, gateways: Mapping[Key, OurGateway]) -> list[AttachedRoute]:
    """All routes with a parent of ours, the oldest first."""
    found = []
    for kind in ROUTE_KINDS:
        for key, raw in cluster.of_kind(kind).items():
            parents = [
                _attach(cluster, key, raw, ref, gateways[parent])
                for ref in items(spec_of(raw), "parentRefs")
                if (parent := _parent_key(ref, key[1])) in gateways
            ]
            if parents:
                found.append(AttachedRoute(key, raw, age_of(key, raw), parents))
    return sorted(found, key=lambda route: (route.age, route.key))


def _parent_key(ref: JsonObject, namespace: str) -> Key:
    """Another kind than Gateway is none of ours."""
    if (text(ref, "group", GATEWAY_GROUP), text(ref, "kind", "Gateway")) != (GATEWAY_GROUP, "Gateway"):
        return "", "", ""
    return "Gateway", text(ref, "namespace", namespace), text(ref, "name")


def _attach(cluster: Cluster, key: Key, raw: JsonObject, ref: JsonObject, gateway: OurGateway) -> Parent:
    made = Parent(ref, gateway)
    section, port = text(ref, "sectionName"), number(ref, "port")
    named = [
        listener for listener in gateway.listeners if section in ("", listener.name) and port in (0, listener.port)
    ]
    shown = f"the Gateway {gateway.key[1]}/{gateway.key[2]}"
    if not named:
        asked = " and ".join(part for part in (section, f"port {port}" if port else "") if part)
        has = ", ".join(f"{listener.name} ({listener.port})" for listener in gateway.listeners)
        made.accepted = Problem("NoMatchingParent", f"expected a listener of {shown} ({has}), got {asked}")
        return made
    allowing = [listener for listener in named if listener.allows(key[0], key[1], gateway.key[1], cluster)]
    if not allowing:
        message = f"no listener of {shown} allows a {key[0]} of the namespace {key[1]}: see its allowedRoutes"
        made.accepted = Problem("NotAllowedByListeners", message)
        return made
    for listener in allowing:
        hosts = common(listener.hostname, texts(spec_of(raw), "hostnames"))
        if good := [host for host in hosts if not host or host_problem(host) is None]:
            made.hostnames[listener.name] = good
    if not made.hostnames:
        made.accepted = Problem("NoMatchingListenerHostname", _no_host(raw, allowing, shown))
    return made


def _no_host(raw: JsonObject, listeners: Sequence[GatewayListener], gateway: str) -> str:
    hosts = ", ".join(texts(spec_of(raw), "hostnames"))
    has = ", ".join(listener.hostname for listener in listeners)
    return f"expected a hostname that listeners of {gateway} have ({has}), got {hosts}"


def refuse_mixed_kinds(routes: Sequence[AttachedRoute]) -> None:
    """HTTPRoutes and GRPCRoutes do not share a host of a listener: the oldest of them says which kind has it."""
    kinds: dict[tuple[Key, str, str], AttachedRoute] = {}
    for route in routes:
        for parent in route.parents:
            for listener, hosts in list(parent.hostnames.items()):
                places = [(parent.gateway.key, listener, host) for host in hosts]
                others = [first for place in places if (first := kinds.get(place)) and first.key[0] != route.key[0]]
                if not others:
                    kinds.update({place: kinds.get(place, route) for place in places})
                    continue
                del parent.hostnames[listener]
                if not parent.hostnames:
                    older = f"{others[0].key[0]} {others[0].key[1]}/{others[0].key[2]}"
                    message = f"the {older} is older and has the same hosts of listener {listener}; name other hosts"
                    parent.accepted = Problem("NotAllowedByListeners", message)
