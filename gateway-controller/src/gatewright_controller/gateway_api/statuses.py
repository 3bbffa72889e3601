"""Statuses as the data plane has them."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from gatewright_documents.values import JsonObject

from gatewright_controller.gateway_api.conditions import condition
from gatewright_controller.gateway_api.contract import Deployed, Key, Translation

PENDING = Deployed("pending")


def complete(
    translation: Translation, deployed: Mapping[str, Deployed], addresses: Mapping[Key, list[JsonObject]]
) -> dict[Key, JsonObject]:
    """The statuses once nodes have answered. deployed: by the names of documents. addresses: of Gateways, by key."""
    statuses = copy.deepcopy(translation.statuses)
    for name, sources in translation.sources.items():
        outcome = deployed.get(name, PENDING)
        for key in sources:
            if key[0] == "Gateway" and key in statuses:
                _program(statuses[key], outcome, addresses.get(key, []))
    return statuses


def _program(status: JsonObject, outcome: Deployed, addresses: list[JsonObject]) -> None:
    status["addresses"] = addresses
    programmed = outcome.state == "deployed" and bool(addresses)
    for holder in (status, *status.get("listeners", [])):
        for index, found in enumerate(holder["conditions"]):
            if found["type"] == "Programmed":
                holder["conditions"][index] = condition(
                    "Programmed",
                    is_true=programmed,
                    reason="Programmed" if programmed else "Pending",
                    message=outcome.reason or outcome.state,
                    generation=found["observedGeneration"],
                )
