"""Listeners of a node, set by the management API; and an upstream that is the node itself."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx

from e2e.kit.gateway import Gateway, Json, api, eventually, running
from e2e.kit.listening import free_port
from e2e.kit.upstream import Upstream


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
    except httpx.ConnectError:
        return 0


def test_a_gateway_put_by_the_api_listens_until_it_is_deleted(build: Path, tmp_path: Path, upstream: Upstream) -> None:
    second = free_port()
    with running(build, tmp_path / "state") as gateway:
        gateway.deploy(api("told", upstream.url))
        http: Json = {"name": "http", "port": gateway.port}
        with gateway.controller() as controller:
            before = controller.get("/v1/gateway").json()
            assert (before["status"]["state"], before["status"]["origin"]) == ("deployed", "run")
            document = gateway_document(http, {"name": "second", "port": second})
            tried = controller.put("/v1/gateway?dry_run=true", json=document).json()
            assert tried["status"]["change"]["added"] == ["second"]
            assert answers(second) == 0
            answer = controller.put("/v1/gateway?wait=10", json=document).json()
            assert (answer["status"]["state"], state(gateway)) == ("deployed", "deployed")
            assert (answers(gateway.port), answers(second)) == (200, 200)
            more = controller.put("/v1/gateway", json=gateway_document(http, limits={"connections": 7}))
            assert more.json()["errors"][0]["field"] == "spec.limits.connections"
            assert controller.delete("/v1/gateway?wait=10").status_code == 204
            eventually("the port is closed", lambda: answers(second) == 0)
            assert answers(gateway.port) == 200


def test_a_gateway_that_envoy_refuses_is_rejected_with_its_reason(
    build: Path, tmp_path: Path, upstream: Upstream
) -> None:
    with running(build, tmp_path / "state") as gateway, socket.create_server(("127.0.0.1", 0)) as taken:
        gateway.deploy(api("told", upstream.url))
        http: Json = {"name": "http", "port": gateway.port}
        document = gateway_document(http, {"name": "second", "port": taken.getsockname()[1]})
        with gateway.controller() as controller:
            status = controller.put("/v1/gateway?wait=10", json=document).json()["status"]
            assert status["state"] == "rejected"
            assert "second" in status["reason"]
            assert answers(gateway.port) == 200
            assert (
                controller.put("/v1/gateway?wait=10", json=gateway_document(http)).json()["status"]["state"]
                == "deployed"
            )


def test_an_upstream_that_is_the_node_itself_goes_round_until_the_request_is_late(build: Path, tmp_path: Path) -> None:
    with running(build, tmp_path / "state") as gateway:
        round_and_round = api("round", f"{gateway.url}/round")
        round_and_round["spec"]["requestTimeout"] = "1s"
        gateway.deploy(round_and_round)
        assert answers(gateway.port, "/round/x") in (503, 504)
        eventually("each round has a line", lambda: len(gateway.access_records("round")) > 10)
        rounds = len(gateway.access_records("round"))
        assert rounds < 100_000
        assert answers(gateway.port, "/nothing") == 404, "expected the node to be well"
