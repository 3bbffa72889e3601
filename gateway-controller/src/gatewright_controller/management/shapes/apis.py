"""An API with what has become of it."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, UnsetType

from gatewright_controller.management.shapes.answer import Answered
from gatewright_controller.model import Api

State = Literal["deployed", "pending", "rejected"]
"""Of the connected nodes that are to serve it. deployed: all do. rejected: a node cannot serve it until an operator
changes something. pending: a node has not answered yet, or cannot serve it now and retries by itself; or there is none.
"""


class NodeStatus(Answered, frozen=True):
    """What one node makes of a resource."""

    node: str
    """Its id."""
    state: State
    reason: str
    """Why it does not serve it; empty where it does."""


class AttachedPolicy(Answered, frozen=True):
    """A policy attachment and the version that it runs."""

    field: str
    """`spec.policies[0]`"""
    name: str
    asked: str
    """As the API has it: `v1`, or an exact version."""
    version: str
    """Exactly: `v1.2.0`."""


class ApiStatus(Answered, frozen=True):
    """What has become of an API: what its nodes together make of it."""

    state: State
    reason: str
    revision: int
    """Of the write that left it so; the ETag names it."""
    created_at: str
    """RFC 3339, UTC; so is `updatedAt`."""
    updated_at: str
    nodes: list[NodeStatus]
    """The connected nodes that are to serve it."""
    unplaced: bool
    """Nodes are connected, and none has the labels of `spec.nodes`: to wait for it is of no use."""
    policies: list[AttachedPolicy]
    owner: str | UnsetType = UNSET
    """Who applies it, where a write said so."""


class ApiResource(Api, frozen=True, kw_only=True):
    """An API as it was written, secrets masked, with its status."""

    status: ApiStatus


class ApiList(Answered, frozen=True):
    """APIs, by name."""

    apis: list[ApiResource]
    next: str | UnsetType = UNSET
    """The path of the next page, if there is one."""


class MovedPolicy(Answered, frozen=True):
    """An attachment that gets another version of its policy than it has."""

    api: str
    field: str
    policy: str
    before: str
    after: str


class ApiChange(Answered, frozen=True):
    """What a write would change."""

    kind: Literal["created", "changed", "unchanged"]
    revision: int | None
    """Of what would be replaced; null where there is none."""
    moved: list[MovedPolicy]
    """Attachments that would run another version than they do."""
    diff: str
    """Unified, of the API as YAML, secrets masked."""


class TriedApiStatus(Answered, frozen=True):
    """Of a write that was not done."""

    policies: list[AttachedPolicy]
    change: ApiChange


class TriedApi(Api, frozen=True, kw_only=True):
    """An API as a write would leave it (`dry_run=true`)."""

    status: TriedApiStatus


class Removal(Answered, frozen=True):
    """An API that was deleted, and that nodes still serve."""

    state: Literal["pending"]
    reason: str
