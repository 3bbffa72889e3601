"""Log lines of a node at a real collector: of all components, with what they say; and a collector that is away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.collector import Collector, collector
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def received(tmp_path: Path) -> Iterator[Collector]:
    with collector(tmp_path) as running_collector:
        yield running_collector


def gateway_file(folder: Path, **logs: object) -> Path:
    file = folder / "gateway.yaml"
    document = {"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": {"logs": logs}}
    file.write_text(yaml.safe_dump(document))
    return file


def records(received: Collector) -> list[Json]:
    """The exported records: `service` and the fields of a line, besides the record's own."""
    lines = [json.loads(line) for line in received.text().splitlines() if line.endswith("}")]
    return [
        {"service": values(group["resource"])["service.name"], **values(record), "record": record}
        for line in lines
        for group in line.get("resourceLogs", [])
        for scope in group["scopeLogs"]
        for record in scope["logRecords"]
    ]


def values(holder: Json) -> Json:
    return {
        attribute["key"]: next(iter(attribute["value"].values()), None) for attribute in holder.get("attributes", [])
    }


def exported_records(received: Collector, service: str, message: str) -> list[Json]:
    return [
        record for record in records(received)
        if record["service"] == service and message in record["record"]["body"].get("stringValue", "")
    ]  # fmt: skip


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_all_components_are_services_of_the_collector(
    build: Path, tmp_path: Path, received: Collector, upstream: Upstream, protocol: str
) -> None:
    at = f"127.0.0.1:{received.grpc}" if protocol == "grpc" else f"http://127.0.0.1:{received.http}"
    file = gateway_file(tmp_path, collector=at, protocol=protocol)
    with running(build, tmp_path / "state", "--gateway", str(file), "--envoy.log-level", "info") as node:
        node.deploy(api("says", upstream.url, [attach("say", {"what": "traceback"})]))
        answer = httpx.get(f"{node.url}/says/x?page=2")
        assert answer.status_code == 200
        for service, message in {
            "supervisor": "starting", "controller": "API written", "policy-engine": "ready", "envoy": "",
            "python-executor": "it failed", "access": "request",
        }.items():  # fmt: skip
            eventually(f"{service} is there", lambda at=(service, message): exported_records(received, *at), 30)  # type: ignore[misc]
        (failed,) = exported_records(received, "python-executor", "it failed")
        (access,) = exported_records(received, "access", "request")
        (line,) = node.find_records(component="python-executor", message="it failed")
    assert (failed["record"]["severityNumber"], failed["record"]["severityText"]) == (17, "error")
    assert failed["policy"] == "say:v1.0.0"
    assert failed["requestId"] == line["requestId"] == access["requestId"]
    assert "ValueError: why" in failed["error"]
    assert (access["path"], access["status"]) == ("/says/x?page=2", "200")


def stats(node: Gateway) -> Json:
    statistics: Json = json.loads(node.admin("engine", "/logs"))
    return statistics


def test_a_collector_that_is_away_costs_no_request_and_is_used_again(
    build: Path, tmp_path: Path, received: Collector, upstream: Upstream
) -> None:
    received.stop()
    file = gateway_file(tmp_path, collector=f"127.0.0.1:{received.grpc}")
    with running(build, tmp_path / "state", "--gateway", str(file)) as node:
        node.deploy(api("away", upstream.url))
        with httpx.Client() as client:
            for number in range(200):
                assert client.get(f"{node.url}/away/{number}").status_code == 200
        eventually("they are counted", lambda: stats(node)["failed"] > 200, 60)
        assert len(node.find_records(component="policy-engine", level="warning", message=AWAY)) == 1
        received.start()
        eventually("it accepts them again", lambda: httpx.get(f"{node.url}/away/x") and stats(node)["exported"], 60)
        eventually("lines come", lambda: exported_records(received, "access", "request"), 30)


AWAY = "the collector does not accept log lines; they are dropped until it does"


def test_log_export_changes_while_the_node_runs(build: Path, tmp_path: Path, received: Collector) -> None:
    with running(build, tmp_path / "state") as node:
        assert stats(node)["exporting"] is False
        with node.controller() as management:
            document = management.get("/v1/gateway").json()
            document["spec"] = {**document.get("spec", {}), "logs": {"collector": f"127.0.0.1:{received.grpc}"}}
            answer = management.put("/v1/gateway", json=document, params={"wait": "15"})
            assert answer.status_code == 200, answer.text
        eventually("it exports", lambda: stats(node)["exporting"])
        eventually(
            "lines come",
            lambda: httpx.get(f"{node.url}/nowhere") and exported_records(received, "access", "request"),
            30,
        )
        node.kill("engine")
        eventually(
            "what is said while the engine is away comes too",
            lambda: exported_records(received, "supervisor", "process ended"),
            60,
        )
