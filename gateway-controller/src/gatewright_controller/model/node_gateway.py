"""The `NodeGateway` resource: what nodes with some labels listen on, in the place of the Gateway."""

from __future__ import annotations

from typing import Annotated, Literal

from gatewright_documents.values import JsonObject
from msgspec import Meta

from gatewright_controller.model.api import Metadata
from gatewright_controller.model.common import Labels, Strict
from gatewright_controller.model.gateway import GatewaySpec

NODES_FORM = {"x-cure": "its form is {zone: dmz}"}


class NodeGatewaySpec(GatewaySpec, frozen=True, kw_only=True):
    """The fields of a Gateway, and the labels of the nodes that it is for."""

    nodes: Annotated[Labels, Meta(min_length=1, extra_json_schema=NODES_FORM)]
    """A node that has all of these listens as this says. Of several that fit a node the one with the most labels
    counts."""


class NodeGateway(Strict, frozen=True):
    """One `NodeGateway` resource, as it is written."""

    api_version: Literal["gatewright.dev/v1"]
    kind: Literal["NodeGateway"]
    metadata: Metadata
    spec: NodeGatewaySpec


def gateway_of(document: JsonObject) -> JsonObject:
    """The Gateway that nodes with its labels have, as a document."""
    spec = {name: value for name, value in document["spec"].items() if name != "nodes"}
    return {**document, "kind": "Gateway", "metadata": {"name": document["metadata"]["name"]}, "spec": spec}
