"""What a step means to requests, in sentences. No sentence has a secret: parameters of policies are never shown."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from gatewright_controller.model import Api
from gatewright_controller.plans.holders import Holders
from gatewright_controller.plans.plan import ApiStep, claims
from gatewright_controller.plans.policy_differences import policy_differences
from gatewright_controller.resource.claims import EVERY_LISTENER, Claim
from gatewright_controller.resource.definitions import Definitions, UnknownPolicyError
from gatewright_controller.resource.hosts import patterns_of
from gatewright_controller.resource.matches import ANY_METHOD
from gatewright_controller.resource.node_labels import labels_text
from gatewright_controller.resource.versions import Versions, with_exact_versions
from gatewright_controller.translate import EdgeSettings, RouteSummary, summarize_routes, translate

MOST_SENTENCES = 40
MOST_NAMED = 3
"""Operations that a sentence names; of more it says how many there are."""
EVERY_NODE = "every node"
NO_EFFECT = "nothing changes for requests"
Whole = Callable[[Api, Versions], Api]
"""The API as it is translated, with exact versions."""
Routes = Mapping[str, RouteSummary]
"""By the operation: `GET /items/{id}`."""


class Effects:
    """Of the steps of one plan. before, after: who has each claim, and will have. not_served: names of stored APIs that
    the build's definitions do not fit."""

    def __init__(
        self,
        definitions: Definitions,
        settings: EdgeSettings,
        before: Holders,
        after: Holders,
        not_served: Collection[str] = (),
        whole: tuple[Whole, Whole] = (with_exact_versions, with_exact_versions),
    ) -> None:
        """whole: the APIs with their Defaults, before and after."""
        self._definitions, self._settings, self._whole = definitions, settings, whole
        self._before, self._after, self._not_served = before, after, not_served

    def of(self, step: ApiStep) -> tuple[str, ...]:
        """A sentence for each effect; at least one."""
        sentences = [*self._of_place(step), *self._of_routes(step)]
        if not sentences:
            sentences = [NO_EFFECT if self._is_same(step) else "routes change in what the diff shows"]
        sentences += _of_owner(step)
        more = len(sentences) - MOST_SENTENCES
        return tuple([*sentences[:MOST_SENTENCES], f"and {more} effects more"] if more > 0 else sentences)

    def _of_place(self, step: ApiStep) -> Iterator[str]:
        """What becomes of the hosts, contexts and listeners that it had, and of those that it gets."""
        had = claims(step.before.api) if step.before else frozenset()
        has = step.after.claims if step.after else frozenset()
        if step.action == "rename":
            gap = (
                "; meanwhile the attached Envoy may get 503"
                if any(claim.is_name for claim in has)
                else ", without a gap"
            )
            yield f"{step.name} serves what {step.renamed_from} did{gap}"
            kept = f"what policies keep for {step.renamed_from}, such as counters and cached responses"
            yield f"{kept}, is not carried over"
        yield from _of_nodes(step)
        for claim in sorted(has - had):
            yield f"{_requests(claim)} are served by {step.name}, {self._was(claim)}"
        for claim in sorted(had - has):
            holder = self._after.reached_by(claim)
            yield f"{_requests(claim)} {f'are served by {holder}' if holder else f'get {_unserved(claim)}'}"

    def _was(self, claim: Claim) -> str:
        holder = self._before.reached_by(claim)
        return f"were by {holder}" if holder else f"got {_unserved(claim)}"

    def _of_routes(self, step: ApiStep) -> Iterator[str]:
        if step.after is None:
            return
        after = self._routes(self._whole[1](step.after.api, step.after.versions))
        before = self._routes_before(step) if step.before else {}
        if before is None:
            yield f"{step.name} is served again, since the build's policies fit it"
        yield from _sentences(before or {}, after, _hosts(step.after.api))

    def _routes_before(self, step: ApiStep) -> Routes | None:
        """None where it was not served."""
        assert step.before
        if step.before.name in self._not_served:
            return None
        try:
            return self._routes(self._whole[0](step.before.api, step.before.versions))
        except UnknownPolicyError:
            return None

    def _routes(self, exact: Api) -> Routes:
        return {route.operation: route for route in summarize_routes(exact, self._definitions, self._settings)}

    def _is_same(self, step: ApiStep) -> bool:
        """Whether nodes are sent the same."""
        if step.before is None or step.after is None:
            return False
        before = self._whole[0](step.before.api, step.before.versions)
        after = self._whole[1](step.after.api, step.after.versions)
        old, new = (translate(exact, self._definitions, self._settings).digest for exact in (before, after))
        return old == new


def _of_nodes(step: ApiStep) -> Iterator[str]:
    """Which nodes run it; nothing where these are every node, or the same as before."""
    if step.after is None:
        return
    before, after = (_nodes(side.api) if side else EVERY_NODE for side in (step.before, step.after))
    if after != before:
        yield f"{step.name} runs on {after}" + (f", was on {before}" if step.before else "")


def _nodes(api: Api) -> str:
    return f"nodes with {labels_text(api.spec.nodes)}" if api.spec.nodes else EVERY_NODE


def _of_owner(step: ApiStep) -> Iterator[str]:
    before = step.before.owner if step.before else ""
    if step.after and step.before and step.owner != before:
        yield f"its owner is {step.owner}, was {before or 'no one'}"


def _sentences(before: Routes, after: Routes, hosts: str) -> Iterator[str]:
    both = [name for name in after if name in before]
    yield from _gone(before, after, hosts)
    yield from _grouped(((after[name].target, after[name]) for name in after if name not in before), hosts)
    moved = ((f"{after[name].target}, was: {before[name].target}", after[name]) for name in both)
    yield from _grouped(
        (pair for pair, name in zip(moved, both, strict=True) if _target_differs(before, after, name)), hosts
    )
    differences = ((text, after[name]) for name in after for text in _differences(before.get(name), after[name]))
    for text, routes in _by_text(differences).items():
        where = "every operation" if len(routes) == len(after) > 1 else f"{_named(routes)} on {hosts}"
        yield f"{text} on {where}" if text.startswith("policy") else f"{where}: {text}"


def _target_differs(before: Routes, after: Routes, name: str) -> bool:
    return before[name].target != after[name].target


def _gone(before: Routes, after: Routes, hosts: str) -> Iterator[str]:
    pairs = ((_instead(route, after.values()), route) for name, route in before.items() if name not in after)
    for text, routes in _by_text(pairs).items():
        yield f"{_named(routes)} on {hosts} {text}"


def _instead(gone: RouteSummary, after: Iterable[RouteSummary]) -> str:
    """What a request of an operation that goes meets, by the method and the path alone."""
    covering = [route for route in after if route.template.shape.covers(gone.template.shape)]
    for route in covering:
        if route.method in (gone.method, ANY_METHOD):
            return f"is met by {route.operation}"
    return "gets 405" if covering else "gets 404"


def _differences(before: RouteSummary | None, after: RouteSummary) -> Iterator[str]:
    """In all but the target. Of a route that is new: its policies."""
    yield from policy_differences(before.policies if before else (), after.policies)
    if before is None:
        return
    for name, milliseconds in after.times.items():
        if (old := before.times.get(name)) != milliseconds:
            yield f"{name} is {milliseconds} ms, was {'any' if old is None else f'{old} ms'}"
    yield from (f"{name} is no longer limited" for name in before.times if name not in after.times)
    details = (name for name, text in after.details.items() if before.details.get(name) not in (None, text))
    yield from (f"new {name}" for name in details)


def _grouped(pairs: Iterable[tuple[str, RouteSummary]], hosts: str) -> Iterator[str]:
    for text, routes in _by_text(pairs).items():
        yield f"{_named(routes)} on {hosts} {text}"


def _by_text(pairs: Iterable[tuple[str, RouteSummary]]) -> dict[str, list[RouteSummary]]:
    groups: dict[str, list[RouteSummary]] = {}
    for text, route in pairs:
        groups.setdefault(text, []).append(route)
    return groups


def _named(routes: Sequence[RouteSummary]) -> str:
    names = [f"{route.method} {route.path}" for route in routes]
    more = len(names) - MOST_NAMED
    return ", ".join([*names[:MOST_NAMED], f"{more} more"] if more > 1 else names)


def _hosts(api: Api) -> str:
    hosts = ", ".join(patterns_of(api.spec.hosts))
    return f"{hosts} (listener {', '.join(api.spec.listeners)})" if api.spec.listeners else hosts


def _requests(claim: Claim) -> str:
    if claim.is_name:
        return f"requests of the route {claim.context} of an attached Envoy"
    listener = "" if claim.listener == EVERY_LISTENER else f" (listener {claim.listener})"
    return f"requests below {claim.context} on {claim.host}{listener}"


def _unserved(claim: Claim) -> int:
    """What they are answered while no API has the claim."""
    return 503 if claim.is_name else 404
