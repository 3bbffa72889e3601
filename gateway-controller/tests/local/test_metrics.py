from __future__ import annotations

import asyncio
import importlib.metadata
import json
import logging
import os
import stat
from pathlib import Path

import httpx
import pytest
from gatewright_controller.apis.controller import Controller
from gatewright_controller.gateway.gateways import Gateways
from gatewright_controller.local.metrics import CONTENT_TYPE_LATEST, Metrics, engines_socket
from gatewright_controller.local.metrics_socket import MEDIA_TYPE
from gatewright_controller.management.api import create_app
from gatewright_controller.nodes.node import Node
from gatewright_documents.values import JsonObject
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.anyio
Samples = dict[tuple[str, ...], float]


def samples(text: str) -> Samples:
    """By name and the values of the labels, as they stand."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def scraped(client: httpx.AsyncClient) -> Samples:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == CONTENT_TYPE_LATEST == MEDIA_TYPE
    return samples(answer.text)


async def test_apis_and_nodes_are_counted(
    client: httpx.AsyncClient, controller: Controller, orders: JsonObject
) -> None:
    before = await scraped(client)
    assert before["gatewright_controller_apis", "deployed"] == before["gatewright_controller_apis", "pending"] == 0
    assert before["gatewright_controller_nodes",] == 0
    assert before["gatewright_build_info", "controller", "0.1.0"] == 1
    assert before["gatewright_controller_database_open",] == 1
    assert (await client.post("/v1/apis", json=orders)).status_code == 201
    controller.deployment.nodes["n"] = Node("n", "", {}, {}, {})
    after = await scraped(client)
    assert after["gatewright_controller_apis", "rejected"] == 1, "the node has none of its policies"
    assert after["gatewright_controller_nodes",] == 1


def test_a_controller_without_its_database_reports_it() -> None:
    assert samples(Metrics(has_database=lambda: False).text().decode())["gatewright_controller_database_open",] == 0


def test_a_wheel_has_no_distribution_of_the_controllers(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", none)
    assert samples(Metrics().text().decode())["gatewright_build_info", "controller", "0.1.0"] == 1


async def test_requests_are_counted_by_route_and_never_by_path(client: httpx.AsyncClient) -> None:
    for path in ("/v1/apis/a", "/v1/apis/b", "/v1/apis", "/secret-path", "/v1/apis?unknown=1"):
        await client.get(path)
    await client.request("BREW", "/v1/apis")
    await client.put("/v1/apis/a", content=b"x")
    counted = await scraped(client)
    requests = {key[1:]: value for key, value in counted.items() if key[0] == "gatewright_controller_requests_total"}
    assert requests == {
        ("GET", "/v1/apis/{name}", "404"): 2,
        ("GET", "/v1/apis", "200"): 1,
        ("GET", "/v1/apis", "400"): 1,
        ("GET", "other", "404"): 1,
        ("other", "other", "405"): 1,
        ("PUT", "/v1/apis/{name}", "404"): 1,
    }
    assert counted["gatewright_controller_request_duration_seconds_count", "GET", "/v1/apis/{name}"] == 2


async def test_they_are_behind_the_token(controller: Controller, gateways: Gateways) -> None:
    transport = httpx.ASGITransport(create_app(controller, gateways, token="t0ken"))  # noqa: S106
    async with httpx.AsyncClient(transport=transport, base_url="http://controller.example") as client:
        assert (await client.get("/metrics")).status_code == 401
        answer = await client.get("/metrics", headers={"authorization": "Bearer t0ken"})
    assert samples(answer.text)["gatewright_controller_requests_total", "GET", "other", "401"] == 1


async def test_the_engine_asks_on_a_socket_of_its_own(tmp_path: Path) -> None:
    at, peers, metrics, warned = tmp_path / "m.sock", tmp_path / "peers.json", Metrics(lambda: {"deployed": 3}), []
    peers.write_text(json.dumps({"supervisor": os.getpid(), "engine": os.getpid()}))
    server = engines_socket(at, peers, metrics, lambda *warning: warned.append(warning))
    await server.start()
    try:
        assert stat.S_IMODE(at.stat().st_mode) == 0o600
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(at)), base_url="http://x") as client:
            assert (await scraped(client))["gatewright_controller_apis", "deployed"] == 3
            assert (await client.get("/other")).status_code == 404
            assert (await client.post("/metrics")).status_code == 404
            peers.write_text(json.dumps({"supervisor": os.getpid(), "engine": 1}))
            with pytest.raises(httpx.RemoteProtocolError):
                await asyncio.wait_for(client.get("/metrics"), 10)
    finally:
        await server.close()
    assert len(warned) == 1
    assert not at.exists()


async def test_a_failure_is_answered_with_its_reason_and_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    at, metrics = tmp_path / "m.sock", Metrics()
    fails = ["no version of it", "no version of it", "", "no version of it", "no node"]

    def text() -> bytes:
        if reason := fails.pop(0):
            raise LookupError(reason)
        return b""

    monkeypatch.setattr(metrics, "text", text)
    (tmp_path / "peers.json").write_text(json.dumps({"supervisor": os.getpid(), "engine": os.getpid()}))
    server = engines_socket(at, tmp_path / "peers.json", metrics, lambda *_: None)
    await server.start()
    answers = []
    try:
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(at)), base_url="http://x") as client:
            while fails:
                answer = await client.get("/metrics")
                answers.append((answer.status_code, answer.text))
    finally:
        await server.close()
    failed = (500, "LookupError: no version of it\n")
    assert answers == [failed, failed, (200, ""), failed, (500, "LookupError: no node\n")]
    logged = [(record.getMessage(), str(record.exc_info[1])) for record in caplog.records if record.exc_info]
    message = "metrics cannot be reported"
    assert logged == [(message, "no version of it"), (message, "no version of it"), (message, "no node")]
    assert {record.levelno for record in caplog.records} == {logging.ERROR}
