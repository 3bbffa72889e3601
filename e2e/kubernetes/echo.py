"""The suite's echo as an upstream: a Service, and its pods, which say in their answers which one answers."""

from __future__ import annotations

from e2e.kubernetes.lab.client import Json

IMAGE = "registry.k8s.io/gateway-api/echo-basic:v1.5.1"
PORT = 3000


def echo(name: str, namespace: str, replicas: int = 1) -> list[Json]:
    """A Service and a Deployment of this name. The Service has the pods' port too, as its name is theirs."""
    metadata, labels = {"name": name, "namespace": namespace}, {"app": name}
    ports = [{"name": "http", "port": 80, "targetPort": PORT}, {"name": "pods", "port": PORT}]
    fields = {"POD_NAME": "metadata.name", "NAMESPACE": "metadata.namespace"}
    container = {
        "name": "echo",
        "image": IMAGE,
        "env": [{"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}} for key, path in fields.items()],
        "readinessProbe": {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 1},
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": labels, "ports": ports}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec},
    ]
