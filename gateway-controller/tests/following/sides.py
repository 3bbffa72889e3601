"""Controllers of one PostgreSQL, each with a node, and what they write."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from dataclasses import dataclass

from gatewright_controller.apis.controller import Controller
from gatewright_controller.following import Following
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.kinds import Kinds
from gatewright_controller.nodes.node import Node
from gatewright_controller.store import Store
from gatewright_documents.values import JsonObject

SECONDS = 30.0
KEY = "11" * 32


@dataclass
class Side:
    """One of the two controllers, with a node."""

    controller: Controller
    gateways: Gateways
    kinds: Kinds
    following: Following
    node: Node

    @property
    def store(self) -> Store:
        return self.controller.store

    def at_the_node(self) -> dict[str, str]:
        """Digests by API: of all that the node has been sent."""
        deployment = self.controller.deployment
        while True:
            update = deployment.next_update(self.node)
            if not update.bundles and not update.removed_apis:
                return {name: digest for name, digest in self.node.sent.items() if digest}

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not condition():
                await self.controller.deployment.wait_for_change()


@dataclass
class Late:
    """A controller that follows only when it is told to."""

    controller: Controller
    kinds: Kinds
    gateways: Gateways
    following: Following
    node: Node

    def policies_sent(self) -> list[str]:
        """To its node: of the APIs that differ."""
        bundles = self.controller.deployment.next_update(self.node).bundles
        return [attachment.policy_name for bundle in bundles for attachment in bundle.chains[0].attachments]


def named(orders: JsonObject, name: str, context: str = "") -> JsonObject:
    document = copy.deepcopy(orders)
    document["metadata"]["name"], document["spec"]["context"] = name, context or f"/{name}"
    return document


def consumer(name: str) -> JsonObject:
    return {"apiVersion": "gatewright.dev/v1", "kind": "Consumer", "metadata": {"name": name}, "spec": {}}


def defaults(name: str) -> JsonObject:
    return {
        "apiVersion": "gatewright.dev/v1",
        "kind": "Defaults",
        "metadata": {"name": name},
        "spec": {"policies": {"before": [{"name": "guard", "version": "v1"}]}},
    }
