"""APIs that cannot be served: each has its reason, answers 503, delays no other, and comes up by itself."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.kit.closed_port import closed_port
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.policy_project import PolicyProject
from e2e.kit.upstream import Upstream

ASKS = """\
import socket

def prepare(params):
    with socket.create_connection(("127.0.0.1", params["port"]), timeout=params.get("patience", 5)) as connection:
        connection.recv(1)

def on_request(ctx, params):
    return None

def on_response(ctx, params):
    return None
"""


class KeyServer:
    """A server that a policy needs when it is prepared. Its port is closed until `open` and after `close`; while
    `silent` it does not answer.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self._listener: socket.socket | None = None

    def open(self, silent: bool = False) -> None:
        listener = self._listener = socket.create_server(("127.0.0.1", self.port), reuse_port=True)
        if not silent:
            threading.Thread(target=self._serve, args=(listener,), daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.close()

    def close(self) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()


@pytest.fixture
def keys() -> Iterator[KeyServer]:
    with closed_port() as port:
        server = KeyServer(port)
        yield server
        server.close()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> PolicyProject:
    policies = PolicyProject(tmp_path_factory.mktemp("project"), "e2e-unserved")
    policies.write_policy("asks", ASKS)
    return policies


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def node(project: PolicyProject, state: Path) -> Iterator[Gateway]:
    with running(None, state, *project.arguments) as gateway:
        yield gateway


def status(gateway: Gateway, name: str) -> Json:
    with gateway.controller() as client:
        answer: Json = client.get(f"/v1/apis/{name}/status").json()
    return answer


def assert_503(url: str) -> None:
    answer = httpx.get(url)
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["requestId"]


def test_a_policy_is_served_once_the_server_it_prepares_with_is_back(
    node: Gateway, keys: KeyServer, upstream: Upstream
) -> None:
    node.deploy(api("healthy", upstream.url))
    with node.controller() as client:
        policies = [attach("asks", {"port": keys.port})]
        client.timeout = httpx.Timeout(10, read=20)  # shorter than `wait`: retries are not waited for
        created = client.post("/v1/apis", json=api("asking", upstream.url, policies), params={"wait": "25"})
    assert created.json()["status"]["state"] == "pending"
    assert "Connection refused" in created.json()["status"]["reason"]
    assert_503(f"{node.url}/asking/x")
    assert httpx.get(f"{node.url}/healthy/x").status_code == 200
    assert httpx.get(f"{node.url}/nobodys/x").status_code == 404
    keys.open()
    eventually("it comes up", lambda: status(node, "asking")["state"] == "deployed", 40)
    eventually("it serves", lambda: httpx.get(f"{node.url}/asking/x").status_code == 200)
    keys.close()

    node.kill("executor-default-0")
    eventually("what serves has noticed", lambda: status(node, "asking")["state"] == "pending", 20)
    assert "Connection refused" in status(node, "asking")["reason"]
    assert_503(f"{node.url}/asking/x")
    assert httpx.get(f"{node.url}/healthy/x").status_code == 200
    keys.open()
    eventually("it is ready again", lambda: status(node, "asking")["state"] == "deployed", 40)
    assert httpx.get(f"{node.url}/asking/x").status_code == 200


def test_a_silent_server_delays_no_other_api(node: Gateway, keys: KeyServer, upstream: Upstream) -> None:
    keys.open(silent=True)
    with node.controller() as client:
        policies = [attach("asks", {"port": keys.port, "patience": 60})]  # longer than a deployment is waited for
        client.post("/v1/apis", json=api("silent", upstream.url, policies))
        node.deploy(api("beside", upstream.url))
        assert_503(f"{node.url}/silent/x")
        client.delete("/v1/apis/silent", params={"wait": "10"})
    eventually("the API is gone", lambda: httpx.get(f"{node.url}/silent/x").status_code == 404)


def test_a_server_that_is_away_at_the_start_delays_its_api_alone(
    project: PolicyProject, keys: KeyServer, upstream: Upstream, tmp_path: Path
) -> None:
    keys.open()
    with running(None, tmp_path / "state", *project.arguments) as first:
        first.deploy(api("healthy", upstream.url))
        first.deploy(api("asking", upstream.url, [attach("asks", {"port": keys.port})]))
    keys.close()
    with running(None, tmp_path / "state", *project.arguments) as second:
        eventually("the healthy one serves", lambda: httpx.get(f"{second.url}/healthy/x").status_code == 200)
        assert_503(f"{second.url}/asking/x")
        eventually("the reason", lambda: "Connection refused" in status(second, "asking")["reason"])
        assert status(second, "asking")["state"] == "pending"
        keys.open()
        eventually("it comes up", lambda: httpx.get(f"{second.url}/asking/x").status_code == 200, 40)
        eventually("it is known to", lambda: status(second, "asking")["state"] == "deployed")


def test_an_upstream_that_does_not_resolve_is_named_and_delays_no_other(node: Gateway, upstream: Upstream) -> None:
    with node.controller() as client:
        created = client.post("/v1/apis", json=api("lost", "http://nowhere.invalid:8080"), params={"wait": "20"})
        assert created.json()["status"]["state"] == "pending"
        assert "the name nowhere.invalid does not resolve" in created.json()["status"]["reason"]
        assert_503(f"{node.url}/lost/x")
        node.deploy(api("found", upstream.url))
        moved = client.put("/v1/apis/lost", json=api("lost", upstream.url), params={"wait": "10"})
    assert moved.json()["status"]["state"] == "deployed"
    eventually("it serves", lambda: httpx.get(f"{node.url}/lost/x").status_code == 200)
