"""Has nodes take no new connections, or take them again. That is the node's own state: it is in its hello, and lasts
without this controller. Who asked for it, and why, is known here until this process ends, and in the audit log."""

from __future__ import annotations

import time

import msgspec
from gatewright_documents.mistake import listed

from gatewright_controller._gen import node_pb2
from gatewright_controller.nodes.deployment import Deployment
from gatewright_controller.nodes.node import Node
from gatewright_controller.nodes.node_documents import Why

ANSWER_SECONDS = 5.0
"""For the node to begin. What comes then may take as long as a request does."""
RETURN_SECONDS = 15.0
"""For a node that has disconnected to connect again."""


class DrainRequest(msgspec.Struct, frozen=True):
    """Who had a node drained, when (RFC 3339, UTC) and why."""

    actor: str
    at: str
    reason: str = ""


class NotDrainedError(Exception):
    """The node does not do it; the message has the reason and the cure."""

    def __init__(self, why: Why, message: str) -> None:
        self.why = why
        super().__init__(message)


class Draining:
    """All nodes of a controller."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._requests: dict[str, DrainRequest] = {}

    def request_of(self, node: Node) -> DrainRequest | None:
        """By which the node drains; None where it serves, or where this controller does not know it."""
        return None if node.drain == "serving" else self._requests.get(node.id)

    async def drain(self, node_id: str, request: DrainRequest, accept_seconds: int, wait: float) -> Node:
        """Returns the node once it is drained, or after the wait; it has begun. accept_seconds: how long it accepts
        connections once it is not ready. Raises `NotDrainedError`."""
        node = self._drainable(node_id)
        if node.drain == "serving":
            self._requests.pop(node_id, None)
        self._requests.setdefault(node_id, request)
        order = node_pb2.Drain(drained=True, accept_seconds=accept_seconds)
        self._deployment.order(node, order)
        await self._until_begun(node)
        return await self._until(node, "drained", order, wait)

    async def undrain(self, node_id: str, wait: float) -> Node:
        """Returns the node once it serves again, or after the wait. Raises `NotDrainedError`."""
        node = self._drainable(node_id)
        self._requests.pop(node_id, None)
        order = node_pb2.Drain()
        self._deployment.order(node, order)
        return await self._until(node, "serving", order, wait)

    def _drainable(self, node_id: str) -> Node:
        nodes = self._deployment.nodes
        if (node := nodes.get(node_id)) is None:
            known = listed(sorted(nodes)) if nodes else "none"
            raise NotDrainedError("unknown", f"no node {node_id} is connected; those that are: {known}")
        if node.drain == "unsupported":
            cure = "start it by this version's gatewright run, or stop it, which loses no request either"
            raise NotDrainedError("unsupported", f"node {node_id} cannot be drained by a controller: {cure}")
        return node

    async def _until_begun(self, node: Node) -> None:
        begun = await self._deployment.wait_until(lambda: node.drain != "serving", ANSWER_SECONDS, node)
        if node.connected and not begun:
            expected = f"expected node {node.id} to begin within {ANSWER_SECONDS:g} s, got no answer"
            raise NotDrainedError("silent", f"{expected}; is it overloaded?")

    async def _until(self, node: Node, state: str, order: node_pb2.Drain, wait: float) -> Node:
        """The node once it has reached the state, or after the wait. One that has crashed may have lost the order: once
        it is connected again it gets that again, unless a client has asked for the opposite meanwhile."""
        end = time.monotonic() + wait
        while not await self._reaches(node, state, end) and not node.connected:
            node = await self._returned(node, end)
            if order.drained == (node.id in self._requests):
                self._deployment.order(node, order)
        return node

    async def _reaches(self, node: Node, state: str, end: float) -> bool:
        return await self._deployment.wait_until(lambda: node.drain == state, end - time.monotonic(), node)

    async def _returned(self, node: Node, end: float) -> Node:
        """The node once it is connected again, as one is whose engine has started again."""
        nodes, wait = self._deployment.nodes, min(end - time.monotonic(), RETURN_SECONDS)
        if not await self._deployment.wait_until(lambda: node.id in nodes, wait):
            cure = "see whether it runs, and repeat this once it is connected"
            raise NotDrainedError("disconnected", f"node {node.id} has disconnected: {cure}")
        return nodes[node.id]
