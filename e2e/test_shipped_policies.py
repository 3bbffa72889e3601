"""What the pages of the policies that ship say, done: each example of each of them, behind a real gateway."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from e2e.conftest import HERE
from e2e.counterparts import Counterparts, counterparts
from e2e.gateway import Gateway, api, running
from e2e.upstream import Recorded, Upstream

POLICIES = HERE.parent / "policies"
FOLDERS = sorted(path.parent for path in POLICIES.glob("*/policy-definition.yaml"))
EXAMPLES = [
    pytest.param(folder.name, number, example, id=f"{folder.name}: {example['title']}")
    for folder in FOLDERS
    for number, example in enumerate(yaml.safe_load((folder / "example.yaml").read_text()))
]
METHODS = ("GET", "POST", "PUT", "DELETE")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with all policies that ship."""
    folder = tmp_path_factory.mktemp("shipped")
    manifest = folder / "build.yaml"
    listed = [{"name": each.name, "filePath": str(each)} for each in FOLDERS]
    manifest.write_text(yaml.safe_dump({"version": "v1", "policies": listed}))
    output = HERE.parent / "build" / "shipped"
    subprocess.run(["gatewright", "build", "--manifest", str(manifest), "--output", str(output)], check=True)
    with running(output, folder / "state") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def needed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counterparts]:
    with counterparts(tmp_path_factory.mktemp("counterparts")) as started:
        yield started


@pytest.mark.parametrize(("policy", "number", "example"), EXAMPLES)
def test_an_example(
    shipped: Gateway, needed: Counterparts, upstream: Upstream, policy: str, number: int, example: dict[str, Any]
) -> None:
    name = f"{policy}-{number}"
    example = needed.filled(example)
    operations = [{"method": method, "path": "/*"} for method in METHODS]
    shipped.deploy(api(name, upstream.url, example["attachments"], operations))
    with httpx.Client(base_url=f"{shipped.url}/{name}") as client:
        for request in example["requests"]:
            upstream.received.clear()
            path, method = request.get("path", "/"), request.get("method", "GET")
            answer = client.request(method, path, headers=request.get("headers"), content=request.get("body"))
            check_answer(answer, request["answer"])
            check_upstream(upstream.received, request.get("upstream", {}))


def check_answer(answer: httpx.Response, wanted: dict[str, Any]) -> None:
    assert answer.status_code == wanted["status"], answer.text
    for header, value in wanted.get("headers", {}).items():
        assert answer.headers.get(header) == value
    if "body" in wanted:
        assert answer.text == wanted["body"]


def check_upstream(received: list[Recorded], wanted: dict[str, Any] | bool) -> None:
    if wanted is False:
        assert received == []
        return
    assert isinstance(wanted, dict)
    (request,) = received
    for header, value in wanted.get("headers", {}).items():
        assert request.value(header) == value
    if "target" in wanted:
        assert request.target == wanted["target"]
    if "body" in wanted:
        assert request.body.decode() == wanted["body"]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_policy_is_whole(folder: Path) -> None:
    """Definition, source, tests, examples; and a description of each of its parameters."""
    names = {path.name for path in folder.iterdir()}
    assert {"policy-definition.yaml", "example.yaml"} < names
    assert {"policy.go", "policy_test.go"} <= names or {"policy.py", "test_policy.py", "requirements.txt"} <= names
    definition = yaml.safe_load((folder / "policy-definition.yaml").read_text())
    properties = definition.get("parameters", {}).get("properties", {})
    assert [name for name, field in properties.items() if not field.get("description")] == []
