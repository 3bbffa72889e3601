"""A Gateway with what has become of it."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, UnsetType

from gatewright_controller.management.shapes.answer import Answered
from gatewright_controller.management.shapes.apis import NodeStatus, State
from gatewright_controller.model import Gateway


class ObtainedCertificate(Answered, frozen=True):
    """A certificate by ACME. Times are RFC 3339, empty for none."""

    hosts: list[str]
    obtained: bool
    not_after: str
    next: str
    """When it is obtained, renewed or tried again."""
    failures: int
    """Since the last success."""
    error: str
    """Of the last failure."""


class GatewayChange(Answered, frozen=True):
    """What another Gateway means: listeners by name."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    restart: list[str]
    """Fields that wait for a restart."""


class GatewayStatus(Answered, frozen=True):
    """What the nodes together make of the Gateway."""

    state: State
    reason: str
    origin: Literal["file", "api", "run"]
    """Where it was written: in a file, by this API, or as options of `gatewright run`."""
    restart: list[str]
    """Fields that wait for a restart."""
    nodes: list[NodeStatus]
    """Those that no NodeGateway is for."""
    unplaced: bool
    """Each connected node has a NodeGateway."""
    certificates: dict[str, ObtainedCertificate]
    """By name, those that are obtained by ACME."""
    revision: int | UnsetType = UNSET
    """Of the write by this API; so is `updatedAt`."""
    updated_at: str | UnsetType = UNSET
    owner: str | UnsetType = UNSET
    """Who applies it, where a write said so."""
    change: GatewayChange | UnsetType = UNSET
    """Of a write or a reload: what has changed."""


class GatewayResource(Gateway, frozen=True, kw_only=True):
    """The Gateway, secrets masked, with its status."""

    status: GatewayStatus


class TriedGatewayStatus(Answered, frozen=True):
    """Of a write that was not done."""

    change: GatewayChange


class TriedGateway(Answered, frozen=True):
    """What a write would change (`dry_run=true`)."""

    status: TriedGatewayStatus
