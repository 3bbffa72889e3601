"""What this room is given and what it gives: plain values, of which each is complete by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import msgspec
from gatewright_documents.values import JsonObject

from gatewright_controller.resource.conditions import Conditions
from gatewright_controller.resource.definitions import Definitions
from gatewright_controller.resource.private_upstreams import PrivateUpstreams

CONTROLLER_NAME = "gatewright.dev/gateway-controller"
FILES_FOLDER = "/etc/gatewright/gateway-files"
"""Where the nodes of a Gateway have its files: certificates, keys and authorities."""
NODE_LABEL = "gatewright.dev/gateway"
"""Of the nodes of a Gateway, and in the `nodes` of the documents that are made of it."""

Key = tuple[str, str, str]
"""Kind, namespace and name of an object; the namespace is "" where the kind has none."""


class WatchedKind(NamedTuple):
    """A kind whose objects have to be watched. plural: in URLs. required: false where a cluster may lack the kind."""

    group: str
    version: str
    plural: str
    kind: str
    required: bool = True


KINDS = (
    WatchedKind("gateway.networking.k8s.io", "v1", "gatewayclasses", "GatewayClass"),
    WatchedKind("gateway.networking.k8s.io", "v1", "gateways", "Gateway"),
    WatchedKind("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute"),
    WatchedKind("gateway.networking.k8s.io", "v1", "grpcroutes", "GRPCRoute", required=False),
    WatchedKind("gateway.networking.k8s.io", "v1beta1", "referencegrants", "ReferenceGrant"),
    WatchedKind("gateway.networking.k8s.io", "v1", "backendtlspolicies", "BackendTLSPolicy", required=False),
    WatchedKind("gatewright.dev", "v1alpha1", "policyattachments", "PolicyAttachment", required=False),
    WatchedKind("", "v1", "namespaces", "Namespace"),
    WatchedKind("", "v1", "services", "Service"),
    WatchedKind("", "v1", "secrets", "Secret"),
    WatchedKind("", "v1", "configmaps", "ConfigMap"),
    WatchedKind("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
)
"""What `Objects` holds."""


class Objects(msgspec.Struct, frozen=True):
    """What the API server has, as JSON objects. policies: the definitions of this build. conditions: checks `when` of
    PolicyAttachments, in each translation: remembered ones, since each answer takes a process; the default leaves that
    to nodes. upstreams: addresses that backends may not have."""

    by_key: Mapping[Key, JsonObject]
    policies: Definitions = msgspec.field(default_factory=Definitions)
    conditions: Conditions = msgspec.field(default_factory=Conditions)
    upstreams: PrivateUpstreams = msgspec.field(default_factory=PrivateUpstreams)


class GatewayPort(NamedTuple):
    """A port of a Gateway's Service. number: as clients see it. target: of the nodes, which listen there."""

    name: str
    number: int
    target: int
    protocol: Literal["TCP", "UDP"] = "TCP"


@dataclass(frozen=True)
class GatewayNodes:
    """The nodes and the Service that an accepted Gateway needs. key: the Gateway's."""

    key: Key
    labels: Mapping[str, str]
    """Of the nodes."""
    ports: tuple[GatewayPort, ...]
    addresses: tuple[JsonObject, ...] = ()
    """As the Gateway asks for them: `{type, value}`."""
    infrastructure_labels: Mapping[str, str] = field(default_factory=dict)
    infrastructure_annotations: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """By name: what the nodes have in `FILES_FOLDER`, private keys among them. A Secret beside the nodes holds them,
    mounted there, so that another certificate needs no other pod."""


class Translation(msgspec.Struct, frozen=True):
    """What becomes of all objects."""

    documents: list[JsonObject] = msgspec.field(default_factory=list)
    gateways: list[GatewayNodes] = msgspec.field(default_factory=list)
    statuses: dict[Key, JsonObject] = msgspec.field(default_factory=dict)
    """The `status` of each object that is ours, without `lastTransitionTime`."""
    sources: dict[str, list[Key]] = msgspec.field(default_factory=dict)
    """Names of documents, each with the objects that it was made of: the Gateway first."""


class Deployed(msgspec.Struct, frozen=True):
    """What has become of a document at the nodes that are to have it. reason: where it was rejected."""

    state: Literal["pending", "deployed", "rejected"]
    reason: str = ""
