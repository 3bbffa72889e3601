"""Resources made by prepare end with their instance: when its API changes or is deleted, and when the gateway stops."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.kit.gateway import Gateway, Json, api, attach, eventually, running
from e2e.kit.policy_project import PolicyProject
from e2e.kit.upstream import Upstream

POLLS = """\
import asyncio
from pathlib import Path
from sdk.policy import PolicyMetadata, UpstreamResponseModifications

running = []

async def poll(name):
    running.append(name)
    try:
        while True:
            await asyncio.sleep(0.01)
    finally:
        running.remove(name)

async def prepare(params: dict, metadata: PolicyMetadata):
    asyncio.create_task(poll(f"{metadata.api_name} {metadata.api_version} {metadata.operation} {params['number']}"))
    file = Path(params["log"])
    with file.open("a") as log:
        log.write("prepared\\n")
    yield file
    with file.open("a") as log:
        log.write("closed\\n")

def on_request(ctx, params):
    return None

def on_response(ctx, params):
    return UpstreamResponseModifications(set_headers={"x-running": sorted(running)})
"""
PUTS = 8


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> PolicyProject:
    policies = PolicyProject(tmp_path_factory.mktemp("project"), "e2e-lifetimes")
    policies.write_policy("polls", POLLS, more=f"files: {{write: [{policies.folder}]}}\n")
    return policies


@pytest.fixture
def gateway(project: PolicyProject, tmp_path: Path) -> Iterator[Gateway]:
    with running(None, tmp_path / "state", *project.arguments, "--access-log", "/dev/null") as own_gateway:
        yield own_gateway


def polls(name: str, upstream: Upstream, log: Path, number: int) -> Json:
    get = {"method": "GET", "path": "/item", "policies": [attach("polls", {"number": number, "log": str(log)})]}
    return api(name, upstream.url, [], [get])


def now_running(gateway: Gateway) -> list[str]:
    return httpx.get(f"{gateway.url}/watching/item").headers.get_list("x-running")


@pytest.mark.slow("the instances before are kept for half a minute")
def test_after_some_puts_one_task_runs_and_after_a_delete_none(
    gateway: Gateway, upstream: Upstream, project: PolicyProject
) -> None:
    log = project.folder / "log"
    gateway.deploy(polls("watching", upstream, log, 0))
    gateway.deploy(polls("deleted", upstream, log, 0))
    with gateway.controller() as client:
        assert client.delete("/v1/apis/deleted").status_code in {200, 204}
    for number in range(PUTS + 1):
        gateway.deploy(polls("changing", upstream, log, number))
    watching, last = "watching v1.0 GET /item 0", f"changing v1.0 GET /item {PUTS}"
    eventually("the last instance's task is left", lambda: now_running(gateway) == [last, watching], 60)
    assert log.read_text().count("closed") == PUTS + 1
    gateway.stop()
    assert log.read_text().count("closed") == log.read_text().count("prepared") == PUTS + 3
