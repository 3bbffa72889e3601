"""The controller's side of Gateway API in a real API server: who leads, what is written, and what is put back.

The controllers of these tests are processes beside the cluster's own, of another controllerName, and their Deployments
have no replicas.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from e2e.kit.cut_network import running_network
from e2e.kit.gateway import eventually
from e2e.kubernetes.lab import Cluster
from e2e.kubernetes.lab.client import Json, path_of
from e2e.kubernetes.lab.control_plane import OTHER_PORT, PORT, ApiServer
from e2e.kubernetes.lab.network import HOST
from e2e.kubernetes.lab.programs import gateway_api_kinds
from e2e.kubernetes.product import CONTROLLER_NAME as OF_THE_CHART
from e2e.kubernetes.product import NAMESPACE as EDGE
from e2e.kubernetes.product import Product

CONTROLLER_NAME, OTHERS = "gatewright.dev/checked", "example.com/other"
GATEWAY_API = "gateway.networking.k8s.io/v1"
NAMESPACE = "checked"
CLASS: Json = {
    "apiVersion": GATEWAY_API,
    "kind": "GatewayClass",
    "metadata": {"name": "checked"},
    "spec": {"controllerName": CONTROLLER_NAME},
}
TEMPLATE = """
kind: Deployment
apiVersion: apps/v1
spec:
  replicas: 0
  template:
    spec:
      containers: [{name: node, image: gatewright, args: [--join=controller]}]
---
kind: Service
apiVersion: v1
spec: {type: ClusterIP}
"""
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/gatewright.dev-checked"
GATEWAYS = f"/apis/{GATEWAY_API}/namespaces/{NAMESPACE}/gateways"
SECONDS = 120
"""The longest wait: a busy machine takes 40 s to start a controller."""
CLOSED = 1
"""A port at which nothing listens."""
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(scope="module", name="http")
def _http(cluster: Cluster) -> Iterator[httpx.Client]:
    cluster.client.apply(gateway_api_kinds())
    eventually("the kinds are served", lambda: cluster.client.exists(f"/apis/{GATEWAY_API}/gatewayclasses"), SECONDS)
    cluster.client.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, CLASS])
    with httpx.Client(**cluster.client.options) as http:
        yield http


@pytest.fixture(name="start")
def _start(cluster: Cluster, build: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts a controller of this name, of the cluster's API server or of that of another kubeconfig."""
    template = tmp_path / "nodes.yaml"
    template.write_text(TEMPLATE)
    with contextlib.ExitStack() as running:

        def start(name: str, kubeconfig: Path = cluster.kubeconfig) -> subprocess.Popen[bytes]:
            options = {
                "listen": "127.0.0.1:0", "node-listen": f"unix:{tmp_path / name}.sock",
                "definitions": build / "policy-definitions", "database": f"sqlite:{tmp_path / name}.db",
                "gateway-api-controller": CONTROLLER_NAME, "gateway-api-namespace": NAMESPACE,
                "gateway-api-nodes": template, "kubeconfig": kubeconfig,
            }  # fmt: skip
            words = [f"--{option}={value}" for option, value in options.items()]
            log = running.enter_context((tmp_path / f"{name}.log").open("wb"))
            command = [sys.executable, "-m", "gatewright_controller", "--gateway-api", *words]
            process = subprocess.Popen(command, stdout=log, stderr=log)
            running.callback(process.wait)
            running.callback(process.kill)
            return process

        yield start


def gateway(name: str) -> Json:
    listener = {"name": "http", "port": 80, "protocol": "HTTP"}
    spec = {"gatewayClassName": "checked", "listeners": [listener]}
    return {"apiVersion": GATEWAY_API, "kind": "Gateway", "metadata": named(name), "spec": spec}


def route(name: str, parent: str) -> Json:
    spec = {"parentRefs": [{"name": parent}], "hostnames": [f"{name}.example"], "rules": [{}]}
    return {"apiVersion": GATEWAY_API, "kind": "HTTPRoute", "metadata": named(name), "spec": spec}


def named(name: str) -> Json:
    return {"name": name, "namespace": NAMESPACE}


class Seen:
    """An object as the API server has it."""

    def __init__(self, http: httpx.Client, document: Json) -> None:
        self._http, self._path = http, path_of(document)

    def now(self) -> Json:
        found: Json = self._http.get(self._path).json()
        return found

    def version(self) -> str:
        version: str = self.now()["metadata"]["resourceVersion"]
        return version

    def parents(self) -> list[str]:
        """Names of the controllers that have written its status."""
        return [entry["controllerName"] for entry in self.now().get("status", {}).get("parents", [])]

    def merge(self, patch: Json, subresource: str = "") -> None:
        headers = {"content-type": "application/merge-patch+json"}
        answer = self._http.patch(f"{self._path}{subresource}", content=json.dumps(patch), headers=headers)
        assert answer.is_success, answer.text

    def delete(self) -> None:
        assert self._http.delete(self._path).is_success


def holder(http: httpx.Client, lease_path: str = LEASE) -> str:
    lease = http.get(lease_path)
    return str(lease.json()["spec"].get("holderIdentity") or "") if lease.is_success else ""


def made(http: httpx.Client, kind: str, of: str) -> list[Json]:
    """What the controller has made for a Gateway."""
    paths = {"Deployment": "/apis/apps/v1", "Service": "/api/v1", "Secret": "/api/v1"}
    query = {"labelSelector": f"gateway.networking.k8s.io/gateway-name={of}"}
    found: list[Json] = http.get(f"{paths[kind]}/namespaces/{NAMESPACE}/{kind.lower()}s", params=query).json()["items"]
    return found


def uids(objects: list[Json]) -> set[str]:
    return {found["metadata"]["uid"] for found in objects}


def test_statuses_are_written_where_they_differ_and_beside_those_of_others(
    cluster: Cluster, http: httpx.Client, start: Start
) -> None:
    start("a")
    cluster.client.apply([gateway("web"), route("shop", "web")])
    shop, web = Seen(http, route("shop", "web")), Seen(http, gateway("web"))
    eventually("the route has a status", lambda: shop.parents() == [CONTROLLER_NAME], SECONDS)
    eventually("the Gateway has an address", lambda: bool(web.now().get("status", {}).get("addresses")), SECONDS)
    condition = {"type": "Accepted", "status": "True", "reason": "Accepted", "message": ""}
    foreign = {"parentRef": {"name": "other"}, "controllerName": OTHERS}
    conditions = [{**condition, "lastTransitionTime": "2020-01-01T00:00:00Z"}]
    shop.merge({"status": {"parents": [{**foreign, "conditions": conditions}]}}, "/status")
    eventually("ours is back", lambda: shop.parents() == [OTHERS, CONTROLLER_NAME], SECONDS)
    versions = shop.version(), web.version()
    cluster.client.apply(route("stock", "web"))
    stock = Seen(http, route("stock", "web"))
    eventually("another route has a status", lambda: stock.parents() == [CONTROLLER_NAME], SECONDS)
    assert shop.version() == versions[0]  # nothing of it has changed; the Gateway counts one route more
    shop.merge({"spec": {"parentRefs": [{"name": "nowhere"}]}})
    eventually("ours is gone and theirs is there", lambda: shop.parents() == [OTHERS], SECONDS)


def test_what_it_has_made_is_put_back_and_goes_with_its_gateway(
    cluster: Cluster, http: httpx.Client, start: Start
) -> None:
    start("a")
    cluster.client.apply(gateway("back"))
    eventually("there is a Deployment", lambda: len(made(http, "Deployment", "back")) == 1, SECONDS)
    eventually("there is a Service", lambda: len(made(http, "Service", "back")) == 1, SECONDS)
    (deployment,) = made(http, "Deployment", "back")
    assert deployment["metadata"]["ownerReferences"][0]["kind"] == "GatewayClass"
    seen = Seen(http, {**deployment, "apiVersion": "apps/v1", "kind": "Deployment"})
    seen.merge({"spec": {"replicas": 7, "paused": True}})
    eventually("the number of replicas is the template's", lambda: seen.now()["spec"]["replicas"] == 0, SECONDS)
    assert seen.now()["spec"]["paused"] is True  # a field that it has not written is not its own
    (service,) = made(http, "Service", "back")
    Seen(http, {**service, "apiVersion": "v1", "kind": "Service"}).delete()
    eventually(
        "there is another Service", lambda: uids(made(http, "Service", "back")).isdisjoint(uids([service])), SECONDS
    )
    eventually("it is there", lambda: len(made(http, "Service", "back")) == 1, SECONDS)
    Seen(http, gateway("back")).delete()
    for kind in ("Deployment", "Service", "Secret"):
        eventually(f"no {kind} is left", lambda kind=kind: not made(http, kind, "back"), SECONDS)  # type: ignore[misc]


def test_one_leads_and_the_other_takes_over(cluster: Cluster, http: httpx.Client, start: Start) -> None:
    cluster.client.apply(gateway("led"))
    first = start("a")
    eventually("the first one leads", lambda: bool(holder(http)), SECONDS)
    leader = holder(http)
    second = start("b")
    first.send_signal(signal.SIGSTOP)
    eventually("the second one leads", lambda: holder(http) not in ("", leader), SECONDS)
    after = holder(http)
    cluster.client.apply(route("late", "led"))
    late = Seen(http, route("late", "led"))
    eventually("it writes", lambda: late.parents() == [CONTROLLER_NAME], SECONDS)
    version = late.version()
    first.send_signal(signal.SIGCONT)
    time.sleep(3)  # in which one that took itself for the leader would have written
    assert (late.version(), holder(http)) == (version, after)
    second.send_signal(signal.SIGTERM)
    began = time.monotonic()
    eventually("the first one leads again", lambda: holder(http) not in ("", after), SECONDS)
    assert time.monotonic() - began < 8  # of the 15 s of a Lease that is not given back


@pytest.fixture(scope="module", name="other")
def _other(cluster: Cluster) -> Iterator[ApiServer]:
    """Another API server of the cluster, which the cluster itself does not use."""
    with cluster.plane.another_api_server() as server:
        yield server


def test_what_an_api_server_has_forgotten_is_listed_again(
    cluster: Cluster, http: httpx.Client, start: Start, other: ApiServer
) -> None:
    """A leader whose API server another one takes the place of, which does not know the versions of its watches."""
    behind, goes = Seen(http, route("behind", "stays")), Seen(http, gateway("goes"))
    with running_network(PORT, HOST) as network:
        start("a", cluster.plane.write_kubeconfig("switched", f"https://127.0.0.1:{network.port}"))
        cluster.client.apply([gateway("stays"), gateway("goes")])
        eventually("there is a Deployment", lambda: len(made(http, "Deployment", "goes")) == 1, SECONDS)
        leader, version = holder(http), http.get(GATEWAYS).json()["metadata"]["resourceVersion"]
        network.redirect(CLOSED)
        goes.delete()
        cluster.client.apply(route("behind", "stays"))
        network.redirect(OTHER_PORT)
        eventually("the route has a status", lambda: behind.parents() == [CONTROLLER_NAME], SECONDS)
        eventually("no Deployment is left", lambda: not made(http, "Deployment", "goes"), SECONDS)
        assert holder(http) == leader
    query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "5"}
    assert '"code":410' in other.client.text(f"{GATEWAYS}?{urlencode(query)}")


def test_what_changes_while_the_api_server_is_away_is_found(
    cluster: Cluster, http: httpx.Client, start: Start, other: ApiServer
) -> None:
    returned, goes = Seen(http, route("returned", "away")), Seen(http, gateway("goes"))
    start("a", other.kubeconfig)
    cluster.client.apply([gateway("away"), gateway("goes")])
    eventually("there is a Deployment", lambda: len(made(http, "Deployment", "goes")) == 1, SECONDS)
    other.kill()
    goes.delete()
    cluster.client.apply(route("returned", "away"))
    other.start()
    eventually("the route has a status", lambda: returned.parents() == [CONTROLLER_NAME], SECONDS)
    eventually("no Deployment is left", lambda: not made(http, "Deployment", "goes"), SECONDS)


def test_a_controller_that_starts_anew_takes_nothing_back(
    product: Product, cluster: Cluster, http: httpx.Client
) -> None:
    """What nodes serve stays programmed while they look for the new leader, which then hears from them again."""
    product.add_class("anew")
    document = gateway("anew") | {"spec": {**gateway("anew")["spec"], "gatewayClassName": "anew"}}
    cluster.client.apply([document, route("before", "anew")])
    product.address("anew", NAMESPACE)
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{EDGE}/leases/{OF_THE_CHART.replace('/', '-')}"
    leader = holder(http, lease)
    for pod in cluster.client.list("v1", "Pod", EDGE, labelSelector="app.kubernetes.io/component=controller"):
        cluster.client.delete("v1", "Pod", pod["metadata"]["name"], EDGE)
    seen = [True]

    def is_led() -> bool:
        seen.append(product.has(document, "Programmed"))
        return holder(http, lease) not in ("", leader)

    eventually("another one leads", is_led, 120)
    after = Seen(http, route("after", "anew"))
    cluster.client.apply(route("after", "anew"))

    def is_acknowledged() -> bool:
        seen.append(product.has(document, "Programmed"))
        parents = after.now().get("status", {}).get("parents", [])
        conditions = [entry for parent in parents for entry in parent["conditions"]]
        return any(entry["type"] == "Programmed" and entry["status"] == "True" for entry in conditions)

    eventually("a node has acknowledged another route", is_acknowledged, SECONDS)
    assert all(seen)
