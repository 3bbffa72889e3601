"""Listeners of a node, set by the management API; and an upstream that is the node itself."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.kit.gateway import Gateway, Json, api, eventually, running
from e2e.kit.listening import free_port
from e2e.kit.upstream import Upstream


@pytest.fixture(scope="module")
def shared_node(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(build, tmp_path_factory.mktemp("state")) as gateway:
        yield gateway


@pytest.fixture
def node(shared_node: Gateway, upstream: Upstream) -> Iterator[Gateway]:
    """A node with an API at /told. Afterwards it listens as it was started."""
    shared_node.deploy(api("told", upstream.url))
    yield shared_node
    with shared_node.controller() as controller:
        answer = controller.delete("/v1/gateway?wait=10")
    assert answer.status_code in (204, 404), answer.text


def gateway_document(*listeners: Json, **spec: object) -> Json:
    return {"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": {"listeners": list(listeners), **spec}}


def state(gateway: Gateway) -> str:
    with gateway.controller() as controller:
        (node,) = controller.get("/v1/nodes").json()["nodes"]
    gateway_state: str = node["gateway"]["state"]
    return gateway_state


def answers(port: int, path: str = "/told/x") -> int:
    """The status of an answer, 0 without a listener."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}").status_code
    except httpx.HTTPError:
        return 0


def put(gateway: Gateway, *listeners: Json) -> Json:
    """The status of a Gateway with these listeners, once the node has tried it."""
    with gateway.controller() as controller:
        answer = controller.put("/v1/gateway?wait=15", json=gateway_document(*listeners))
    status: Json = answer.json()["status"]
    return status


def test_a_gateway_put_by_the_api_listens_until_it_is_deleted(node: Gateway) -> None:
    second = free_port()
    http: Json = {"name": "http", "port": node.port}
    with node.controller() as controller:
        before = controller.get("/v1/gateway").json()
        assert (before["status"]["state"], before["status"]["origin"]) == ("deployed", "run")
        document = gateway_document(http, {"name": "second", "port": second})
        tried = controller.put("/v1/gateway?dry_run=true", json=document).json()
        assert tried["status"]["change"]["added"] == ["second"]
        assert answers(second) == 0
        answer = controller.put("/v1/gateway?wait=10", json=document).json()
        assert (answer["status"]["state"], state(node)) == ("deployed", "deployed")
        assert (answers(node.port), answers(second)) == (200, 200)
        more = controller.put("/v1/gateway", json=gateway_document(http, limits={"connections": 7}))
        assert more.json()["errors"][0]["field"] == "spec.limits.connections"
        assert controller.delete("/v1/gateway?wait=10").status_code == 204
        eventually("the port is closed", lambda: answers(second) == 0)
        assert answers(node.port) == 200


def test_a_gateway_that_envoy_refuses_is_rejected_and_others_stay(node: Gateway) -> None:
    """A port that is taken, or an address of another machine: the node finds out."""
    http: Json = {"name": "http", "port": node.port}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status = put(node, http, {"name": "second", "port": taken.getsockname()[1]})
        assert status["state"] == "rejected"
        assert "second" in status["reason"]
        assert answers(node.port) == 200
    status = put(node, http, {"name": "far", "address": "192.0.2.1", "port": 8081})
    assert status["state"] == "rejected", status
    assert "192.0.2.1" in status["reason"]
    assert answers(node.port) == 200
    near = free_port()
    status = put(node, http, {"name": "near", "address": "127.0.0.1", "port": near})
    assert status["state"] == "deployed", status
    assert answers(near) == 200
    node.kill("engine")
    eventually("the engine is back", lambda: node.process_status("engine")["state"] == "ready", 30)
    node.kill("envoy")
    eventually("both are back", lambda: [answers(port) for port in (node.port, near)] == [200, 200], 30)


def test_an_upstream_that_is_the_node_itself_goes_round_until_the_request_is_late(shared_node: Gateway) -> None:
    round_and_round = api("round", f"{shared_node.url}/round")
    round_and_round["spec"]["requestTimeout"] = "1s"
    shared_node.deploy(round_and_round)
    assert answers(shared_node.port, "/round/x") in (503, 504)
    eventually("each round has a line", lambda: len(shared_node.access_records("round")) > 10)
    rounds = len(shared_node.access_records("round"))
    assert rounds < 100_000
    assert answers(shared_node.port, "/nothing") == 404, "expected the node to be well"
