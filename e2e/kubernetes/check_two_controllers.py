"""Two controllers of one PostgreSQL, as the chart runs them: one leads, and the other goes on where it is killed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import httpx
import postgresql_server
import pytest
import yaml

from e2e.kit.gateway import eventually
from e2e.kubernetes.echo import echo
from e2e.kubernetes.lab import Cluster
from e2e.kubernetes.lab.client import Json, path_of
from e2e.kubernetes.lab.network import HOST
from e2e.kubernetes.product import GATEWAY_API, VALUES, Product, install_release

RELEASE = NAMESPACE = CLASS = "two-controllers"
CONTROLLER_NAME = f"gatewright.dev/{CLASS}"
PORT = 5432
LEASE_SECONDS = 15
"""After which another controller leads where a leader has not given its Lease back."""
PAUSE_SECONDS = 0.05
GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: pair, namespace: two-controllers}
spec: {gatewayClassName: two-controllers, listeners: [{name: http, port: 80, protocol: HTTP}]}
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: NAME, namespace: two-controllers}
spec:
  parentRefs: [{name: pair}]
  rules: [{matches: [{path: {value: /NAME}}], backendRefs: [{name: echo, port: 80}]}]
"""


@pytest.fixture(scope="module", name="release")
def _release(product: Product) -> Iterator[Product]:
    """Two controllers of a PostgreSQL beside the pods, with a GatewayClass of their own."""
    cluster = product.cluster
    with postgresql_server.server(PORT, address=HOST) as server:
        user, password, database = postgresql_server.USER, postgresql_server.PASSWORD, postgresql_server.DATABASE
        url = f"postgresql://{user}:{password}@{HOST}:{server.port}/{database}"
        values = VALUES, VALUES.with_name("two-controllers.yaml")
        install_release(cluster, RELEASE, NAMESPACE, *values, database={"url": url.encode()})
        release = Product(cluster, NAMESPACE, CONTROLLER_NAME)
        release.add_class(CLASS)
        yield release
        for kind in ("Gateway", "GatewayClass"):
            name, namespace = ("pair", NAMESPACE) if kind == "Gateway" else (CLASS, "")
            cluster.client.delete(GATEWAY_API, kind, name, namespace)
        cluster.client.delete("apps/v1", "Deployment", f"{RELEASE}-gatewright-controller", NAMESPACE)


def leader(cluster: Cluster) -> str:
    """The pod that has the Lease; "" while none has it."""
    lease = cluster.client.get("coordination.k8s.io/v1", "Lease", f"gatewright.dev-{CLASS}", NAMESPACE)
    return str(lease["spec"].get("holderIdentity") or "").rpartition("_")[0]


def is_programmed(cluster: Cluster, route: Json) -> bool:
    """Whether all nodes have acknowledged it, by the controller that leads."""
    found = cluster.client.get(GATEWAY_API, "HTTPRoute", route["metadata"]["name"], NAMESPACE)
    conditions = [entry for parent in found.get("status", {}).get("parents", []) for entry in parent["conditions"]]
    return any(entry["type"] == "Programmed" and entry["status"] == "True" for entry in conditions)


def add_route(cluster: Cluster, name: str, seconds: float) -> None:
    route = yaml.safe_load(ROUTE.replace("NAME", name))
    cluster.client.apply(route)
    eventually(f"{path_of(route)} is programmed", lambda: is_programmed(cluster, route), seconds)


def answers_at(url: str) -> bool:
    """Whether the balancer leads to a node. A Service has a pod as an endpoint only after the pod's node is ready."""
    try:
        return httpx.get(url, timeout=10).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@contextlib.contextmanager
def asked(url: str) -> Iterator[list[str]]:
    """What a client is answered that asks again and again meanwhile: statuses, or errors."""
    answers, ended = list[str](), threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=10) as client:
            while not ended.wait(PAUSE_SECONDS):
                try:
                    answers.append(str(client.get(url).status_code))
                except httpx.TransportError as error:
                    answers.append(repr(error))

    thread = threading.Thread(target=ask, name="client")
    thread.start()
    try:
        yield answers
    finally:
        ended.set()
        thread.join()


def test_each_goes_on_where_the_other_is_killed(release: Product) -> None:
    """Neither nodes nor their clients notice; what is changed afterwards reaches the nodes by the other one."""
    cluster = release.cluster
    cluster.client.apply(GATEWAY)
    cluster.client.apply(echo("echo", NAMESPACE))
    address = release.address("pair", NAMESPACE)
    add_route(cluster, "before", 60)
    url = f"http://{address}/before"
    eventually("the balancer leads to a node", lambda: answers_at(url), 60)
    with asked(url) as answers:
        leaders = [leader(cluster)]
        for name in ("first", "second"):
            began = time.monotonic()
            cluster.runner.kill(NAMESPACE, leaders[-1])
            eventually("the other one leads", lambda: leader(cluster) not in ("", leaders[-1]), 60)
            print(f"{leaders[-1]} killed: another one leads after {time.monotonic() - began:.1f} s", end=", ")
            leaders.append(leader(cluster))
            add_route(cluster, name, 60)
            print(f"a new route is programmed after {time.monotonic() - began:.1f} s")
            cluster.wait_deployed(NAMESPACE, f"{RELEASE}-gatewright-controller", 120)
    assert leaders[0] == leaders[2] != leaders[1]
    assert len(answers) > LEASE_SECONDS / PAUSE_SECONDS / 2
    assert set(answers) == {"200"}
