"""The product in a cluster: the chart as Helm renders it, and a GatewayClass of its controller."""

from __future__ import annotations

import base64
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from e2e.kit.certificates import authority
from e2e.kit.gateway import eventually
from e2e.kit.places import ROOT
from e2e.kubernetes.lab import Cluster
from e2e.kubernetes.lab.client import Json
from e2e.kubernetes.lab.programs import gateway_api_kinds, program

RELEASE, NAMESPACE = "gateway", "edge"
CONTROLLER_NAME = "gatewright.dev/gateway-controller"
CHART = ROOT / "deploy" / "helm" / "gatewright"
VALUES = Path(__file__).parent / "testdata" / "values.yaml"
GATEWAY_API = "gateway.networking.k8s.io/v1"


@dataclass(frozen=True)
class Product:
    """A release of the chart. namespace: where it is. controller_name: of its GatewayClasses."""

    cluster: Cluster
    namespace: str = NAMESPACE
    controller_name: str = CONTROLLER_NAME

    @property
    def version(self) -> str:
        return str(yaml.safe_load((CHART / "Chart.yaml").read_text())["version"])

    def add_class(self, name: str) -> None:
        """A GatewayClass, which the controller has accepted."""
        spec = {"controllerName": self.controller_name}
        document = {"apiVersion": GATEWAY_API, "kind": "GatewayClass", "metadata": {"name": name}, "spec": spec}
        self.cluster.client.apply(document)
        eventually(f"GatewayClass {name} is accepted", lambda: self.has(document, "Accepted"), 60)

    def has(self, document: Json, condition: str) -> bool:
        """Whether this condition of the object is true."""
        metadata = document["metadata"]
        namespace = metadata.get("namespace", "")
        found = self.cluster.client.get(document["apiVersion"], document["kind"], metadata["name"], namespace)
        conditions = found.get("status", {}).get("conditions", [])
        return any(entry["type"] == condition and entry["status"] == "True" for entry in conditions)

    def address(self, name: str, namespace: str) -> str:
        """Of a Gateway, once it is programmed."""
        document = {"apiVersion": GATEWAY_API, "kind": "Gateway", "metadata": {"name": name, "namespace": namespace}}
        eventually(f"Gateway {name} is programmed", lambda: self.has(document, "Programmed"), 120)
        gateway = self.cluster.client.get(GATEWAY_API, "Gateway", name, namespace)
        return str(gateway["status"]["addresses"][0]["value"])


def install(cluster: Cluster) -> Product:
    """The kinds of Gateway API, and the chart with that of ours, in a cluster that has neither."""
    cluster.client.apply(gateway_api_kinds())
    eventually(
        "the kinds of Gateway API are served", lambda: cluster.client.exists(f"/apis/{GATEWAY_API}/gatewayclasses"), 30
    )
    install_release(cluster, RELEASE, NAMESPACE, VALUES)
    return Product(cluster)


def install_release(
    cluster: Cluster, release: str, namespace: str, *values: Path, **files: Mapping[str, bytes]
) -> None:
    """The chart, in a namespace of its own. files: of further Secrets, by what follows `gatewright-` in their names."""
    make_secrets(cluster, namespace, release)
    cluster.client.apply([secret(namespace, f"gatewright-{name}", data) for name, data in files.items()])
    cluster.client.apply(render(namespace, *values, release=release))
    cluster.wait_deployed(namespace, controller_of(release), 180)


def controller_of(release: str) -> str:
    """The name of the controller's Deployment and Service."""
    return f"{release}-gatewright-controller"


def make_secrets(cluster: Cluster, namespace: str, release: str = RELEASE) -> dict[str, bytes]:
    """The namespace, and what the chart's values name: the controller's certificate and the tokens, which it returns,
    with the authority as ca.crt."""
    cluster.client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    folder = cluster.folder / namespace
    folder.mkdir()
    signer = authority(folder)
    certificate, key = signer.issue("controller", f"{controller_of(release)}.{namespace}.svc", "localhost")
    pair = {"tls.crt": certificate.read_bytes(), "tls.key": key.read_bytes(), "ca.crt": signer.file.read_bytes()}
    tokens = {name: secrets.token_hex(16).encode() for name in ("token", "node-token")}
    cluster.client.apply([secret(namespace, "gatewright-tls", pair), secret(namespace, "gatewright-tokens", tokens)])
    return {**tokens, "ca.crt": pair["ca.crt"]}


def render(
    namespace: str, *values: Path, release: str = RELEASE, chart: Path = CHART, settings: Sequence[str] = ()
) -> str:
    """The manifests of the release in this namespace. settings: VALUE=TEXT, which count over the files of values."""
    options = [*(("--values", str(file)) for file in values), *(("--set", setting) for setting in settings)]
    command = [program("helm"), "template", release, str(chart), "--namespace", namespace]
    command += [word for option in options for word in option]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def secret(namespace: str, name: str, data: Mapping[str, bytes]) -> Json:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}
