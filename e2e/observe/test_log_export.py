"""Log lines of a node at a real collector: of all components, with what they say; and a collector that is away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from e2e.kit.collector import Collector, collector
from e2e.kit.gateway import Gateway, Json, api, attach, eventually, fresh_name, running
from e2e.kit.upstream import Upstream

pytestmark = pytest.mark.timeout(180)


class Node:
    """A gateway, the file of its Gateway, and a collector for its logs."""

    gateway: Gateway

    def __init__(self, folder: Path, received: Collector) -> None:
        self.folder, self.file, self.received = folder, folder / "gateway.yaml", received
        self.write(collector=f"127.0.0.1:{received.grpc}", protocol="grpc")

    def write(self, **logs: object) -> None:
        """Writes the file, with these settings of `spec.logs`."""
        document = {"apiVersion": "gatewright.dev/v1", "kind": "Gateway", "spec": {"logs": logs} if logs else {}}
        self.file.write_text(yaml.safe_dump(document))

    def reload(self, **logs: object) -> None:
        """The new settings count when this returns."""
        self.write(**logs)
        result = self.gateway.reload()
        assert result.returncode == 0, result.stderr

    @contextmanager
    def running(self, build: Path) -> Iterator[Node]:
        arguments = ("--gateway", str(self.file), "--envoy.log-level", "info")
        with running(build, self.folder / "state", *arguments) as self.gateway:
            yield self


@pytest.fixture(scope="module")
def node(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Exports by gRPC from its start."""
    folder = tmp_path_factory.mktemp("exporting")
    with collector(folder) as received, Node(folder, received).running(build) as exporting_node:
        yield exporting_node


@pytest.fixture(autouse=True)
def _exports_by_grpc(node: Node) -> Iterator[None]:
    """A test that writes other settings leaves the first ones."""
    first = node.file.read_text()
    yield
    if node.file.read_text() != first:
        node.file.write_text(first)
        assert node.gateway.reload().returncode == 0


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


def test_all_components_are_services_of_the_collector(node: Node, upstream: Upstream) -> None:
    """From the node's start."""
    messages = {
        "supervisor": "starting", "controller": "API written", "policy-engine": "ready", "envoy": "",
        "python-executor": "it failed", "access": "request",
    }  # fmt: skip
    deploy_and_ask(node, upstream, "says-grpc")
    for service, message in messages.items():
        eventually(f"{service} is there", lambda at=(service, message): exported_records(node.received, *at), 30)  # type: ignore[misc]
    check_lines_of(node, "says-grpc")


def test_logs_are_exported_over_http(node: Node, upstream: Upstream) -> None:
    node.reload(collector=f"http://127.0.0.1:{node.received.http}", protocol="http")
    deploy_and_ask(node, upstream, "says-http")
    check_lines_of(node, "says-http")


def deploy_and_ask(node: Node, upstream: Upstream, name: str) -> None:
    """Deploys an API whose policy logs an error, and sends a request."""
    node.gateway.deploy(api(name, upstream.url, [attach("say", {"what": "traceback"})]))
    assert httpx.get(f"{node.gateway.url}/{name}/x?page=2").status_code == 200


def lines_of(node: Node, name: str) -> list[Json]:
    """The exported lines of the access log about requests to the API."""
    return [record for record in exported_records(node.received, "access", "request")
            if str(record["path"]).startswith(f"/{name}/")]  # fmt: skip


def check_lines_of(node: Node, name: str) -> None:
    """The line of the one request, and the error of its policy, are exported with all that the log has of them."""
    eventually("its line comes", lambda: lines_of(node, name), 30)
    (access,) = lines_of(node, name)
    assert (access["path"], access["status"]) == (f"/{name}/x?page=2", "200")
    errors = {"component": "python-executor", "message": "it failed", "requestId": access["requestId"]}
    eventually("the log has the error", lambda: node.gateway.find_records(**errors))

    def failures() -> list[Json]:
        exported = exported_records(node.received, "python-executor", "it failed")
        return [record for record in exported if record["requestId"] == access["requestId"]]

    eventually("the error is exported", failures, 30)
    (failed,) = failures()
    assert (failed["record"]["severityNumber"], failed["record"]["severityText"]) == (17, "error")
    assert failed["policy"] == "say:v1.0.0"
    assert "ValueError: why" in failed["error"]


def stats(node: Node) -> Json:
    statistics: Json = json.loads(node.gateway.admin("engine", "/logs"))
    return statistics


def warnings_of(node: Node) -> list[Json]:
    message = "the collector does not accept log lines; they are dropped until it does"
    return node.gateway.find_records(component="policy-engine", level="warning", message=message)


def test_a_collector_that_is_away_costs_no_request_and_is_used_again(
    node: Node, upstream: Upstream, tmp_path: Path
) -> None:
    """An address that nothing listens at yet, and then a collector."""
    gateway, name = node.gateway, fresh_name("away")
    gateway.deploy(api(name, upstream.url))
    before = len(warnings_of(node))
    with collector(tmp_path) as late:
        late.stop()
        node.reload(collector=f"127.0.0.1:{late.grpc}", protocol="grpc")
        with httpx.Client(base_url=gateway.url) as client:
            for number in range(200):
                assert client.get(f"/{name}/{number}").status_code == 200
        eventually("they are counted", lambda: stats(node)["failed"] > 200, 60)
        assert len(warnings_of(node)) == before + 1
        exported = stats(node)["exported"]
        late.start()
        eventually(
            "it accepts them again",
            lambda: httpx.get(f"{gateway.url}/{name}/x") and stats(node)["exported"] > exported,
            60,
        )
        eventually("lines come", lambda: exported_records(late, "access", "request"), 30)


def test_log_export_changes_while_the_node_runs(node: Node) -> None:
    node.reload()
    eventually("it exports no more", lambda: stats(node)["exporting"] is False)
    gateway = node.gateway
    with gateway.controller() as management:
        document = management.get("/v1/gateway").json()
    assert not document["spec"].get("logs", {}).get("collector")
    node.reload(collector=f"127.0.0.1:{node.received.grpc}", protocol="grpc")
    eventually("it exports", lambda: stats(node)["exporting"])
    name = fresh_name("nowhere")
    eventually("lines come", lambda: httpx.get(f"{gateway.url}/{name}/x") and lines_of(node, name), 30)
    gateway.kill("engine")
    eventually(
        "lines written while the engine is away come too",
        lambda: exported_records(node.received, "supervisor", "process ended"),
        60,
    )
