"""Edits of a policy beside one that takes long to import, and moves between executor groups, while a gateway runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.kit.gateway import Gateway, api, attach, eventually, running
from e2e.kit.policy_project import PolicyProject
from e2e.kit.traffic import traffic
from e2e.kit.upstream import Upstream

ANSWERS = """\
from sdk.policy import ImmediateResponse

def on_request(ctx, params):
    return ImmediateResponse(200, body="{text}")
"""
SLOW = f"""\
import os, time
time.sleep({{again}} if os.path.exists({{imported!r}}) else 3)
{ANSWERS}"""
AGAIN_SECONDS = 90
"""The duration of an import of the slow policy once a test has written its mark: longer than any edit of another."""
REQUEST_ONLY = "processingMode: {requestHeaderMode: PROCESS}"


@pytest.fixture
def project(tmp_path: Path) -> PolicyProject:
    folder = tmp_path / "project"
    folder.mkdir()
    policies = PolicyProject(folder, "e2e-slow-imports")
    policies.write_policy("greet", ANSWERS.format(text="one"), more=REQUEST_ONLY)
    slow = SLOW.format(text="heavy", again=AGAIN_SECONDS, imported=str(folder / "imported"))
    policies.write_policy("heavy", slow, more=REQUEST_ONLY)
    return policies


@pytest.fixture
def gateway(project: PolicyProject, tmp_path: Path, upstream: Upstream) -> Iterator[Gateway]:
    with running(None, tmp_path / "state", *project.arguments, "--watch") as gateway:
        for name in ("greet", "heavy"):
            gateway.deploy(api(name, upstream.url, [attach(name)]))
        yield gateway


def body(gateway: Gateway, name: str) -> str:
    return httpx.get(f"{gateway.url}/{name}/x", timeout=10).text


def groups(gateway: Gateway) -> dict[str, int]:
    return {executor["group"]: executor["pid"] for executor in gateway.executors()}


@pytest.mark.timeout(300)
def test_an_edit_waits_for_no_import_of_its_neighbour(project: PolicyProject, gateway: Gateway) -> None:
    before = groups(gateway)
    assert set(before) == {"default", "default~1"}
    (note,) = [line for line in gateway.find_records(level="warning") if "takes" in line["message"]]
    assert "heavy:v1.0.0 takes 3." in note["message"]
    assert "`group: heavy` in build.yaml does so everywhere" in note["message"]
    (project.folder / "imported").touch()
    project.write_policy("greet", ANSWERS.format(text="two"), more=REQUEST_ONLY)
    eventually("the edit is live", lambda: body(gateway, "greet") == "two", AGAIN_SECONDS)
    eventually("the reload is reported", lambda: gateway.find_records(message="reloaded"), 30)
    (reloaded,) = gateway.find_records(message="reloaded")
    assert (reloaded["restarted"], reloaded["kept"]) == (["default"], ["default~1"])
    spent = [float(reloaded[part].removesuffix("s")) for part in ("build", "executors")]
    assert sum(spent) < AGAIN_SECONDS, reloaded
    assert groups(gateway)["default~1"] == before["default~1"]
    assert body(gateway, "heavy") == "heavy"


@pytest.mark.slow("a policy takes three seconds to import, in each build and in each executor")
@pytest.mark.timeout(300)
def test_a_policy_moves_to_another_group_under_traffic(project: PolicyProject, gateway: Gateway) -> None:
    with traffic(f"{gateway.url}/greet/x", clients=2, pause=0.05) as (flow,):
        flow.wait_for(20)
        project.write_policy("greet", ANSWERS.format(text="moved"), group="apart", more=REQUEST_ONLY)
        eventually("the policy answers from its new group", lambda: body(gateway, "greet") == "moved", 60)
        flow.wait_for(20)
    assert flow.counts().keys() == {200}, flow.problems[:3]
    assert gateway.find_records(message="policies run in the executor groups that they have moved to", api="greet")
    assert "apart" in groups(gateway)
    project.write_policy("greet", ANSWERS.format(text="back"), more=REQUEST_ONLY)
    eventually("it moves back", lambda: body(gateway, "greet") == "back", 60)
    assert body(gateway, "heavy") == "heavy"
