"""A connected node: what it can run, what it was sent, and what it makes of that."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Literal

import msgspec

from gatewright_controller._gen import node_pb2
from gatewright_controller.nodes.consumer_index import Lacking
from gatewright_controller.resource.node_labels import has_labels
from gatewright_controller.translate import Bundle

State = Literal["deployed", "pending", "rejected"]
UNAPPLIED_STATES: dict[int, Literal["pending", "rejected"]] = {
    node_pb2.ApiStatus.STATE_PENDING: "pending",
    node_pb2.ApiStatus.STATE_REJECTED: "rejected",
}
DrainState = Literal["unsupported", "serving", "draining", "drained"]
DRAIN_STATES: dict[int, DrainState] = {
    node_pb2.DRAIN_STATE_UNSPECIFIED: "unsupported",
    node_pb2.DRAIN_STATE_SERVING: "serving",
    node_pb2.DRAIN_STATE_DRAINING: "draining",
    node_pb2.DRAIN_STATE_DRAINED: "drained",
}


class NodeStatus(msgspec.Struct, frozen=True):
    """What one node makes of an API. reason: why it does not run it; "" where it does."""

    node: str
    state: State
    reason: str = ""


class ApiStatus(msgspec.Struct, frozen=True):
    """Of the connected nodes that are to run it. `deployed`: all have it. `rejected`: one of them, or all, cannot run
    it until an operator changes something. `pending`: one of them has yet to answer, or cannot run it now and tries
    again by itself; or there is none."""

    state: State
    reason: str = ""
    nodes: tuple[NodeStatus, ...] = ()
    unplaced: bool = False
    """It is for none of the connected nodes."""


class Unapplied(msgspec.Struct, frozen=True):
    """A version of an API that a node does not run, and why; `pending`: for a reason that may pass."""

    digest: str
    state: Literal["pending", "rejected"]
    reason: str


class LackingPolicy(msgspec.Struct, frozen=True):
    """A policy that a node's build lacks, or has with another definition; why, with the cure. apis: of those that the
    node is to run, the ones that need it."""

    name: str
    version: str
    reason: str
    apis: tuple[str, ...]


@dataclass(eq=False)
class Node:
    """A connected node: what it can run, what it was sent, and what it answered."""

    id: str
    engine_version: str
    policies: dict[tuple[str, str], str]
    sent: dict[str, str]
    """API → digest; at first what the node says it runs, and of what is unsettled there an empty one."""
    applied: dict[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)
    connected_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    unapplied: dict[str, Unapplied] = field(default_factory=dict)
    """By API, as the node reported it."""
    removing: set[str] = field(default_factory=set)
    to_look_at: set[str] = field(default_factory=set)
    """APIs of which it may have to be sent something: all others are as they were sent."""
    gateway_sent: str = ""
    """The digest of a Gateway; at first of the one that the node says it serves."""
    gateway_applied: str = ""
    gateway_unapplied: Unapplied | None = None
    keeps_gateway: bool = False
    """It listens by its own file: another run's, with a controller that is not its own."""
    drain: DrainState = "unsupported"
    orders: list[node_pb2.Drain] = field(default_factory=list)
    """What it is still to be sent."""
    connected: bool = True
    consumers: Lacking | None = None
    """What it is still to be sent of consumers; None: it takes none."""
    secrets_sent: dict[str, str] = field(default_factory=dict)
    """Secret → version; at first what the node says it has."""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while there may be something to send it: each node has its own, since with one for all of them each report of
    a node would wake the streams of all."""

    _judged_by: Mapping[tuple[str, str], str] | None = None
    """The `policies` by which `_unfit` says why the node cannot run what needs some policies."""
    _unfit: dict[frozenset[tuple[str, str, str]], str] = field(default_factory=dict)

    @staticmethod
    def of(hello: node_pb2.Hello) -> Node:
        """A node as its first message describes it: what it can run and what it runs already."""
        policies = {(policy.name, policy.version): policy.definition_digest for policy in hello.policies}
        sent = {bundle.api: "" if bundle.unsettled else bundle.digest for bundle in hello.bundles}
        applied = {bundle.api: bundle.digest for bundle in hello.bundles if bundle.digest}
        node = Node(hello.node_id, hello.engine_version, policies, sent, applied, dict(hello.labels))
        node.gateway_sent = node.gateway_applied = hello.gateway_digest
        node.keeps_gateway = hello.keeps_gateway
        node.drain = DRAIN_STATES.get(hello.drain, "unsupported")
        node.secrets_sent = {secret.name: secret.version for secret in hello.secrets}
        return node

    def is_to_run(self, bundle: Bundle) -> bool:
        """Whether the API is for nodes with these labels."""
        return not bundle.nodes or has_labels(self.labels, bundle.nodes)

    def has_reported(self, bundle: Bundle) -> bool:
        """Whether the node has said what it makes of the bundle."""
        unapplied = self.unapplied.get(bundle.api)
        return bundle.digest in (self.applied.get(bundle.api), unapplied and unapplied.digest)

    def wanted(self, bundle: Bundle) -> Bundle:
        """What the node is to be sent of an API: the bundle, or that it cannot run it."""
        unfit = self.unfit_for(bundle)
        return bundle.unserved(unfit) if unfit else bundle

    def unfit_for(self, bundle: Bundle) -> str:
        """Why the node cannot run the bundle; empty if it can. What needs the same policies has the same answer."""
        if self._judged_by is not self.policies:
            self._judged_by, self._unfit = self.policies, {}
        if (unfit := self._unfit.get(bundle.policies)) is None:
            unfit = "; ".join(sorted(reason for _, _, reason in self.missing_policies(bundle)))
            self._unfit[bundle.policies] = unfit
        return unfit

    @cached_property
    def deployed(self) -> NodeStatus:
        """Of an API that the node runs."""
        return NodeStatus(self.id, "deployed")

    def missing_policies(self, bundle: Bundle) -> Iterator[tuple[str, str, str]]:
        """Name, version and reason of each policy of the bundle that the node's build lacks."""
        for name, version, digest in bundle.policies:
            own = self.policies.get((name, version))
            if own is None:
                reason = f"the node's build has no policy {name}:{version}; build it in, or take it off the API"
                yield name, version, reason
            elif own != digest:
                reason = (
                    f"the node's build has another definition of {name}:{version} ({own[:12]}) than the controller "
                    f"({digest[:12]}); start both from one build"
                )
                yield name, version, reason


def report_gateway(node: Node, status: node_pb2.GatewayStatus) -> None:
    """What the node says of the Gateway that it was sent."""
    if status.state == node_pb2.ApiStatus.STATE_APPLIED:
        node.gateway_applied, node.gateway_unapplied = status.digest, None
    elif (state := UNAPPLIED_STATES.get(status.state)) is not None:
        node.gateway_unapplied = Unapplied(status.digest, state, status.reason)


def together(nodes: tuple[NodeStatus, ...]) -> ApiStatus:
    """The worst state of any of the nodes."""
    for state in ("rejected", "pending"):
        for node in nodes:
            if node.state == state:
                return ApiStatus(node.state, f"{node.node}: {node.reason}", nodes)
    return ApiStatus("deployed", "", nodes) if nodes else ApiStatus("pending", "no node is connected")


def status_on(node: Node, bundle: Bundle) -> NodeStatus:
    """What the node makes of the bundle."""
    if unfit := node.unfit_for(bundle):
        return NodeStatus(node.id, "rejected", unfit)
    if (unapplied := node.unapplied.get(bundle.api)) and unapplied.digest == bundle.digest:
        return NodeStatus(node.id, unapplied.state, unapplied.reason)
    if node.applied.get(bundle.api) == bundle.digest:
        return node.deployed
    return NodeStatus(node.id, "pending", "has not acknowledged it yet")
