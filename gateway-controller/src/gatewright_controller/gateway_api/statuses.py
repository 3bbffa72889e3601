"""Statuses as the data plane has them: what nodes have answered over the drafts of `translate`."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

from gatewright_documents.values import JsonObject

from gatewright_controller.gateway_api.conditions import Problem, condition, good_or
from gatewright_controller.gateway_api.contract import Deployed, Key, Translation
from gatewright_controller.gateway_api.names import node_gateway_name

PENDING = Deployed("pending")
DEPLOYED = Deployed("deployed")


def complete(
    translation: Translation, deployed: Mapping[str, Deployed], addresses: Mapping[Key, list[JsonObject]]
) -> dict[Key, JsonObject]:
    """The statuses once nodes have answered. deployed: by the names of documents. addresses: of Gateways, by key."""
    statuses = copy.deepcopy(translation.statuses)
    outcomes: dict[tuple[Key, Key], list[Deployed]] = {}
    for name, (gateway, *others) in translation.sources.items():
        for key in others:
            outcomes.setdefault((key, gateway), []).append(deployed.get(name, PENDING))
    for nodes in translation.gateways:
        own = deployed.get(node_gateway_name(nodes.key), PENDING)
        _complete_gateway(statuses[nodes.key], own, addresses.get(nodes.key, []), nodes.addresses)
    for (key, gateway), found in outcomes.items():
        if key in statuses:
            _complete_holder(statuses[key], key, gateway, _worst(found))
    return statuses


def _worst(outcomes: Sequence[Deployed]) -> Deployed:
    """A rejection before what is pending, and that before what is deployed."""
    for state in ("rejected", "pending"):
        for outcome in outcomes:
            if outcome.state == state:
                return outcome
    return DEPLOYED


def _complete_gateway(
    status: JsonObject, own: Deployed, addresses: list[JsonObject], asked: Sequence[JsonObject]
) -> None:
    status["addresses"] = addresses
    values = [address["value"] for address in addresses]
    unusable = [str(address["value"]) for address in asked if address.get("value") and address["value"] not in values]
    problem = _not_deployed(own)
    for listener in status["listeners"]:
        if _reason(listener, "Programmed") == "Pending":
            _replace(listener, "Programmed", problem)
    if unusable:
        problem = problem or Problem("AddressNotUsable", f"the Service has not been given {', '.join(unusable)}")
    elif not addresses:
        problem = problem or Problem("AddressNotAssigned", "the Service has no address yet")
    _replace(status, "Programmed", problem)


def _not_deployed(outcome: Deployed) -> Problem | None:
    match outcome.state:
        case "deployed":
            return None
        case "pending":
            return Problem("Pending", outcome.reason or "not all nodes have it yet")
    return Problem("Invalid", f"a node has rejected it: {outcome.reason}")


def _complete_holder(status: JsonObject, key: Key, gateway: Key, outcome: Deployed) -> None:
    """A route's parents or a policy's ancestors that are this Gateway. `Programmed` is a condition of ours."""
    ref_name, holders = ("parentRef", status.get("parents")) if "parents" in status else (
        "ancestorRef", status.get("ancestors"),
    )  # fmt: skip
    for holder in holders or []:
        ref = holder[ref_name]
        named = (ref.get("kind", "Gateway"), ref.get("namespace", key[1]), ref["name"])
        if named != gateway or _reason(holder, "Accepted") != "Accepted":
            continue
        generation = holder["conditions"][0]["observedGeneration"]
        problem = _not_deployed(outcome)
        if outcome.state == "rejected" and problem:
            reason = "UnsupportedValue" if ref_name == "parentRef" else "Invalid"
            _replace(holder, "Accepted", Problem(reason, problem.message))
        is_true = None if outcome.state == "pending" else problem is None
        reason, message = (problem.reason, problem.message) if problem else ("Programmed", "")
        holder["conditions"].append(
            condition("Programmed", is_true=is_true, reason=reason, message=message, generation=generation)
        )


def _reason(holder: JsonObject, kind: str) -> str:
    return next((found["reason"] for found in holder["conditions"] if found["type"] == kind), "")


def _replace(holder: JsonObject, kind: str, problem: Problem | None) -> None:
    for index, found in enumerate(holder["conditions"]):
        if found["type"] == kind:
            holder["conditions"][index] = good_or(kind, problem, found["observedGeneration"])
