"""The cost of a change: a changed or a new Python policy of the product compiles no Go and installs nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.kit.gateway import Json
from e2e.kit.policy_project import PolicyProject

SOURCE = "def on_request(ctx, params):\n    return {}\n\ndef on_response(ctx, params):\n    return None\n"
RECORDING_GO = """#!/bin/sh
echo "$1" >> "{calls}"
exec "{go}" "$@"
"""
pytestmark = pytest.mark.timeout(300)


@dataclass
class Build:
    """A run of `gatewright build`: its last event, its steps, and the subcommands of go."""

    built: Json
    steps: list[str]
    go: set[str]


def build(project: PolicyProject, folder: Path) -> Build:
    calls, go = folder / "calls", folder / "bin" / "go"
    calls.write_text("")
    go.parent.mkdir(exist_ok=True)
    go.write_text(RECORDING_GO.format(calls=calls, go=shutil.which("go")))
    go.chmod(0o755)
    command = [sys.executable, "-m", "gatewright_cli", "build", "--json", *project.arguments]
    environment = os.environ | {"PATH": f"{go.parent}:{os.environ['PATH']}"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert result.returncode == 0, result.stdout
    *events, built = map(json.loads, result.stdout.splitlines())
    return Build(built, [event["text"] for event in events if event["event"] == "step"], set(calls.read_text().split()))


@pytest.mark.slow("three builds, of which one installs packages")
def test_python_policies_change_and_come_without_go_and_without_an_installation(tmp_path: Path) -> None:
    project = PolicyProject(tmp_path, "incremental")
    project.output = tmp_path / "out"
    project.write_policy("first", SOURCE.format("None"))
    project.write_policy("second", SOURCE.format("None"))
    build(project, tmp_path)
    project.write_policy("first", SOURCE.format("print(1)"))
    changed = build(project, tmp_path)
    assert changed.built["changed"] == ["python-executor", "sbom.cdx.json", "manifest.json"]
    project.write_policy("third", SOURCE.format("None"))
    added = build(project, tmp_path)
    assert not [part for part in added.built["changed"] if part == "bin" or part.startswith("python-env")]
    for rebuild in (changed, added):
        assert rebuild.steps == ["importing the Python policies"]
        assert rebuild.go <= {"env"}, "Go may be asked for its version, and no more"
