"""The Deployment, the Service and the Secret of a Gateway, made of a template that the operator has written. Pure.

The template is a file of two YAML documents, a Deployment of nodes and a Service. What is the Gateway's own goes over
them: names, labels, ports, the options by which its nodes take its NodeGateway, and its files, which are in the Secret.
"""

from __future__ import annotations

import base64
import copy
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec
from gatewright_documents.mistake import Invalid, Mistake, Unreadable
from gatewright_documents.os_errors import os_reason
from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_documents import split_documents
from gatewright_documents.yaml_reader import read_yaml

from gatewright_controller.gateway_api import FILES_FOLDER, NODE_LABEL, GatewayNodes
from gatewright_controller.gateway_api.names import document_name, label_value

FIELD = "gatewayApiNodes"
CONTROLLER_LABEL = "gatewright.dev/gateway-controller"
"""Of the Deployments and Services that a controller makes: its controller name."""
NAME_LABEL = "gateway.networking.k8s.io/gateway-name"
MANAGED_LABEL = "app.kubernetes.io/managed-by"
DIGEST = "gatewright.dev/applied"
"""Annotation: of what was applied last."""
CONTAINER = "node"
FILES = "gateway-files"
"""The volume with the files of a Gateway."""
INSTANCE_LABEL = "app.kubernetes.io/instance"


class NodeTemplate(msgspec.Struct, frozen=True):
    """Both documents as they are written."""

    deployment: JsonObject
    service: JsonObject


def read_template(file: Path) -> NodeTemplate:
    """Raises `Invalid`."""
    try:
        documents = [read_yaml(part) for _, part in split_documents(file.read_bytes())]
    except OSError as error:
        raise _mistake(file, "a file that can be read", os_reason(error)) from None
    except Unreadable as unreadable:
        raise _mistake(file, "YAML", str(unreadable.mistakes[0])) from None
    kinds = {str(document.get("kind")): document for document in documents if isinstance(document, dict)}
    if sorted(kinds) != ["Deployment", "Service"] or len(documents) != 2:
        raise _mistake(file, "a Deployment and a Service", ", ".join(sorted(kinds)) or "neither")
    if _node_container(kinds["Deployment"]) is None:
        raise _mistake(file, f"a container {CONTAINER!r} in spec.template.spec.containers", "none")
    return NodeTemplate(kinds["Deployment"], kinds["Service"])


def node_objects(template: NodeTemplate, nodes: GatewayNodes, at: Placement) -> list[JsonObject]:
    """The Secret, the Deployment and the Service, in the order in which they are applied. All have one name."""
    made = (
        _secret(nodes, at),
        _deployment(template.deployment, nodes, at),
        _service(template.service, nodes, at),
    )
    return [_with_digest(document) for document in made]


class Placement(msgspec.Struct, frozen=True):
    """Where objects of a controller are. owner: the GatewayClass; None where it is not known."""

    namespace: str
    controller_name: str
    owner: JsonObject | None

    @property
    def labels(self) -> Mapping[str, str]:
        """That select all that this controller has made."""
        return {CONTROLLER_LABEL: label_value(*self.controller_name.split("/"))}


def object_name(nodes: GatewayNodes) -> str:
    """Of the Deployment, of the Service and of the Secret."""
    return document_name("gateway", *nodes.key[1:])


def addresses_of(service: JsonObject) -> list[JsonObject]:
    """Of a Gateway's status: where clients reach its Service; none while a load balancer has none yet."""
    spec = service.get("spec") or {}
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    if spec.get("type") == "LoadBalancer":
        return list(_ingress_addresses(ingress))
    external = spec.get("externalIPs") or []
    own = [address for address in spec.get("clusterIPs") or [spec.get("clusterIP")] if address and address != "None"]
    return [_address("IPAddress", value) for value in external or own]


def _ingress_addresses(ingress: Iterable[Mapping[str, str]]) -> Iterator[JsonObject]:
    for entry in ingress:
        if entry.get("ip"):
            yield _address("IPAddress", entry["ip"])
        elif entry.get("hostname"):
            yield _address("Hostname", entry["hostname"])


def _address(kind: str, value: str) -> JsonObject:
    return {"type": kind, "value": value}


def _deployment(template: JsonObject, nodes: GatewayNodes, at: Placement) -> JsonObject:
    deployment = copy.deepcopy(template)
    spec, pod = deployment["spec"], deployment["spec"]["template"]
    deployment["metadata"] = _metadata(deployment, nodes, at)
    metadata = pod.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **_own_labels(nodes, at)}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **nodes.infrastructure_annotations}
    spec["selector"] = {"matchLabels": _selector(metadata["labels"], nodes)}
    container = _node_container(deployment)
    assert container is not None
    labels = [f"--node-label={name}={value}" for name, value in sorted(nodes.labels.items())]
    container["args"] = [*container.get("args", []), "--join-gateway", *labels]
    mounts = container.get("volumeMounts", [])
    container["volumeMounts"] = [*mounts, {"name": FILES, "mountPath": FILES_FOLDER, "readOnly": True}]
    volume = {"name": FILES, "secret": {"secretName": object_name(nodes), "defaultMode": 0o440}}
    pod["spec"]["volumes"] = [*pod["spec"].get("volumes", []), volume]
    targets = sorted({(port.target, port.protocol) for port in nodes.ports})
    container["ports"] = [
        *container.get("ports", []),
        *({"containerPort": target, "protocol": protocol} for target, protocol in targets),
    ]
    return deployment


def _secret(nodes: GatewayNodes, at: Placement) -> JsonObject:
    data = {name: base64.b64encode(content).decode() for name, content in sorted(nodes.files.items())}
    metadata = _metadata({}, nodes, at)
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": data}


def _service(template: JsonObject, nodes: GatewayNodes, at: Placement) -> JsonObject:
    service = copy.deepcopy(template)
    service["metadata"] = _metadata(service, nodes, at)
    spec = service.setdefault("spec", {})
    spec["selector"] = dict(nodes.labels)
    spec["ports"] = [
        {"name": port.name, "port": port.number, "targetPort": port.target, "protocol": port.protocol}
        for port in nodes.ports
    ]
    asked = [address["value"] for address in nodes.addresses if address.get("type", "IPAddress") == "IPAddress"]
    if asked:
        spec["externalIPs"] = asked
    return service


def _metadata(document: JsonObject, nodes: GatewayNodes, at: Placement) -> JsonObject:
    written = document.get("metadata") or {}
    annotations = {**(written.get("annotations") or {}), **nodes.infrastructure_annotations}
    metadata: JsonObject = {
        "name": object_name(nodes),
        "namespace": at.namespace,
        "labels": {**(written.get("labels") or {}), **_own_labels(nodes, at)},
        "annotations": annotations,
    }
    if at.owner:
        metadata["ownerReferences"] = [
            {
                "apiVersion": at.owner["apiVersion"],
                "kind": at.owner["kind"],
                "name": at.owner["metadata"]["name"],
                "uid": at.owner["metadata"]["uid"],
            }
        ]
    return metadata


def _own_labels(nodes: GatewayNodes, at: Placement) -> JsonObject:
    """Those of the operator's Gateway go below those that this controller finds its objects by."""
    return {
        **nodes.infrastructure_labels,
        MANAGED_LABEL: "gatewright",
        NAME_LABEL: label_value(nodes.key[2]),
        **nodes.labels,
        **at.labels,
    }


def _selector(labels: Mapping[str, str], nodes: GatewayNodes) -> JsonObject:
    """Of a Deployment, which cannot be changed: what stays the same for as long as there is the Gateway."""
    instance = {INSTANCE_LABEL: labels[INSTANCE_LABEL]} if INSTANCE_LABEL in labels else {}
    return {**instance, NODE_LABEL: nodes.labels[NODE_LABEL]}


def _node_container(deployment: JsonObject) -> JsonObject | None:
    try:
        containers = deployment["spec"]["template"]["spec"]["containers"]
        return next((container for container in containers if container.get("name") == CONTAINER), None)
    except (KeyError, TypeError, AttributeError):
        return None


def _with_digest(document: JsonObject) -> JsonObject:
    digest = hashlib.sha256(msgspec.json.encode(document, order="sorted")).hexdigest()[:32]
    document["metadata"]["annotations"][DIGEST] = digest
    return document


def _mistake(file: Path, expected: str, got: str) -> Invalid:
    cure = "the chart renders one with gatewayApi.enabled"
    return Invalid([Mistake.expecting(f"{expected} in {file}", got, cure, field=FIELD)])
