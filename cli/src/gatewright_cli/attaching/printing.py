"""The text that `gatewright attach --print` prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_writer import yaml_text

from gatewright_cli.attaching import envoy, kubernetes
from gatewright_cli.attaching.target import Target


@dataclass(frozen=True)
class Kind:
    """What configures the other Envoy. attach_to: how the Api names the route. place: where the operator puts what is
    printed. In both {route} and {namespace} are the target's.
    """

    documents: Callable[[Target], list[JsonObject]]
    attach_to: str
    place: str


KINDS = {
    "envoy": Kind(
        envoy.static_parts,
        "{route}",
        "http_filters: before the router, behind all filters that change the path or clear the route cache.\n"
        "# clusters: among static_resources. The route has `name: {route}`, and the connection manager\n"
        "# `normalize_path: true` and `merge_slashes: true`.",
    ),
    "envoy-gateway": Kind(
        kubernetes.envoy_gateway,
        "httproute/{namespace}/{route}/*",
        "kubectl apply -f -. It is for the HTTPRoute {route}.",
    ),
    "istio": Kind(
        kubernetes.istio,
        "{route}",
        "kubectl apply -f -. The VirtualService names its route: `spec.http[].name: {route}`.\n"
        "# The port of the engine's Service is named grpc. Istio normalizes paths with `meshConfig.pathNormalization:\n"
        "# {{normalization: MERGE_SLASHES}}`.",
    ),
    "kgateway": Kind(
        kubernetes.kgateway,
        "{route}",
        "kubectl apply -f -. It is for the HTTPRoute {route}. The port of the engine's Service has\n"
        "# `appProtocol: kubernetes.io/h2c`.",
    ),
    "cilium": Kind(
        kubernetes.cilium,
        "{route}",
        "kubectl apply -f -. It redirects requests for the Service {route}. Cilium's Envoy must have ext_proc.",
    ),
}


def attachment_text(kind: str, target: Target) -> str:
    """Documents of YAML, below what the operator has to know. Raises ValueError for an address of another form."""
    names = {"route": target.route, "namespace": target.namespace}
    found = KINDS[kind]
    head = f"# The Api says `attachTo: [{found.attach_to.format(**names)}]`.\n# {found.place.format(**names)}\n"
    return head + "---\n".join(yaml_text(document) for document in found.documents(target))
