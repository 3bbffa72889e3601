"""Kinds of resources beside Api and Gateway: each is a class (`kind`), and one line of `open_kinds`.

From that class come its verbs (`resources`), its rows of the management API (`management.resources_api`), its part in
plans and its history.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gatewright_controller.apis.controller import Controller
from gatewright_controller.kinds.consumer_keys import ConsumerKeys
from gatewright_controller.kinds.consumer_kind import ConsumerKind, PlanKind
from gatewright_controller.kinds.defaults_kind import DefaultsKind
from gatewright_controller.kinds.keyring import Keyring
from gatewright_controller.kinds.kind import Kind
from gatewright_controller.kinds.namespace_kind import NamespaceKind
from gatewright_controller.kinds.node_gateway_kind import NodeGatewayKind
from gatewright_controller.kinds.resources import Resources
from gatewright_controller.kinds.secret_kind import SecretKind

__all__ = [
    "KINDS",
    "ConsumerKeys",
    "ConsumerKind",
    "DefaultsKind",
    "Keyring",
    "Kind",
    "Kinds",
    "NamespaceKind",
    "NodeGatewayKind",
    "PlanKind",
    "Resources",
    "SecretKind",
    "open_kinds",
]

KINDS: tuple[type[Kind], ...] = (
    SecretKind,
    PlanKind,
    ConsumerKind,
    DefaultsKind,
    NamespaceKind,
    NodeGatewayKind,
)
"""All there are, in the order in which they take effect."""


class Kinds:
    """The resources of all kinds, by the name of the kind."""

    def __init__(self, secrets: SecretKind, consumer_keys: ConsumerKeys, others: Mapping[str, Resources]) -> None:
        self.secrets, self.consumer_keys, self._resources = secrets, consumer_keys, others

    def __getitem__(self, kind: str) -> Resources:
        return self._resources[kind]

    def __contains__(self, kind: object) -> bool:
        return kind in self._resources

    def __iter__(self) -> Iterator[Resources]:
        return iter(self._resources.values())

    def load(self) -> None:
        """Hands what is stored to the nodes."""
        for resources in self:
            resources.load()


def open_kinds(controller: Controller, keyring: Keyring) -> Kinds:
    """Those of a controller. keyring: for values that are kept encrypted."""
    secrets = SecretKind(keyring, controller.deployment)
    consumers = ConsumerKind(controller.deployment, controller.store)
    kinds: tuple[Kind, ...] = (
        secrets,
        PlanKind(controller.deployment),
        consumers,
        DefaultsKind(controller),
        NamespaceKind(controller),
        NodeGatewayKind(controller),
    )
    return Kinds(
        secrets, ConsumerKeys(consumers, controller), {kind.name: Resources(kind, controller) for kind in kinds}
    )
