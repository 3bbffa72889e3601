"""A node is drained by its controller: without a lost request, and until it is to serve again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import pytest

from e2e.kit import scraping
from e2e.kit.attachments import GO_HEADERS
from e2e.kit.clients import run_clients
from e2e.kit.gateway import Gateway, api, attach, eventually, running
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(180)
CHAIN = [GO_HEADERS, attach("mark", {"name": "draining"})]


@pytest.fixture(scope="module")
def gateway(build: Path, tmp_path_factory: pytest.TempPathFactory, recording_upstream: Upstream) -> Iterator[Gateway]:
    """A node of these tests' own, with an API. Each test leaves it serving."""
    with running(build, tmp_path_factory.mktemp("state"), "--node-id", "n1") as gateway:
        gateway.deploy(api("draining", recording_upstream.url, CHAIN))
        yield gateway


def ask(gateway: Gateway, verb: str, **query: object) -> httpx.Response:
    """`drain` or `undrain`, and the controller's answer."""
    with gateway.controller() as client:
        return client.post(f"/v1/nodes/n1/{verb}", params=query, timeout=100)  # type: ignore[arg-type]


def drain_state(gateway: Gateway) -> str:
    with gateway.controller() as client:
        state: str = client.get("/v1/nodes/n1").json()["drain"]["state"]
        return state


def readiness(gateway: Gateway) -> tuple[int, str]:
    answer = httpx.get(f"http://{scraping.address(gateway)}/ready")
    return answer.status_code, answer.json().get("reason", "")


def is_refused(gateway: Gateway) -> bool:
    try:
        httpx.get(f"{gateway.url}/draining/x")
    except httpx.ConnectError:
        return True
    return False


def test_a_drain_under_load_loses_no_request(gateway: Gateway) -> None:
    """Neither of clients that keep their connections nor of clients that make new ones; then the node serves again."""
    url = f"{gateway.url}/draining/x"
    assert readiness(gateway)[0] == 200
    with run_clients(url, keep_alive=True) as keeping, run_clients(url, keep_alive=False) as connecting:
        eventually("traffic flows", lambda: min(keeping.answered, connecting.answered) > 200)
        begun = ask(gateway, "drain", accept=2, reason="new kernel")
        assert (begun.status_code, begun.json()["drain"]["state"]) == (202, "draining")
        assert readiness(gateway) == (503, "it is drained on request: gatewright node undrain has it serve again")
        before = connecting.answered
        eventually("new connections are served while load balancers leave", lambda: connecting.answered > before)
        drained = ask(gateway, "drain", wait=60)
        assert (drained.status_code, drained.json()["drain"]["state"]) == (200, "drained")
    for clients in keeping, connecting:
        assert clients.lost == []
        assert clients.first_refusal > clients.last_answered_connect
    assert is_refused(gateway)
    assert ask(gateway, "undrain", wait=60).status_code == 200
    assert httpx.get(url).status_code == 200
    assert readiness(gateway)[0] == 200


def test_a_request_that_takes_long_is_waited_for(gateway: Gateway, upstream: Upstream) -> None:
    gateway.deploy(api("slow", upstream.url, [attach("sleep", {"seconds": 3}, timeout="10s")]))
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(httpx.get, f"{gateway.url}/slow/x", timeout=30)
        eventually("it is under way", lambda: gateway.is_busy("slow"))
        early = ask(gateway, "drain", accept=0, wait=1)
        assert (early.status_code, early.json()["drain"]["state"]) == (202, "draining")
        assert ask(gateway, "drain", wait=60).status_code == 200
        assert answer.done(), "it is drained once no exchange is under way"
        assert answer.result().status_code == 200
    assert ask(gateway, "undrain", wait=60).status_code == 200


def test_a_drain_outlives_each_process_of_the_node(gateway: Gateway) -> None:
    assert ask(gateway, "drain", wait=60, accept=0).status_code == 200
    for process in ("engine", "envoy", "controller"):
        killed = gateway.kill(process)
        eventually(f"another {process} runs", partial(_is_another, gateway, process, killed))
        eventually("the node says that it is drained", partial(_says_drained, gateway), 60)
        eventually("it takes no connection", partial(is_refused, gateway))
    assert ask(gateway, "undrain", wait=60).status_code == 200
    assert not is_refused(gateway)


def _is_another(gateway: Gateway, process: str, pid: int) -> bool:
    return gateway.pid(process) not in (None, pid)


def _says_drained(gateway: Gateway) -> bool:
    try:
        return drain_state(gateway) == "drained"
    except (httpx.HTTPError, KeyError, json.JSONDecodeError):
        return False


def test_a_drain_that_is_waited_for_outlives_a_crash(gateway: Gateway, upstream: Upstream) -> None:
    """Of the engine, which holds the node's stream to the controller."""
    gateway.deploy(api("slow", upstream.url, [attach("sleep", {"seconds": 10}, timeout="20s")]))
    with ThreadPoolExecutor() as pool:
        pool.submit(httpx.get, f"{gateway.url}/slow/x", timeout=30)
        eventually("it is under way", lambda: gateway.is_busy("slow"))
        draining = pool.submit(ask, gateway, "drain", accept=0, wait=60)
        eventually("the drain has begun", lambda: drain_state(gateway) == "draining")
        gateway.kill("engine")
        drained = draining.result()
    assert (drained.status_code, drained.json()["drain"]["state"]) == (200, "drained"), drained.text
    assert is_refused(gateway)
    assert ask(gateway, "undrain", wait=60).status_code == 200


def test_a_drain_can_be_called_off(gateway: Gateway) -> None:
    assert ask(gateway, "drain", accept=600).status_code == 202
    envoy = gateway.pid("envoy")
    assert ask(gateway, "undrain", wait=60).status_code == 200
    assert gateway.pid("envoy") == envoy, "its listeners were never closed"
    assert httpx.get(f"{gateway.url}/draining/x").status_code == 200
