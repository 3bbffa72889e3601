"""The `Namespace` resource: contexts and hosts that belong to a team, so that no other one publishes there."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from gatewright_documents.strict import expecting
from gatewright_documents.values import JsonObject
from msgspec import Meta

from gatewright_controller.model.api import Metadata
from gatewright_controller.model.common import Labels, Strict

OwnedContext = Annotated[
    str,
    Meta(
        pattern=r"^/[A-Za-z0-9._~/-]{0,254}[A-Za-z0-9._~-]$",
        extra_json_schema=expecting("a path such as '/payments', with all contexts below it"),
    ),
]


class NamespaceSpec(Strict, frozen=True, kw_only=True):
    """What belongs to whom. An API in one of these contexts, or on one of these hosts, has the labels."""

    labels: Annotated[Labels, Meta(min_length=1, extra_json_schema={"x-cure": "its form is {team: payments}"})]
    contexts: Annotated[list[OwnedContext], Meta(max_length=100)] = msgspec.field(default_factory=list)
    """Each with all that is below it, on every host. Of two Namespaces the one with the longer context counts."""
    hosts: Annotated[list[str], Meta(max_length=100)] = msgspec.field(default_factory=list)
    """`pay.example`, `*.pay.example`: those that APIs name. An API without hosts names none of them."""


class Namespace(Strict, frozen=True):
    """One `Namespace` resource, as it is written."""

    api_version: Literal["gatewright.dev/v1"]
    kind: Literal["Namespace"]
    metadata: Metadata
    spec: NamespaceSpec


def namespace_from_document(document: JsonObject) -> Namespace:
    """Of a document that was validated before."""
    return msgspec.convert(document, Namespace)
