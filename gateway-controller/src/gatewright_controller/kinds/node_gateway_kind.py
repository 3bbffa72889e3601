"""NodeGateways: what nodes with some labels listen on, in the place of the Gateway."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, ClassVar

import msgspec
from gatewright_documents.mistake import Invalid, Mistake, format_path
from gatewright_documents.values import JsonObject, KeyPath
from msgspec import UNSET

from gatewright_controller.access import Right
from gatewright_controller.apis.controller import Controller
from gatewright_controller.gateway.gateway_masks import headers_of, masked_gateway, unmasked_gateway
from gatewright_controller.gateway.gateways import listeners_of, restart_mistakes
from gatewright_controller.kinds.kind import Kind, KindStatus, ResourceUser
from gatewright_controller.model import Api, NodeGateway, gateway_from_document, gateway_of, gateway_to_document
from gatewright_controller.nodes.node import State
from gatewright_controller.resource.node_gateways import possible_for, rival_of
from gatewright_controller.resource.node_labels import labels_text
from gatewright_controller.store import API, NODE_GATEWAY, StoredResource
from gatewright_controller.translate import translate_gateway
from gatewright_controller.validation.gateway import validate_gateway

log = logging.getLogger(__name__)
EVERY_API = '"context":'
"""Stands in the JSON of each API."""


class GatewayOnNode(msgspec.Struct, frozen=True):
    """What one node makes of it."""

    node: str
    state: State
    reason: str


class NodeGatewayStatus(KindStatus, frozen=True, kw_only=True):
    """What has become of a NodeGateway: the worst state of the connected nodes that it is for."""

    state: State
    reason: str
    unplaced: bool
    """It is for none of the connected nodes."""
    nodes: list[GatewayOnNode]
    """By id."""


class NodeGatewayKind(Kind):
    """controller: of the APIs that name listeners."""

    name = NODE_GATEWAY
    plural = "nodegateways"
    model = NodeGateway
    read: ClassVar[Right] = "nodes:read"
    write: ClassVar[Right] = "gateway:write"
    status_shape = NodeGatewayStatus

    def __init__(self, controller: Controller) -> None:
        self._controller, self._deployment = controller, controller.deployment

    @classmethod
    def mistakes(cls, document: JsonObject) -> Iterator[Mistake]:
        """Those of its structure, else of what it says."""
        found = list(super().mistakes(document))
        yield from found or _own_mistakes(gateway_of(document))

    def keep(self, document: JsonObject, stored: JsonObject | None) -> JsonObject:
        """A mask stands for the header that is stored at its place. Each listener says what it is, as a Gateway's."""
        kept = super().keep(unmasked_gateway(document, stored or {}), stored)
        gateway = gateway_to_document(gateway_from_document(gateway_of(kept)))
        return {**kept, "spec": {"nodes": kept["spec"]["nodes"], **gateway["spec"]}}

    def show(self, kept: JsonObject) -> JsonObject:
        return masked_gateway(kept)

    def changed(self, before: JsonObject, after: JsonObject) -> Mapping[KeyPath, str]:
        old = headers_of(before)
        return {path: "a new value" for path, value in headers_of(after).items() if old.get(path, value) != value}

    def status(self, stored: StoredResource) -> Mapping[str, Any]:
        status = self._deployment.node_gateway_status(stored.name)
        return {
            "state": status.state,
            "reason": status.reason,
            "unplaced": status.unplaced,
            "nodes": [GatewayOnNode(node.node, node.state, node.reason) for node in status.nodes],
        }

    def effects(self, name: str, before: JsonObject | None, after: JsonObject | None) -> Iterator[str]:
        """Which listeners come and go, at which nodes."""
        if after is None:
            yield f"nodes that have {name} listen as the Gateway says, or as a NodeGateway with fewer labels"
            return
        where = f"nodes with {labels_text(after['spec']['nodes'])}"
        had, has = listeners_of(gateway_of(before) if before else None), listeners_of(gateway_of(after))
        if before is None:
            yield f"{where} listen on {', '.join(sorted(has))} alone; other listeners of theirs are drained"
            return
        if before["spec"]["nodes"] != after["spec"]["nodes"]:
            yield f"it is for {where}, was for those with {labels_text(before['spec']['nodes'])}"
        yield from (f"{where} listen on {listener} too" for listener in sorted(has.keys() - had.keys()))
        for listener in sorted(has.keys() & had.keys()):
            if has[listener] != had[listener]:
                yield f"listener {listener} changes at {where}; connections to it are drained"
        for listener in sorted(had.keys() - has.keys()):
            yield f"{where} no longer listen on {listener}; connections to it are drained"

    def users(self, name: str) -> str:
        """Any API may run with it."""
        del name
        return EVERY_API

    def used_by(self, stored: StoredResource) -> Iterable[ResourceUser]:
        """The APIs that nodes with it may run."""
        placed = self._controller.gateways.node_gateways.placed
        apis = self._controller.store.list()
        return [
            ResourceUser(API, found.name) for found in apis if stored.name in possible_for(found.api.spec.nodes, placed)
        ]

    def unfit(self, name: str, after: JsonObject | None, apis: Iterable[Api]) -> Iterator[Mistake]:
        """What APIs name, and a Gateway of their nodes would not any more."""
        known = self._controller.gateways.known
        yield from known.with_node_gateways({name: after}).newly_unnamed(known, apis)

    def refused(self, changes: Mapping[str, Mapping[str, JsonObject | None]]) -> Iterator[Mistake]:
        """Two of which neither is the one with more labels, for a node that has all of both."""
        written = changes.get(NODE_GATEWAY, {})
        placed = self._controller.gateways.node_gateways.with_node_gateways(written).placed
        for name, document in written.items():
            if document and (rival := rival_of(name, placed)):
                expected = (
                    f"labels that no node has together with {labels_text(placed[rival])} of {rival}, or more of them"
                )
                cure = "add a label, so that one of the two is for fewer nodes"
                yield Mistake.expecting(expected, labels_text(placed[name]), cure, field="spec.nodes")

    @property
    def adopted(self) -> Collection[str]:
        return self._controller.gateways.node_gateways.placed.keys()

    def adopt(self, stored: StoredResource, revision: int) -> None:
        document = stored.document
        try:
            gateway = validate_gateway(gateway_of(document))
        except Invalid as invalid:  # a release may refuse what one before it took
            reason = str(invalid)
            log.error("a stored NodeGateway is no longer valid", extra={"resource": stored.name, "reason": reason})
            return
        self._know({stored.name: document})
        self._deployment.set_node_gateway(stored.name, document["spec"]["nodes"], translate_gateway(gateway), revision)

    def forget(self, name: str, revision: int) -> None:
        self._know({name: None})
        self._deployment.remove_node_gateway(name, revision)

    def _know(self, documents: Mapping[str, JsonObject | None]) -> None:
        in_use = self._controller.gateways
        in_use.node_gateways = in_use.node_gateways.with_node_gateways(documents)


def _own_mistakes(document: JsonObject) -> Iterator[Mistake]:
    """document: of the Gateway that it is for its nodes."""
    try:
        gateway = validate_gateway(document)
    except Invalid as invalid:
        yield from invalid.mistakes
        return
    for name, certificate in (gateway.spec.certificates or {}).items():
        if certificate.acme is not UNSET:
            cure = "name files of the nodes, or let the Gateway have it"
            field = format_path(["spec", "certificates", name, "acme"])
            yield Mistake.expecting("a certificate in files", "one that is obtained", cure, field=field)
    yield from restart_mistakes(document)
