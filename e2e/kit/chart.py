"""The Helm chart's files, and what Helm has rendered of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from e2e.kit.places import ROOT

Object = dict[str, Any]
HELM = ROOT / "deploy" / "helm"
CHART, RENDERS = HELM / "gatewright", HELM / "renders"
VALUES = tuple(sorted((HELM / "values").glob("*.yaml")))
DIGEST = RENDERS / "sources.sha256"
"""The digest of what the renders were made of."""
NOT_RENDERED = ("README.md", "values.schema.json")


def digest_of_sources() -> str:
    """The digest of the chart's templates and values, and of the files of values that it is rendered with."""
    digest = hashlib.sha256()
    files = [file for file in sorted(CHART.rglob("*")) if file.is_file() and file.name not in NOT_RENDERED]
    for file in (*files, *VALUES):
        digest.update(f"{file.relative_to(HELM)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def render_of(values: Path) -> Path:
    """The file with what Helm makes of a file of values."""
    return RENDERS / values.name


def objects(render: Path, kind: str = "") -> list[Object]:
    """The objects of a render, or those of a kind."""
    documents = [document for document in yaml.safe_load_all(render.read_text()) if document]
    return [document for document in documents if kind in ("", document["kind"])]


def pods(render: Path) -> Iterator[tuple[str, Object]]:
    """The pods of a render's Deployments, and of the one that the controller makes for each Gateway of Kubernetes, each
    with the name of its component."""
    deployments = [document for document in gateway_nodes(render) if document["kind"] == "Deployment"]
    for deployment in (*objects(render, "Deployment"), *deployments):
        template = deployment["spec"]["template"]
        yield template["metadata"]["labels"]["app.kubernetes.io/component"], template


def gateway_nodes(render: Path) -> list[Object]:
    """The Deployment and the Service from which the controller makes those of Gateways; none where it does not."""
    texts = [item["data"].get("nodes.yaml") for item in objects(render, "ConfigMap")]
    return [document for text in texts if text for document in yaml.safe_load_all(text)]


def container(pod: Object) -> Object:
    """A pod's only container."""
    (only,) = pod["spec"]["containers"]
    assert isinstance(only, dict)
    return only


def config(render: Path, file: str) -> str:
    """A file of the render's ConfigMap."""
    (data,) = [item["data"] for item in objects(render, "ConfigMap") if item["metadata"]["name"].endswith("-config")]
    text: str = data[file]
    return text
