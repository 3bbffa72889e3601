"""The commands of the chart and of the Compose file, run as they stand: a controller and a node that joins it."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.as_deployed import Place, wait_for
from e2e.kit.attachments import SAMPLE
from e2e.kit.certificates import authority
from e2e.kit.chart import RENDERS, Object, config, container, pods
from e2e.kit.gateway import api, eventually
from e2e.kit.listening import free_port
from e2e.kit.places import ROOT
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(180)
COMPOSE = ROOT / "deploy" / "compose"
MANAGEMENT, NODES, TRAFFIC, ADMIN = 9090, 9443, 8080, 9901


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def free_ports() -> dict[int, int]:
    return {port: free_port() for port in (MANAGEMENT, NODES, TRAFFIC, ADMIN)}


def secret(folder: Path, **files: str | bytes) -> Path:
    """A Secret's volume: readable by the owner and the group."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        file = folder / name.replace("__", "-").replace("_", ".")
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        file.chmod(0o440)
    return folder


class MountedConfigMap:
    """A ConfigMap's volume: a link to a link, which the kubelet replaces at once."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._count = folder, 0
        folder.mkdir(parents=True)

    def write(self, files: dict[str, str]) -> None:
        self._count += 1
        data = self.folder / f"..2026_12_01_{self._count}"
        data.mkdir()
        for name, text in files.items():
            (data / name).write_text(text)
        (self.folder / "..data_tmp").symlink_to(data.name)
        (self.folder / "..data_tmp").rename(self.folder / "..data")
        for name in files:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")


def probes(pod: Object, ports: dict[int, int]) -> list[str]:
    """The URLs that a kubelet asks."""
    runs = container(pod)
    named = {port["name"]: ports[port["containerPort"]] for port in runs["ports"]}
    gets = [runs[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
    return [f"{get.get('scheme', 'HTTP').lower()}://127.0.0.1:{named[get['port']]}{get['path']}" for get in gets]


def test_the_charts_pods_serve_and_stop_as_their_probes_say(
    build: Path, tmp_path: Path, upstream: Upstream, stack: ExitStack
) -> None:
    """With the files of ConfigMaps, which are followed; a pod is deleted under the eyes of its readiness probe."""
    render = RENDERS / "files.yaml"
    by_component = dict(pods(render))
    signer = authority(secret(tmp_path / "signer"))
    certificate, key = signer.issue("controller", "127.0.0.1", "localhost")
    etc = tmp_path / "etc"
    secret(etc / "tls", tls_crt=certificate.read_bytes(), tls_key=key.read_bytes(), ca_crt=signer.file.read_bytes())
    secret(etc / "tokens", token="management-token", node__token="a-token-of-the-nodes\n")  # noqa: S106
    secret(etc / "join", authority_pem=signer.file.read_bytes(), token="a-token-of-the-nodes\n")  # noqa: S106
    apis = MountedConfigMap(etc / "apis")
    apis.write({"orders.yaml": json.dumps(api("orders", upstream.url, SAMPLE))})
    ports = free_ports()
    hosts = {"gateway-gatewright-controller.edge.svc": "localhost"}
    paths = {"/etc/gatewright": etc, "/app/build": build, "/tmp": tmp_path}  # noqa: S108
    controller = Place(tmp_path, {**paths, "/var/lib/gatewright": tmp_path / "controller-state"}, ports, hosts)
    node = Place(tmp_path, {**paths, "/var/lib/gatewright": tmp_path / "node-state"}, ports, hosts)
    for folder in ("controller-state", "node-state", "etc/config"):
        (tmp_path / folder).mkdir()
    for file in ("gateway.yaml", "settings.yaml"):
        (etc / "config" / file).write_text(node.here(config(render, file)))

    controller.start(stack, "controller", container(by_component["controller"])["args"])
    for url in probes(by_component["controller"], ports):
        wait_for(url)
    drain = {"--drain-seconds=60": "--drain-seconds=20", "--envoy.drain-time-s=10": "--envoy.drain-time-s=3"}
    arguments = [drain.get(argument, argument) for argument in container(by_component["nodes"])["args"]]
    assert set(drain.values()) <= set(arguments)
    pod = node.start(stack, "node", arguments)
    for url in probes(by_component["nodes"], ports):
        wait_for(url)
    orders, admin = f"http://127.0.0.1:{ports[TRAFFIC]}/orders/7", f"http://127.0.0.1:{ports[ADMIN]}"
    answer = httpx.get(orders)
    assert (answer.status_code, bool(answer.headers["x-python-policy"])) == (200, True), node.log_of("node")

    apis.write(
        {"orders.yaml": json.dumps(api("orders", upstream.url)), "shop.yaml": json.dumps(api("shop", upstream.url))}
    )
    wait_for(f"http://127.0.0.1:{ports[TRAFFIC]}/shop/7")
    eventually("the changed file is served", lambda: "x-python-policy" not in httpx.get(orders).headers)

    pod.terminate()
    eventually("it is not ready", lambda: httpx.get(f"{admin}/ready").status_code == 503)
    assert httpx.get(f"{admin}/ready").json()["reason"] == "it is being stopped"
    assert httpx.get(orders).status_code == 200, "while load balancers leave"
    assert pod.wait(30) == 0


def test_the_services_of_the_compose_file_serve(
    build: Path, tmp_path: Path, upstream: Upstream, stack: ExitStack
) -> None:
    """With the secrets that secrets.sh makes, and SQLite in the place of the PostgreSQL."""
    shutil.copy(COMPOSE / "secrets.sh", tmp_path)
    for _ in range(2):
        subprocess.run(["sh", str(tmp_path / "secrets.sh")], check=True, timeout=60, capture_output=True)
    made = tmp_path / "secrets"
    services = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    ports = free_ports()
    (tmp_path / "etc").mkdir()
    for name in ("controller-state", "node-state"):
        (tmp_path / name).mkdir()
    paths = {"/run/secrets": made, "/etc/gatewright": tmp_path / "etc", "/app/build": build, "/tmp": tmp_path}  # noqa: S108
    place = Place(
        tmp_path, {**paths, "/var/lib/gatewright": tmp_path / "node-state"}, ports, {"controller": "localhost"}
    )
    (tmp_path / "etc" / "gateway.yaml").write_text(place.here((COMPOSE / "gateway.yaml").read_text()))
    (made / "database-url").write_text(f"sqlite:{tmp_path / 'controller-state' / 'controller.db'}\n")
    place.start(stack, "controller", services["controller"]["command"])
    management = f"https://localhost:{ports[MANAGEMENT]}"
    wait_for(f"{management}/healthz")
    place.start(stack, "node", services["node"]["command"])
    wait_for(f"http://127.0.0.1:{ports[ADMIN]}/ready")
    credentials = {"authorization": f"Bearer {(made / 'token').read_text().strip()}"}
    created = httpx.post(
        f"{management}/v1/apis?wait=30", json=api("orders", upstream.url, SAMPLE), headers=credentials,
        verify=ssl.create_default_context(cafile=made / "authority.pem"), timeout=60,
    )  # fmt: skip
    assert (created.status_code, created.json()["status"]["state"]) == (201, "deployed"), place.log_of("node")
    assert httpx.get(f"http://127.0.0.1:{ports[TRAFFIC]}/orders/7").headers["x-python-policy"]
