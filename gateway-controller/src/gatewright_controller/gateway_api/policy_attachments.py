"""PolicyAttachments (GEP-713): policies of ours at Gateways, routes and rules.

An attachment that cannot be followed closes what it is for: a guard that is missing must not open a route.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from gatewright_documents.mistake import Invalid, format_path
from gatewright_documents.secret_references import named_secrets
from gatewright_documents.values import JsonObject

from gatewright_controller.gateway_api.attaching import AttachedRoute
from gatewright_controller.gateway_api.backend_tls import ancestor_ref
from gatewright_controller.gateway_api.cluster import (
    GATEWAY_GROUP,
    Cluster,
    age_of,
    generation_of,
    items,
    spec_of,
    text,
)
from gatewright_controller.gateway_api.conditions import Problem, good_or
from gatewright_controller.gateway_api.contract import Key
from gatewright_controller.gateway_api.gateways import API_VERSION, OurGateway
from gatewright_controller.gateway_api.listeners import ROUTE_KINDS
from gatewright_controller.validation import validate

KIND = "PolicyAttachment"
TARGETS = ("Gateway", *ROUTE_KINDS)
CLOSED = "until it is corrected its targets are answered 500"
Target = tuple[Key, str]
"""An object, and a section of it, "" for all of it."""


class PolicyAttachments:
    """Of one cluster. gateways and routes are ours."""

    def __init__(self, cluster: Cluster, gateways: Mapping[Key, OurGateway], routes: Sequence[AttachedRoute]) -> None:
        self._cluster, self._gateways = cluster, gateways
        self._routes = {route.key: route for route in routes}
        self._found = cluster.of_kind(KIND)
        self._by_age = sorted(self._found, key=lambda key: age_of(key, self._found[key]))

    def guards(self, targets: Iterable[Target]) -> tuple[list[JsonObject], list[Key]] | Problem:
        """Policies of all targets, in their order, and the attachments that they are from."""
        policies, sources = list[JsonObject](), list[Key]()
        for target in targets:
            accepted, refused = self._at(target)
            if refused:
                return refused
            for key in accepted:
                policies += items(spec_of(self._found[key]), "policies")
                sources.append(key)
        return policies, sources

    def _at(self, target: Target) -> tuple[list[Key], Problem | None]:
        if target not in self._decided:
            self._decided[target] = self._decide(target)
        accepted, _, refused = self._decided[target]
        return accepted, refused

    @cached_property
    def _decided(self) -> dict[Target, tuple[list[Key], dict[Key, Problem], Problem | None]]:
        """By target: the attachments in force, what is wrong with others, and why nothing of it may be served."""
        return {}

    def _decide(self, target: Target) -> tuple[list[Key], dict[Key, Problem], Problem | None]:
        accepted, wrong = list[Key](), dict[Key, Problem]()
        holders: dict[str, Key] = {}
        lost: dict[Key, set[str]] = {}
        closed: Problem | None = None
        for key in self._by_target.get(target, []):
            names = {text(policy, "name") for policy in items(spec_of(self._found[key]), "policies")}
            winner = next((holders[name] for name in sorted(names) if name in holders), None)
            if problem := self._mistakes(key):
                wrong[key] = problem
                message = f"the {KIND} {key[1]}/{key[2]} is not in force: {problem.message}"
                closed = closed or Problem(problem.reason, message)
            elif winner:
                shown = ", ".join(sorted(names & holders.keys()))
                message = f"{winner[1]}/{winner[2]} is older and attaches {shown} to the same target"
                wrong[key] = Problem("Conflicted", message)
                lost[key] = names
            else:
                accepted.append(key)
                holders.update(dict.fromkeys(names, key))
        for key, names in lost.items():
            if missing := sorted(names - holders.keys()):
                message = f"{wrong[key].message}, and {', '.join(missing)} would be missing; {CLOSED}"
                wrong[key] = Problem("Conflicted", message)
                closed = closed or wrong[key]
        return accepted, wrong, closed

    @cached_property
    def _by_target(self) -> Mapping[Target, list[Key]]:
        """The oldest first."""
        found: dict[Target, list[Key]] = {}
        for key in self._by_age:
            for target in dict.fromkeys(_targets(key, self._found[key])):
                found.setdefault(target, []).append(key)
        return found

    def _mistakes(self, key: Key) -> Problem | None:
        if key not in self._checked:
            found = self._found[key]
            self._checked[key] = _foreign_secret(key[1], found) or _mistakes(self._cluster, found)
        return self._checked[key]

    @cached_property
    def _checked(self) -> dict[Key, Problem | None]:
        return {}

    def statuses(self, controller_name: str) -> Mapping[Key, JsonObject]:
        """Of all attachments with a target that is ours, or that is nowhere."""
        made: dict[Key, JsonObject] = {}
        for key in self._by_age:
            generation = generation_of(self._found[key])
            problems: dict[str, tuple[JsonObject, Problem | None]] = {}
            for target in _targets(key, self._found[key]):
                for ref, problem in self._judge(key, target):
                    name = str(sorted(ref.items()))
                    known = problems.get(name, (ref, None))[1]
                    problems[name] = ref, known or problem
            ancestors = [
                {
                    "ancestorRef": ref,
                    "controllerName": controller_name,
                    "conditions": [good_or("Accepted", problem, generation)],
                }
                for _, (ref, problem) in sorted(problems.items())
            ]
            if ancestors:
                made[key] = {"ancestors": ancestors[:16]}
        return made

    def _judge(self, key: Key, target: Target) -> Iterable[tuple[JsonObject, Problem | None]]:
        """Ancestors of a target, each with what is wrong with the attachment there."""
        found, section = target
        shown = f"{found[0]} {found[1]}/{found[2]}"
        if found[0] not in TARGETS:
            expected = f"expected a target of kind {', '.join(TARGETS)}, got {found[0]}"
            return [(_target_ref(found), Problem("TargetNotFound", expected))]
        if self._cluster.get(*found) is None:
            return [(_target_ref(found), Problem("TargetNotFound", f"there is no {shown}; correct the name"))]
        gateways = self._gateways_of(found)
        wrong: Problem | None
        if section and section not in self._sections(found):
            has = ", ".join(filter(None, self._sections(found))) or "none"
            wrong = Problem("TargetNotFound", f"expected a section of the {shown} ({has}), got {section}")
        else:
            wrong = self._mistakes(key)
            self._at(target)
            wrong = wrong or self._decided[target][1].get(key)
        return [(ancestor_ref(gateway), wrong) for gateway in gateways]

    def _gateways_of(self, found: Key) -> list[Key]:
        """Those of ours; none where the target is another controller's."""
        if found[0] == "Gateway":
            return [found] if found in self._gateways else []
        route = self._routes.get(found)
        return sorted({parent.gateway.key for parent in route.parents}) if route else []

    def _sections(self, found: Key) -> list[str]:
        spec = spec_of(self._cluster.of_kind(found[0])[found])
        return [text(section, "name") for section in items(spec, "listeners" if found[0] == "Gateway" else "rules")]


def _targets(key: Key, attachment: JsonObject) -> list[Target]:
    return [
        ((text(ref, "kind"), key[1], text(ref, "name")), text(ref, "sectionName"))
        for ref in items(spec_of(attachment), "targetRefs")
        if text(ref, "group", GATEWAY_GROUP) == GATEWAY_GROUP
    ]


def _target_ref(found: Key) -> JsonObject:
    return {"group": GATEWAY_GROUP, "kind": found[0], "namespace": found[1], "name": found[2]}


def _foreign_secret(namespace: str, attachment: JsonObject) -> Problem | None:
    """The first secret that is not of the namespace: of ours, each has the Secret of its name."""
    for path, name in named_secrets(spec_of(attachment).get("policies")):
        if not name.startswith(f"{namespace}/"):
            expected = f"expected {{secretRef: {namespace}/KEY}}, a key of the Secret {namespace!r} of the controller"
            where = format_path(path, "spec.policies")
            return Problem("Invalid", f"{where}: {expected}, got {name!r}; {CLOSED}")
    return None


def _mistakes(cluster: Cluster, attachment: JsonObject) -> Problem | None:
    """Those that an Api with these policies has."""
    policies = spec_of(attachment).get("policies")
    if not isinstance(policies, list) or not policies:
        return Problem("Invalid", f"expected one policy at least in spec.policies, got none; {CLOSED}")
    document = {
        "apiVersion": API_VERSION,
        "kind": "Api",
        "metadata": {"name": "attachment"},
        "spec": {
            "version": "v1",
            "context": "/",
            "policies": policies,
            "upstream": {"main": {"url": "http://backend.invalid"}},
            "operations": [{"method": "*", "path": "/*"}],
        },
    }
    try:
        validate(document, cluster.objects.policies, {}, conditions=cluster.objects.conditions)
    except Invalid as invalid:
        return Problem("Invalid", f"{invalid}; {CLOSED}")
    return None
