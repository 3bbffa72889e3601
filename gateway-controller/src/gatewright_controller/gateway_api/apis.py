"""Apis of a Gateway: one for each port and host, whose operations are the rules of all routes that have the host."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec
from gatewright_documents.mistake import Invalid, Mistake
from gatewright_documents.values import JsonObject

from gatewright_controller.gateway_api.attaching import AttachedRoute
from gatewright_controller.gateway_api.cluster import Cluster
from gatewright_controller.gateway_api.conditions import Problem
from gatewright_controller.gateway_api.contract import GatewayPort, Key
from gatewright_controller.gateway_api.filters import KEPT_HOST
from gatewright_controller.gateway_api.gateways import API_VERSION, OurGateway, source_labels
from gatewright_controller.gateway_api.hostnames import covers, patterns_of, specificity
from gatewright_controller.gateway_api.listeners import GatewayListener
from gatewright_controller.gateway_api.names import document_name
from gatewright_controller.gateway_api.policy_attachments import PolicyAttachments
from gatewright_controller.gateway_api.rules import (
    LEFT_OUT,
    Place,
    RankedOperation,
    Rules,
    TranslatedRule,
    closed,
    rules_of,
)
from gatewright_controller.model import HeaderMatch, QueryMatch
from gatewright_controller.resource.matches import Matches, all_matches
from gatewright_controller.validation import GatewayNames, validate

MOST_OPERATIONS = 1000
MOST_POOLS = 100
NO_POOL: Mapping[str, JsonObject] = {"none": {"url": "http://backend.invalid"}}
"""Of an Api that answers all requests by itself."""
OPERATION = re.compile(r"spec\.operations\[([0-9]+)\]")
MATCH = re.compile(r"\]\.(method|path|headers|query)")
POOL = re.compile(r"spec\.upstream\.([a-z0-9-]+)")


class HostApi(msgspec.Struct, frozen=True):
    """An Api, and what it was made of."""

    document: JsonObject
    sources: list[Key]


class RouteFindings(msgspec.Struct):
    """What was found wrong with a route at a Gateway: rules that are not followed, references that lead nowhere."""

    problems: dict[int, list[Problem]] = msgspec.field(default_factory=dict)
    """By the rule's index."""
    unresolved: list[Problem] = msgspec.field(default_factory=list)
    rules: int = 0
    dropped: set[int] = msgspec.field(default_factory=set)


class Apis:
    """Makes them, and remembers what was wrong."""

    def __init__(
        self, cluster: Cluster, rules: Rules, attachments: PolicyAttachments, routes: Sequence[AttachedRoute]
    ) -> None:
        self._cluster, self._rules, self._attachments, self._routes = cluster, rules, attachments, routes
        self.findings: dict[tuple[Key, Key], RouteFindings] = {}
        """By route and Gateway."""
        self._found: dict[tuple[Key, str], dict[str, list[AttachedRoute]]] = {}
        """By Gateway and listener, then by host."""

    def of(self, gateway: OurGateway) -> Iterator[HostApi]:
        """All Apis of a Gateway that has nodes."""
        for port in gateway.ports:
            listeners = [found for found in gateway.listeners if found.works and found.port == port.number]
            for host in self._hosts(gateway, listeners):
                owner = max(
                    (listener for listener in listeners if covers(listener.hostname, host)),
                    key=lambda listener: specificity(listener.hostname),
                )
                yield self._api(gateway, port, owner, host)

    def check(self, route: AttachedRoute, gateway: OurGateway) -> RouteFindings:
        """What is wrong with a route at a Gateway, which may not serve it."""
        if (route.key, gateway.key) not in self.findings:
            self._findings(route, gateway, Place(gateway, "http", 80), "")
        return self.findings[route.key, gateway.key]

    def _hosts(self, gateway: OurGateway, listeners: Sequence[GatewayListener]) -> list[str]:
        """Those of routes; and of each listener beside others, so that these do not serve its host."""
        found = {listener.hostname for listener in listeners if listener.hostname and len(listeners) > 1}
        for listener in listeners:
            found.update(self._by_host(gateway, listener.name))
        return sorted(found)

    def _by_host(self, gateway: OurGateway, listener: str) -> Mapping[str, list[AttachedRoute]]:
        """The routes of a listener by their hosts there; the oldest first."""
        if (gateway.key, listener) not in self._found:
            found = self._found[gateway.key, listener] = dict[str, list[AttachedRoute]]()
            for route in self._routes:
                for name in route.hostnames(gateway, listener):
                    found.setdefault(name, []).append(route)
        return self._found[gateway.key, listener]

    def _with_host(self, gateway: OurGateway, listener: str, host: str) -> list[tuple[AttachedRoute, str]]:
        """The routes of a listener that have the host, the oldest first, each with the narrowest name by which it has
        it."""
        by_host = self._by_host(gateway, listener)
        names: dict[Key, tuple[AttachedRoute, str]] = {}
        for name in patterns_of(host):
            for route in by_host.get(name, ()):
                names.setdefault(route.key, (route, name))
        return sorted(names.values(), key=lambda pair: (pair[0].age, pair[0].key))

    def _api(self, gateway: OurGateway, port: GatewayPort, owner: GatewayListener, host: str) -> HostApi:
        ranked, pools = list[tuple[tuple[bool, int], RankedOperation]](), dict[str, JsonObject]()
        sources = [gateway.key]
        place = Place(gateway, owner.protocol.lower(), port.number)
        for route, name in self._with_host(gateway, owner.name, host):
            is_name, length = specificity(name)
            rules, attached = self._findings(route, gateway, place, owner.name)
            if self._exceeds(route, gateway, rules, len(ranked), pools):
                fits = len(ranked) + sum(len(rule.operations) for rule in rules) <= MOST_OPERATIONS
                rules = [_without_pools(rule) for rule in rules] if fits else []
            for rule in rules:
                ranked += [((not is_name, -length), operation) for operation in rule.operations]
                pools |= rule.pools
            sources += [route.key, *attached]
        operations = _reachable(
            [operation for _, operation in sorted(ranked, key=lambda pair: (pair[0], pair[1].rank))]
        )
        document = self._valid(gateway, (port, host), operations, pools)
        return HostApi(document, list(dict.fromkeys(sources)))

    def _findings(
        self, route: AttachedRoute, gateway: OurGateway, place: Place, listener: str
    ) -> tuple[list[TranslatedRule], list[Key]]:
        """The route's rules at a listener, and the attachments that are in force there."""
        findings = self.findings.setdefault((route.key, gateway.key), RouteFindings())
        made, sources = list[TranslatedRule](), list[Key]()
        for source in rules_of(route.key, route.raw, route.age):
            targets = [(gateway.key, ""), (gateway.key, listener), (route.key, ""), (route.key, source.name)]
            guards = self._attachments.guards(dict.fromkeys(targets))
            rule = self._rules.translate(source, place, guards if isinstance(guards, Problem) else guards[0])
            sources += [] if isinstance(guards, Problem) else guards[1]
            findings.rules = max(findings.rules, source.index + 1)
            findings.unresolved += rule.unresolved
            if rule.problems:
                findings.problems.setdefault(source.index, []).extend(rule.problems)
                findings.dropped.add(source.index)
            made.append(rule)
        return made, sources

    def _exceeds(
        self,
        route: AttachedRoute,
        gateway: OurGateway,
        rules: Sequence[TranslatedRule],
        operations: int,
        pools: Mapping[str, JsonObject],
    ) -> bool:
        """Whether the host would have more than an Api may; of routes the oldest come first."""
        count = operations + sum(len(rule.operations) for rule in rules)
        names = pools.keys() | {name for rule in rules for name in rule.pools}
        if count <= MOST_OPERATIONS and len(names) <= MOST_POOLS:
            return False
        message = (
            f"expected at most {MOST_OPERATIONS} matches and {MOST_POOLS} backends of all routes of one host, "
            f"got {count} and {len(names)}; give some of them a host of their own"
        )
        findings = self.findings[route.key, gateway.key]
        for index in range(findings.rules):
            findings.problems.setdefault(index, []).append(Problem("UnsupportedValue", message))
            findings.dropped.add(index)
        return True

    def _valid(
        self,
        gateway: OurGateway,
        where: tuple[GatewayPort, str],
        operations: Sequence[RankedOperation],
        pools: Mapping[str, JsonObject],
    ) -> JsonObject:
        """The Api; what our validation refuses of it is answered 500, and the route's status says why. Matches that
        it refuses are left out: no operation can have them."""
        found, objects, names = list(operations), self._cluster.objects, _names(gateway)
        while True:
            document = _document(gateway, where, found, pools)
            try:
                validate(document, objects.policies, {}, objects.upstreams, names, is_written=True)
            except Invalid as invalid:
                wrong = _wrong(invalid.mistakes, found) or dict.fromkeys(range(len(found)), invalid.mistakes[0])
                if not found:
                    raise
                for index, mistake in wrong.items():
                    self._refuse(gateway, found[index], mistake)
                changed = [
                    operation if index not in wrong else _closed_or_none(operation, wrong[index])
                    for index, operation in enumerate(found)
                ]
                found = [operation for operation in changed if operation]
                continue
            return document

    def _refuse(self, gateway: OurGateway, operation: RankedOperation, mistake: Mistake) -> None:
        findings = self.findings[operation.route, gateway.key]
        index = operation.rank[2]
        field = OPERATION.sub("", mistake.field).lstrip(".")
        shown = f"rules[{index}]: {replace(mistake, field=field)}"
        if MATCH.search(mistake.field):
            shown = f"rules[{index}].matches[{operation.rank[3]}].{replace(mistake, field=field)}; {LEFT_OUT}"
        findings.problems.setdefault(index, []).append(Problem("UnsupportedValue", shown))
        findings.dropped.add(index)


def _closed_or_none(operation: RankedOperation, mistake: Mistake) -> RankedOperation | None:
    """None where even an answer cannot have its matches."""
    return None if operation.answers or MATCH.search(mistake.field) else closed(operation)


def _wrong(mistakes: Sequence[Mistake], operations: Sequence[RankedOperation]) -> dict[int, Mistake]:
    """Operations to close, each with its first mistake; those that name a pool that is wrong, too."""
    found: dict[int, Mistake] = {}
    for mistake in mistakes:
        if at := OPERATION.match(mistake.field):
            found.setdefault(int(at[1]), mistake)
        elif named := POOL.match(mistake.field):
            for index, operation in enumerate(operations):
                if _names_pool(operation.document, named[1]):
                    found.setdefault(index, mistake)
    return found


def _document(
    gateway: OurGateway,
    where: tuple[GatewayPort, str],
    operations: Sequence[RankedOperation],
    pools: Mapping[str, JsonObject],
) -> JsonObject:
    port, host = where
    documents = [operation.document for operation in operations]
    used = {name: pools[name] for name in sorted(pools) if any(_names_pool(found, name) for found in documents)}
    spec: JsonObject = {
        "version": "v1",
        "context": "/",
        "listeners": [gateway.listener_name(port.number)],
        "nodes": gateway.labels,
        "strictPaths": False,
        "matching": "ordered",
        "rewrite": KEPT_HOST,
        "policiesChooseUpstream": False,
        "upstream": used or dict(NO_POOL),
        "operations": documents or [{"method": "*", "path": "/*", "answer": {"status": 404}}],
    }
    if host:
        spec["hosts"] = [host]
    name = document_name(gateway.key[1], gateway.key[2], str(port.number), host)
    metadata = {"name": name, "labels": source_labels(gateway.key)}
    return {"apiVersion": API_VERSION, "kind": "Api", "metadata": metadata, "spec": spec}


def _names_pool(operation: JsonObject, pool: str) -> bool:
    shares = [*operation.get("split", []), *operation.get("mirror", [])]
    return operation.get("upstream") == pool or any(share.get("upstream") == pool for share in shares)


def _names(gateway: OurGateway) -> GatewayNames:
    files = gateway.files
    return GatewayNames(
        files.certificates, files.authorities, [gateway.listener_name(port.number) for port in gateway.ports]
    )


def _without_pools(rule: TranslatedRule) -> TranslatedRule:
    return TranslatedRule([closed(operation) for operation in rule.operations])


def _reachable(operations: Sequence[RankedOperation]) -> list[RankedOperation]:
    """Without those of which an earlier one takes all requests."""
    kept: dict[tuple[str, str], list[tuple[RankedOperation, Matches]]] = {}
    found = []
    for operation in operations:
        document = operation.document
        own = _matches(document)
        earlier = kept.setdefault((document["method"], document["path"]), [])
        if own is None or not any(matches.covers(own) for _, matches in earlier):
            found.append(operation)
            if own is not None:
                earlier.append((operation, own))
    return found


def _matches(document: JsonObject) -> Matches | None:
    """None where they cannot be read; then the validation says why."""
    try:
        headers = msgspec.convert(document.get("headers", []), list[HeaderMatch])
        query = msgspec.convert(document.get("query", []), list[QueryMatch])
    except msgspec.ValidationError:
        return None
    return all_matches(headers, query)
