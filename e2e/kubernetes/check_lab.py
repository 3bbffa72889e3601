"""The cluster that the other tests of this room run in: its pods, Services and files are as a cluster has them."""

from __future__ import annotations

import base64
from functools import partial

import httpx

from e2e.kit.gateway import eventually
from e2e.kubernetes.echo import IMAGE
from e2e.kubernetes.lab import Cluster
from e2e.kubernetes.lab.client import Json


def _deployment(name: str, replicas: int, container: Json, **spec: object) -> Json:
    labels = {"app": name}
    pod = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "main", "image": IMAGE} | container], **spec},
    }
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod},
    }  # fmt: skip


def _service(name: str, **spec: object) -> Json:
    ports = [{"name": "http", "port": 80, "targetPort": 3000}]
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": name}, "ports": ports, **spec},
    }  # fmt: skip


def _log_of(pod: str) -> str:
    return f"/api/v1/namespaces/default/pods/{pod}/log"


def _endpoints(cluster: Cluster, name: str) -> set[str]:
    slices = cluster.client.list(
        "discovery.k8s.io/v1", "EndpointSlice", "default", labelSelector=f"kubernetes.io/service-name={name}"
    )
    return {address for found in slices for endpoint in found["endpoints"] for address in endpoint["addresses"]}


def test_pods_answer_at_their_addresses_and_are_endpoints_of_their_service(cluster: Cluster) -> None:
    names = [
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
    ]
    probe = {"httpGet": {"path": "/health", "port": 3000}, "periodSeconds": 1}
    cluster.client.apply([_service("echo"), _deployment("echo", 2, {"env": names, "readinessProbe": probe})])
    cluster.wait_deployed("default", "echo")
    addresses = cluster.pod_addresses("default", app="echo")
    answers = [httpx.get(f"http://{address}:3000/x").json() for address in addresses]
    assert {answer["namespace"] for answer in answers} == {"default"}
    assert len({answer["pod"] for answer in answers}) == 2
    name = answers[0]["pod"]
    eventually("the pod's log has the request", lambda: "made to /x" in cluster.client.text(_log_of(name)))
    eventually("both are endpoints", lambda: _endpoints(cluster, "echo") == set(addresses))
    cluster.client.apply(_deployment("echo", 1, {"env": names, "readinessProbe": probe}))
    eventually("one is an endpoint", lambda: len(_endpoints(cluster, "echo")) == 1)


def test_a_secret_is_files_of_the_pod_and_a_pod_waits_for_it(cluster: Cluster) -> None:
    container: Json = {
        "env": [
            {"name": "TLS_SERVER_CERT", "value": "/etc/secret-volume/crt"},
            {"name": "TLS_SERVER_PRIVKEY", "value": "/etc/secret-volume/key"},
        ],
        "volumeMounts": [{"name": "pair", "mountPath": "/etc/secret-volume"}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": 8443, "scheme": "HTTPS"}, "periodSeconds": 1},
    }
    items = [{"key": "tls.crt", "path": "crt"}, {"key": "tls.key", "path": "key"}]
    volumes = [{"name": "pair", "secret": {"secretName": "pair", "items": items}}]
    cluster.client.apply(_deployment("secure", 1, container, volumes=volumes))
    pods = partial(cluster.client.list, "v1", "Pod", "default", labelSelector="app=secure")
    eventually("the pod says what it lacks", lambda: '"pair" not found' in str([pod["status"] for pod in pods()]))
    files = {"tls.crt": cluster.folder / "apiserver.pem", "tls.key": cluster.folder / "apiserver.key"}
    data = {name: base64.b64encode(file.read_bytes()).decode() for name, file in files.items()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pair", "namespace": "default"}, "data": data}
    cluster.client.apply(secret)
    cluster.wait_deployed("default", "secure")


def test_a_load_balancer_has_an_address_that_leads_to_all_pods(cluster: Cluster) -> None:
    names = [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    cluster.client.apply([_service("balanced", type="LoadBalancer"), _deployment("balanced", 2, {"env": names})])
    cluster.wait_deployed("default", "balanced")

    def address() -> str:
        status = cluster.client.get("v1", "Service", "balanced", "default")["status"]
        return str(status["loadBalancer"].get("ingress", [{"ip": ""}])[0]["ip"])

    eventually("it has an address", address)
    pods: set[str] = set()

    def has_met_both() -> bool:
        try:
            pods.add(httpx.get(f"http://{address()}/x").json()["pod"])
        except httpx.TransportError:
            return False
        return len(pods) == 2

    eventually("both answer", has_met_both)


def test_a_container_that_ends_starts_again_and_a_pod_that_is_deleted_is_away(cluster: Cluster) -> None:
    cluster.client.apply(_deployment("ends", 1, {"command": ["sh", "-c", "exit 3"]}))
    pods = partial(cluster.client.list, "v1", "Pod", "default", labelSelector="app=ends")

    def restarts() -> int:
        statuses = [status for pod in pods() for status in pod["status"].get("containerStatuses", [])]
        return max((status["restartCount"] for status in statuses), default=0)

    eventually("it starts again", lambda: restarts() > 1)
    cluster.client.delete("apps/v1", "Deployment", "ends", "default")
    eventually("its pods are away", lambda: not pods())
