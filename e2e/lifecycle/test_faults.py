"""A killed process is restarted, and only the routes that need it fail meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.kit.attachments import GO_HEADERS
from e2e.kit.gateway import Gateway, api, attach, eventually, running
from e2e.kit.traffic import traffic
from e2e.kit.upstream import Upstream
from e2e.kit.wire import Shape, http1


@pytest.fixture
def own_gateway(build: Path, tmp_path: Path, upstream: Upstream) -> Iterator[Gateway]:
    """A gateway to kill parts of: an API in Go, one in Python, one without policies."""
    with running(build, tmp_path) as gateway:
        gateway.deploy(api("go", upstream.url, [GO_HEADERS]))
        gateway.deploy(api("python", upstream.url, [attach("mark", {"name": "alive"})]))
        gateway.deploy(api("bare", upstream.url))
        yield gateway


def test_a_killed_executor_fails_only_python_routes_and_comes_back(own_gateway: Gateway, upstream: Upstream) -> None:
    urls = (f"{own_gateway.url}/{name}/x" for name in ("go", "python", "bare"))
    with traffic(*urls) as (go, python, bare):
        eventually("traffic flows", lambda: len(python.answers) > 50)
        killed = own_gateway.kill("executor-default-0")
        eventually("the executor is restarted", lambda: own_gateway.pid("executor-default-0") not in {killed, None})
        eventually("the fault shows", lambda: python.counts()[503])
        eventually("Python routes answer again", python.is_steady)
        failures = len(python.problems)
        eventually("more traffic flows", lambda: python.counts()[200] > 300, 20)
    assert go.counts().keys() == {200}
    assert bare.counts().keys() == {200}
    assert python.counts().keys() <= {200, 503}
    assert all("application/problem+json" in problem for problem in python.problems)
    assert len(python.problems) == failures, "expected what came back to stay"
    assert upstream.to("/x")[-1].value("x-order") in {None, "alive()"}
    assert httpx.get(f"{own_gateway.url}/python/y").status_code == 200
    assert upstream.to("/y")[-1].values("x-order") == [b"alive()"]


def test_without_the_engine_routes_with_policies_fail_and_others_go_on(own_gateway: Gateway) -> None:
    urls = (f"{own_gateway.url}/{name}/x" for name in ("go", "bare"))
    with traffic(*urls) as (go, bare):
        eventually("traffic flows", lambda: len(go.answers) > 50)
        own_gateway.kill("engine")
        eventually("the fault shows", lambda: go.counts()[503])
        eventually("Go routes answer again", go.is_steady)
        failures, counted = len(go.problems), go.counts()[200]
        eventually("more traffic flows", lambda: go.counts()[200] > counted + 100)
    assert bare.counts().keys() == {200}
    assert go.counts().keys() <= {200, 503}, go.problems[:3]
    assert all("application/problem+json" in problem for problem in go.problems)
    assert len(go.problems) == failures, "expected what came back to stay"


def test_a_killed_controller_is_not_missed(own_gateway: Gateway, upstream: Upstream) -> None:
    with traffic(*(f"{own_gateway.url}/{name}/x" for name in ("go", "python"))) as flows:
        eventually("traffic flows", lambda: len(flows[0].answers) > 30)
        killed = own_gateway.kill("controller")
        eventually("the controller is back", lambda: own_gateway.pid("controller") not in {killed, None})
        eventually("it answers", lambda: _lists(own_gateway, {"go", "python", "bare"}))
        own_gateway.deploy(api("later", upstream.url, [GO_HEADERS]))
    assert [flow.counts().keys() for flow in flows] == [{200}, {200}]


def _lists(gateway: Gateway, names: set[str]) -> bool:
    try:
        with gateway.controller() as client:
            return names <= {document["metadata"]["name"] for document in client.get("/v1/apis").json()["apis"]}
    except httpx.HTTPError:
        return False


def test_a_restart_serves_the_last_good_state_without_a_controller(
    build: Path, tmp_path: Path, upstream: Upstream
) -> None:
    with running(build, tmp_path) as gateway:
        gateway.deploy(api("kept", upstream.url, [attach("mark", {"name": "kept"})]))
    with running(build, tmp_path, "--no-controller") as gateway:
        assert httpx.get(f"{gateway.url}/kept/x").status_code == 200
    assert upstream.received[-1].values("x-order") == [b"kept()"]


def test_one_clients_odd_bytes_fail_no_other_client(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("odd", upstream.url, [attach("see-bytes")]))
    with traffic(f"{gateway.url}/odd/good", clients=16, pause=0.005) as (good,):
        for _ in range(100):
            odd = http1(gateway.port, "/odd/bad", Shape("odd", "GET", headers=[("x-bin", "\xff\xfe")]))
            assert odd.status == 200
        eventually("64 good ones for each burst", lambda: len(good.answers) > 640, 30)
    assert good.counts().keys() == {200}
    assert {request.value("x-seen") for request in upstream.to("/bad")} == {"fffe"}


def test_a_change_of_an_api_drops_no_request(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("changing", upstream.url, [attach("mark", {"name": "0"})]))
    with traffic(f"{gateway.url}/changing/x", clients=8, pause=0.002) as (flow,):
        for number in range(1, 11):
            gateway.deploy(api("changing", upstream.url, [attach("mark", {"name": str(number)})]))
        counted = len(flow.answers)
        eventually("traffic goes on", lambda: len(flow.answers) > counted + 100)
    assert flow.counts().keys() == {200}, flow.problems[:3]
    assert upstream.received[-1].values("x-order") == [b"10()"]
