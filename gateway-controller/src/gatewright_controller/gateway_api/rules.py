"""Rules of routes, as operations with a rank. A rule that cannot be followed is answered 500, never passed over: what
stands behind it may be open to more clients.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from gatewright_documents.values import JsonObject
from msgspec.structs import replace

from gatewright_controller.gateway_api.backend_tls import BackendTls
from gatewright_controller.gateway_api.backends import Backend, backend_of
from gatewright_controller.gateway_api.cluster import Cluster, inner, items, number, spec_of, text
from gatewright_controller.gateway_api.conditions import Problem
from gatewright_controller.gateway_api.contract import Key
from gatewright_controller.gateway_api.durations import milliseconds, timeout
from gatewright_controller.gateway_api.filters import METHODS, Filters, read_filters
from gatewright_controller.gateway_api.gateways import OurGateway
from gatewright_controller.gateway_api.matches import ANY_METHOD, Rank, RouteMatch, grpc_matches, http_matches
from gatewright_controller.gateway_api.names import document_name

NO_BACKEND = "No backend of this route is there."
NOT_FOLLOWED = "This rule of the route is not in force: its status in Kubernetes says why."
LEFT_OUT = "the match is left out, and its requests meet other rules"
ALWAYS_RETRIED = ("connectFailure", "refusedStream", "reset")
MOST_ATTEMPTS = 10
MOST_MATCHES = 16
"""Of headers, in an operation."""
REQUESTED_METHOD = "access-control-request-method"
PREFLIGHT_HEADERS: Sequence[JsonObject] = ({"name": "origin", "present": True},)
MATCHING_FIELDS = ("method", "path", "headers", "query")


class RankedOperation(msgspec.Struct, frozen=True):
    """An operation of a rule's, and where it stands among those of all routes."""

    rank: tuple[Rank, tuple[str, str], int, int]
    document: JsonObject
    route: Key
    rule: str
    """Its name, "" where it has none."""
    answers: bool = False
    """Whether it answers by itself for want of what the rule asks for."""


class TranslatedRule(msgspec.Struct, frozen=True):
    """problems: why it is not followed, or a part of it is not. unresolved: of references."""

    operations: list[RankedOperation] = msgspec.field(default_factory=list)
    pools: Mapping[str, JsonObject] = msgspec.field(default_factory=dict)
    problems: list[Problem] = msgspec.field(default_factory=list)
    unresolved: list[Problem] = msgspec.field(default_factory=list)
    dropped: bool = False
    """Whether none of it is followed."""


class Place(msgspec.Struct, frozen=True):
    """Where a rule is to be served: the Gateway, and scheme and port of the listener."""

    gateway: OurGateway
    scheme: str
    port: int


class RuleSource(msgspec.Struct, frozen=True):
    """A rule of a route. age: of the route."""

    route: Key
    age: tuple[str, str]
    index: int
    rule: JsonObject

    @property
    def name(self) -> str:
        """ "" where it has none."""
        return text(self.rule, "name")


class Rules:
    """Translates rules with what the cluster has."""

    def __init__(self, cluster: Cluster, tls: BackendTls) -> None:
        self._cluster, self._tls = cluster, tls

    def translate(self, source: RuleSource, place: Place, guards: Sequence[JsonObject] | Problem) -> TranslatedRule:
        """guards: policies that are attached to the rule, or why they cannot be."""
        grpc = source.route[0] == "GRPCRoute"
        found = list(grpc_matches(source.rule) if grpc else http_matches(source.rule))
        problems = [
            replace(match, message=f"rules[{source.index}].matches[{index}].{match.message}; {LEFT_OUT}")
            for index, match in enumerate(found)
            if isinstance(match, Problem)
        ]

        def backend(ref: JsonObject) -> Backend:
            return backend_of(self._cluster, self._tls, place.gateway, source.route, ref, grpc=grpc)

        made = _Rule(source, place, [backend(ref) for ref in items(source.rule, "backendRefs")])
        made.filters = read_filters(_filters(source.rule, problems), backend, self._cluster.objects.policies)
        unresolved = [other.problem for other in (*made.backends, *made.mirrored) if other.problem]
        problems += made.filters.problems
        made.read_times(problems)
        made.read_retries(problems)
        refused = problems[0] if problems else (guards if isinstance(guards, Problem) else None)
        first, last = made.filters.policies()
        policies = [*first, *([] if isinstance(guards, Problem) else guards), *last]
        operations = [
            made.operation(match, index, policies, refused)
            for index, match in enumerate(found)
            if isinstance(match, RouteMatch)
        ]
        if made.filters.cors is not None and refused is None:
            preflights = [
                replace(operation, document=_preflight(operation.document, first)) for operation in operations
            ]
            operations += [preflight for preflight in preflights if preflight.document]
        return TranslatedRule(operations, {} if refused else made.pools, problems, unresolved, dropped=bool(problems))


def _filters(rule: JsonObject, problems: list[Problem]) -> list[JsonObject]:
    """Those of the rule, and of its backends where all have the same."""
    own, refs = items(rule, "filters"), items(rule, "backendRefs")
    by_backend = [items(ref, "filters") for ref in refs if number(ref, "weight", 1)]
    if not any(by_backend):
        return own
    if any(filters != by_backend[0] for filters in by_backend):
        message = "expected the same filters on all backendRefs of a rule, or none; make a rule of each"
        problems.append(Problem("UnsupportedValue", message))
        return own
    return [*own, *by_backend[0]]


class _Rule(msgspec.Struct):
    source: RuleSource
    place: Place
    backends: list[Backend]
    filters: Filters = msgspec.field(default_factory=Filters)
    common: JsonObject = msgspec.field(default_factory=dict)
    """Fields of all its operations that go upstream."""
    retries: JsonObject | None = None

    @property
    def mirrored(self) -> list[Backend]:
        return [mirror for mirror, _ in self.filters.mirrors]

    @property
    def pools(self) -> dict[str, JsonObject]:
        """Those that its operations name. A mirror's has a name of its own: it may be a backend's too."""
        weighty = [backend for backend in self.backends if backend.weight and self.filters.redirect is None]
        found = {backend.name: backend.pool for backend in weighty if backend.pool}
        if found:
            found |= {_mirror_name(mirror): mirror.pool for mirror in self.mirrored if mirror.pool}
        return found

    def read_times(self, problems: list[Problem]) -> None:
        times = inner(self.source.rule, "timeouts")
        read: dict[str, int] = {}
        for name in ("request", "backendRequest"):
            if duration := text(times, name):
                ms = milliseconds(duration)
                if isinstance(ms, Problem):
                    problems.append(ms)
                else:
                    read[name] = ms
        if read.get("request"):
            self.common["streamTimeout"] = timeout(read["request"])
        if read:
            self.common["requestTimeout"] = timeout(read.get("backendRequest") or read.get("request", 0))

    def read_retries(self, problems: list[Problem]) -> None:
        if "retry" not in self.source.rule:
            return
        retry = inner(self.source.rule, "retry")
        attempts = number(retry, "attempts", 1) + 1
        if attempts > MOST_ATTEMPTS:
            problems.append(
                Problem("UnsupportedValue", f"expected at most {MOST_ATTEMPTS - 1} retries, got {attempts - 1}")
            )
        elif attempts > 1:
            codes = [code for code in retry.get("codes") or [] if isinstance(code, int)]
            self.retries = {"conditions": [*ALWAYS_RETRIED, *codes], "attempts": attempts}
            backoff = milliseconds(text(retry, "backoff", "25ms"))
            if isinstance(backoff, Problem):
                problems.append(backoff)
            elif backoff:
                self.retries["backOff"] = {"base": timeout(backoff)}

    def operation(
        self, match: RouteMatch, index: int, policies: list[JsonObject], refused: Problem | None
    ) -> RankedOperation:
        document = match.document()
        answers = refused is not None
        if refused is not None:
            document["answer"] = {"status": 500, "body": NOT_FOLLOWED}
        else:
            outcome = self._outcome(match)
            answers = "answer" in outcome
            document |= outcome
            if policies:
                document["policies"] = policies
        rank = (match.rank, self.source.age, self.source.index, index)
        return RankedOperation(rank, document, self.source.route, self.source.name, answers)

    def _outcome(self, match: RouteMatch) -> JsonObject:
        """What becomes of requests."""
        if self.filters.redirect is not None:
            return {"redirect": self.filters.redirect_of(match, self.place.scheme, self.place.port)}
        weighty = [backend for backend in self.backends if backend.weight]
        if not any(backend.pool for backend in weighty):
            status = 500 if not weighty or any(backend.status == 500 for backend in weighty) else 503
            return {"answer": {"status": status, "body": NO_BACKEND}}
        made = {**self.common, **_split(weighty)}
        if rewrite := self.filters.rewrite_of(match):
            made["rewrite"] = rewrite
        if mirrors := [(mirror, percent) for mirror, percent in self.filters.mirrors if mirror.pool]:
            made["mirror"] = [{"upstream": _mirror_name(mirror), "percent": percent} for mirror, percent in mirrors]
        if self.retries:
            methods = list(METHODS) if match.method == ANY_METHOD else [match.method]
            made["retries"] = {**self.retries, "methods": methods}
        return made


def _preflight(document: JsonObject, policies: Sequence[JsonObject]) -> JsonObject:
    """The operation for preflight requests of one with a method of its own, which these are not sent by; an empty one
    where there is none. The policies answer."""
    headers = [
        *document.get("headers", []),
        *PREFLIGHT_HEADERS,
        {"name": REQUESTED_METHOD, "exact": document["method"]},
    ]
    if document["method"] in (ANY_METHOD, "OPTIONS") or len(headers) > MOST_MATCHES:
        return {}
    made = {name: value for name, value in document.items() if name in MATCHING_FIELDS}
    return {**made, "method": "OPTIONS", "headers": headers, "policies": list(policies), "answer": {"status": 404}}


def _mirror_name(mirror: Backend) -> str:
    return document_name("mirror", mirror.name)


def _split(backends: Sequence[Backend]) -> JsonObject:
    """One pool, or several by weight; the part of a backend that is not there is answered."""
    weights: dict[str | int, int] = {}
    for backend in backends:
        target = backend.name if backend.pool else backend.status
        weights[target] = weights.get(target, 0) + backend.weight
    if len(weights) == 1:
        return {"upstream": next(iter(weights))}
    return {"split": [_share(target, weight) for target, weight in weights.items()]}


def _share(target: str | int, weight: int) -> JsonObject:
    if isinstance(target, str):
        return {"upstream": target, "weight": weight}
    return {"answer": {"status": target, "body": NO_BACKEND}, "weight": weight}


def rules_of(route: Key, raw: JsonObject, age: tuple[str, str]) -> Iterator[RuleSource]:
    """Those of a route; an HTTPRoute without rules has one for all requests, of which none is answered by a backend."""
    for index, rule in enumerate(items(spec_of(raw), "rules") or [{}]):
        yield RuleSource(route, age, index, rule)


def closed(operation: RankedOperation) -> RankedOperation:
    """The same requests, answered 500."""
    document = {name: value for name, value in operation.document.items() if name in MATCHING_FIELDS}
    document["answer"] = {"status": 500, "body": NOT_FOLLOWED}
    return replace(operation, document=document, answers=True)
