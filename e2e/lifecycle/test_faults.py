"""A killed process is restarted, and only the routes that need it fail meanwhile."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.kit.attachments import GO_HEADERS
from e2e.kit.engine_differences import differs_in_envoy
from e2e.kit.gateway import Gateway, api, attach, eventually, running
from e2e.kit.traffic import traffic
from e2e.kit.upstream import Upstream
from e2e.kit.wire import Shape, http1

NAMES = ("go", "python", "bare")


@pytest.fixture(scope="module")
def killable_gateway(
    build: Path, tmp_path_factory: pytest.TempPathFactory, recording_upstream: Upstream
) -> Iterator[Gateway]:
    """A gateway to kill parts of: an API in Go, one in Python, one without policies."""
    with running(build, tmp_path_factory.mktemp("killable")) as gateway:
        gateway.deploy(api("go", recording_upstream.url, [GO_HEADERS]))
        gateway.deploy(api("python", recording_upstream.url, [attach("mark", {"name": "alive"})]))
        gateway.deploy(api("bare", recording_upstream.url))
        yield gateway


@pytest.fixture
def own_gateway(killable_gateway: Gateway) -> Gateway:
    """It, once all that an earlier test has killed is back."""
    eventually("all APIs serve", lambda: _serves_all(killable_gateway))
    eventually("the controller lists them", lambda: _lists(killable_gateway, set(NAMES)))
    return killable_gateway


def _serves_all(gateway: Gateway) -> bool:
    return {httpx.get(f"{gateway.url}/{name}/x").status_code for name in NAMES} == {200}


def test_a_killed_executor_fails_only_python_routes_and_comes_back(own_gateway: Gateway, upstream: Upstream) -> None:
    urls = (f"{own_gateway.url}/{name}/x" for name in NAMES)
    with traffic(*urls) as (go, python, bare):
        eventually("traffic flows", lambda: len(python.answers) > 50)
        killed = own_gateway.kill("executor-default-0")
        eventually("the executor is restarted", lambda: own_gateway.pid("executor-default-0") not in {killed, None})
        eventually("the fault shows", lambda: python.counts()[503])
        eventually("Python routes answer again", python.is_steady)
        failures = len(python.problems)
        eventually("more traffic flows", lambda: python.counts()[200] > 150, 20)
    assert go.counts().keys() == {200}
    assert bare.counts().keys() == {200}
    assert python.counts().keys() <= {200, 503}
    assert all("application/problem+json" in problem for problem in python.problems)
    assert len(python.problems) == failures, "expected what came back to stay"
    assert upstream.to("/x")[-1].value("x-order") in {None, "alive()"}
    assert httpx.get(f"{own_gateway.url}/python/y").status_code == 200
    assert upstream.to("/y")[-1].values("x-order") == [b"alive()"]


@differs_in_envoy("The engine and Envoy end together: listeners take no connections until both have started again.")
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
        eventually("it answers", lambda: _lists(own_gateway, set(NAMES)))
        own_gateway.deploy(api("later", upstream.url, [GO_HEADERS]))
    assert [flow.counts().keys() for flow in flows] == [{200}, {200}]


def _lists(gateway: Gateway, names: set[str]) -> bool:
    try:
        with gateway.controller() as client:
            return names <= {document["metadata"]["name"] for document in client.get("/v1/apis").json()["apis"]}
    except httpx.HTTPError:
        return False


def test_a_restart_serves_the_last_good_state_without_a_controller(
    build: Path, stored_state: Path, tmp_path: Path, upstream: Upstream
) -> None:
    state = shutil.copytree(stored_state, tmp_path / "state")
    with running(build, state, "--no-controller") as gateway:
        assert httpx.get(f"{gateway.url}/kept/x").status_code == 200
    assert upstream.received[-1].values("x-order") == [b"kept()"]


def test_one_clients_odd_bytes_fail_no_other_client(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("odd", upstream.url, [attach("see-bytes")]))
    with traffic(f"{gateway.url}/odd/good", clients=16, pause=0.02) as (good,):
        for _ in range(50):
            odd = http1(gateway.port, "/odd/bad", Shape("odd", "GET", headers=[("x-bin", "\xff\xfe")]))
            assert odd.status == 200
        eventually("many good ones", lambda: len(good.answers) > 320, 30)
    assert good.counts().keys() == {200}
    assert {request.value("x-seen") for request in upstream.to("/bad")} == {"fffe"}


def test_a_change_of_an_api_drops_no_request(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("changing", upstream.url, [attach("mark", {"name": "0"})]))
    with traffic(f"{gateway.url}/changing/x", clients=8, pause=0.02) as (flow,):
        for number in range(1, 11):
            gateway.deploy(api("changing", upstream.url, [attach("mark", {"name": str(number)})]))
        counted = len(flow.answers)
        eventually("traffic goes on", lambda: len(flow.answers) > counted + 100)
    assert flow.counts().keys() == {200}, flow.problems[:3]
    assert upstream.received[-1].values("x-order") == [b"10()"]
