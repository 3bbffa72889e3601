"""The connected nodes."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from gatewright_controller.management.shapes.answer import Answered
from gatewright_controller.management.shapes.apis import State


class NodePolicy(Answered, frozen=True):
    """A policy of a node's build."""

    name: str
    version: str


class ServedApi(Answered, frozen=True):
    """An API that a node serves."""

    name: str
    digest: str
    """Of what the node was sent."""


class UnservedApi(Answered, frozen=True):
    """A version of an API that a node does not serve."""

    name: str
    reason: str


class GatewayOfNode(Answered, frozen=True):
    """What a node listens on."""

    name: str
    """Of the NodeGateway that is for it; empty: the Gateway."""
    digest: str
    state: State
    reason: str


class NodeStates(Answered, frozen=True):
    """How many of the APIs that a node is to serve are in each state there."""

    deployed: int
    pending: int
    rejected: int


class LackingPolicy(Answered, frozen=True):
    """A policy that a node's build lacks, or has with another definition than the controller."""

    name: str
    version: str
    reason: str
    """Why, with the cure."""
    apis: list[str]
    """The APIs that are rejected for it."""


class NodeDrain(Answered, frozen=True):
    """Whether a node takes new connections."""

    state: Literal["unsupported", "serving", "draining", "drained"]
    """unsupported: the node cannot be drained by a controller. draining: it is not ready, and then its listeners close;
    requests end. drained: no exchange is under way, and its listeners are closed."""
    by: str | UnsetType = UNSET
    """Who had it drained, as in the history of a resource; with `since` and `reason`. Another controller, or one that
    was started since, does not know: the audit log does."""
    since: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class Node(Answered, frozen=True):
    """A connected node."""

    id: str
    labels: dict[str, str]
    """By which APIs choose nodes."""
    drain: NodeDrain
    states: NodeStates
    lacks: list[LackingPolicy]
    """What its build lacks of what it is to serve."""
    engine_version: str
    connected_at: str
    """RFC 3339, UTC."""
    policies: list[NodePolicy]
    apis: list[ServedApi]
    rejected: list[UnservedApi]
    """What it does not serve until an operator changes something."""
    pending: list[UnservedApi]
    """What it has not acknowledged yet, or does not serve for a reason that may pass; the node retries by itself."""
    gateway: GatewayOfNode
    documents: list[str]
    """What it can report of itself now: `GET /v1/nodes/{id}/NAME`."""


class RefusedNode(Answered, frozen=True):
    """A node that was refused within the last minute."""

    id: str
    """As it claims."""
    peer: str
    """Where it connects from, as `ipv4:10.0.0.7:51234`."""
    reason: str
    """Why, with the cure."""
    at: str
    """The last time; RFC 3339, UTC."""


class NodeList(Answered, frozen=True):
    """Connected nodes, by id."""

    nodes: list[Node]
    refused: list[RefusedNode]
    """Those that fit the request, on each page."""
    next: str | UnsetType = UNSET
    """The path of the next page, if there is one."""


class About(Answered, frozen=True):
    """What a note is about."""

    kind: str
    """`api`, `policy`, `listener`, `certificate`, `authority`, `metrics`, `store`, `controller` or `state`."""
    name: str
    api: str | UnsetType = UNSET
    """Of a policy."""


class Note(Answered, frozen=True):
    """A problem of a node."""

    severity: Literal["bad", "warn"]
    code: str
    """`upstream_unreachable`"""
    party: Literal["upstream", "policy", "operator", "gateway"]
    """The responsible party."""
    degraded: bool
    """Whether the node itself is degraded."""
    about: About
    title: str
    reason: str
    cure: str


class Chain(Answered, frozen=True):
    """A chain that runs, as the engine reports it."""

    id: str
    api: str
    operation: str
    processing_mode: dict[str, Any]
    active: int
    """Exchanges under way."""
    instances: list[dict[str, Any]]


Clusters = dict[str, list[str]]
"""By API, the names that its upstreams have in Envoy."""
Stats = dict[str, Any]
"""Counters, as the engine's admin socket answers at `/stats`."""
