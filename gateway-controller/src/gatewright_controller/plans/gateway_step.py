"""The Gateway of a set against the one that is stored: at most one step, as with APIs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec
from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_writer import yaml_text

from gatewright_controller.apis.api_change import unified
from gatewright_controller.gateway.gateway_masks import masked_gateway
from gatewright_controller.gateway.gateways import GatewayChange
from gatewright_controller.model import gateway_from_document
from gatewright_controller.plans.plan import Intent
from gatewright_controller.store import StoredGateway

NAME = "gateway"
"""Of the one Gateway, among changes."""


class GatewayPlan(msgspec.Struct, frozen=True):
    """action: None where nothing changes. document: what takes the place of the stored Gateway, None for none.
    is_wanted: the set has one. foreign: the stored one is another owner's.
    """

    action: Literal["add", "change", "delete"] | None = None
    document: JsonObject | None = None
    stored: StoredGateway | None = None
    is_wanted: bool = False
    foreign: bool = False
    owner: str = ""


def plan_gateway(stored: StoredGateway | None, wanted: JsonObject | None, intent: Intent) -> GatewayPlan:
    """wanted: a valid document; None where the set has no Gateway."""
    owner = stored.owner if stored else ""
    if wanted is None:
        goes = stored is not None and intent.prune and bool(intent.owner) and owner == intent.owner
        return GatewayPlan("delete", None, stored, owner=owner) if goes else GatewayPlan(stored=stored)
    foreign = bool(intent.owner) and not intent.take_over and owner not in ("", intent.owner)
    after = intent.owner or owner
    if stored and after == owner and gateway_from_document(stored.document) == gateway_from_document(wanted):
        return GatewayPlan(None, wanted, stored, True, foreign, after)
    return GatewayPlan("change" if stored else "add", wanted, stored, True, foreign, after)


def gateway_diff(before: JsonObject | None, after: JsonObject | None) -> str:
    """Unified, of what is shown of both."""
    old, new = (yaml_text(masked_gateway(document)) if document else "" for document in (before, after))
    return unified(old, new, NAME if before else "/dev/null", NAME if after else "/dev/null")


def gateway_effects(change: GatewayChange, plan: GatewayPlan) -> tuple[str, ...]:
    """A sentence for each effect; at least one."""
    return tuple(_sentences(change, plan)) or ("listeners and their connections stay as they are",)


def _sentences(change: GatewayChange, plan: GatewayPlan) -> Iterator[str]:
    yield from (f"nodes listen on {name} too" for name in change.added)
    yield from (f"listener {name} changes; connections to it are drained" for name in change.changed)
    yield from (f"nodes no longer listen on {name}; connections to it are drained" for name in change.removed)
    yield from (f"{field} takes effect when the node is restarted" for field in change.restart)
    if plan.stored and plan.owner != plan.stored.owner:
        yield f"its owner is {plan.owner}, was {plan.stored.owner or 'no one'}"
