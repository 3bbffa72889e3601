"""A release of the chart with two controllers on one PostgreSQL and three nodes, which is upgraded and disturbed."""

from __future__ import annotations

import random
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import postgresql_server

from e2e.kit.gateway import Json, eventually
from e2e.kubernetes.echo import echo
from e2e.kubernetes.lab import Cluster
from e2e.kubernetes.product import CHART, RELEASE, controller_of, make_secrets, render, secret

NAMESPACE = "rolling"
VALUES = Path(__file__).parent / "testdata" / "rolling.yaml"
NODES, SERVICE = f"{RELEASE}-gatewright-nodes", f"{RELEASE}-gatewright"
CONTROLLER = controller_of(RELEASE)
COMPONENTS = {"controller": CONTROLLER, "nodes": NODES}
"""The Deployment of each component."""
TRAFFIC_PORT, MANAGEMENT_PORT = 8080, 9090
UPSTREAM = "http://echo.rolling.svc:3000"


@dataclass
class Fleet:
    """token: of the management API. authority: who signs the controllers' certificate."""

    cluster: Cluster
    database: postgresql_server.Server
    token: str
    authority: str

    def upgrade(self, tag: str, chart: Path = CHART) -> None:
        """As `helm upgrade` does it: all that the chart makes, at once."""
        self.cluster.client.apply(render(NAMESPACE, VALUES, chart=chart, settings=[f"image.tag={tag}"]))

    def is_settled(self) -> bool:
        """Whether all pods are of the newest templates and ready, and none is on its way out."""
        assert not self.cluster.runner.failures, self.cluster.runner.failures
        counts = [len(self.pods(component)) for component in COMPONENTS]
        deployments = [
            self.cluster.client.get("apps/v1", "Deployment", name, NAMESPACE) for name in COMPONENTS.values()
        ]
        return all(map(_is_complete, deployments, counts))

    def wait_settled(self, seconds: float = 400) -> None:
        eventually(f"all pods are of the newest templates and ready ({self.cluster.folder})", self.is_settled, seconds)

    def pods(self, component: str) -> list[Json]:
        selector = f"app.kubernetes.io/component={component}"
        return self.cluster.client.list("v1", "Pod", NAMESPACE, labelSelector=selector)

    def evict_any(self, chance: random.Random, spared: str) -> str:
        """Evicts one of all pods, where its PodDisruptionBudget allows it; its name, "" for none. spared: nodes of this
        image stay."""
        nodes = [pod for pod in self.pods("nodes") if pod["spec"]["containers"][0]["image"] != spared]
        pods = [*self.pods("controller"), *nodes]
        candidates = [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        name = chance.choice(candidates)
        return name if self.cluster.client.evict(name, NAMESPACE) else ""

    def address(self, service: str) -> str:
        """Of its balancer; "" before there is one."""
        status = self.cluster.client.get("v1", "Service", service, NAMESPACE)["status"]
        return str(status["loadBalancer"].get("ingress", [{"ip": ""}])[0]["ip"])

    def management(self) -> httpx.Client:
        """A client of either controller: its connection is a new one. The certificate does not name the address."""
        trust = ssl.create_default_context(cadata=self.authority)
        trust.check_hostname = False
        headers = {"authorization": f"Bearer {self.token}"}
        url = f"https://{self.address(CONTROLLER)}:{MANAGEMENT_PORT}"
        return httpx.Client(base_url=url, headers=headers, verify=trust, timeout=30)

    def releases(self, apis: Sequence[str]) -> set[str]:
        """Which versions of the policy answer at each of the nodes, for these APIs."""
        addresses = [pod["status"]["podIP"] for pod in self.pods("nodes")]
        answers = [httpx.get(f"http://{address}:{TRAFFIC_PORT}/{api}/x") for address in addresses for api in apis]
        return {f"{answer.status_code} {answer.headers.get('x-release', '')}".strip() for answer in answers}


def deploy(cluster: Cluster, database: postgresql_server.Server, url: str, tag: str, chart: Path) -> Fleet:
    """The release, ready, and the upstream of its APIs."""
    made = make_secrets(cluster, NAMESPACE)
    cluster.client.apply(secret(NAMESPACE, "gatewright-database", {"url": url.encode()}))
    cluster.client.apply(echo("echo", NAMESPACE))
    fleet = Fleet(cluster, database, made["token"].decode(), made["ca.crt"].decode())
    fleet.upgrade(tag, chart)
    fleet.wait_settled()
    cluster.wait_deployed(NAMESPACE, "echo")
    for service in (SERVICE, CONTROLLER):
        eventually(f"{service} has an address", lambda service=service: fleet.address(service))  # type: ignore[misc]
    return fleet


def _is_complete(deployment: Json, pods: int) -> bool:
    status, wanted = deployment.get("status", {}), deployment["spec"]["replicas"]
    is_seen = status.get("observedGeneration") == deployment["metadata"]["generation"]
    counts = (status.get("updatedReplicas"), status.get("availableReplicas"), status.get("replicas"), pods)
    return is_seen and counts == (wanted,) * len(counts)
