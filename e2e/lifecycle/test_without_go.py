"""Where there is no Go, and nothing else on PATH either: Python policies are built and served all the same.

So is one with the name and version of a Go policy that ships, which the stock engine has too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from e2e.kit.gateway import api, attach, running
from e2e.kit.places import ROOT
from e2e.kit.upstream import Upstream

POLICY = ROOT / "sample-policies" / "add-python-header"
SHIPPED = "set-headers"  # in Go


@pytest.mark.slow("builds from nothing, and starts a gateway")
def test_python_policies_are_built_with_an_empty_path_and_serve(
    build: Path, tmp_path: Path, upstream: Upstream
) -> None:
    assert build.is_dir(), "an earlier build, with Go, has put the stock engine into the cache"
    (tmp_path / "bin").mkdir()
    folder = shutil.copytree(POLICY, tmp_path / SHIPPED)
    definition = folder / "policy-definition.yaml"
    definition.write_text(definition.read_text().replace("name: add-python-header", f"name: {SHIPPED}"))
    (tmp_path / "build.yaml").write_text(
        f"version: v1\npolicies:\n  - {{name: add-python-header, filePath: {POLICY}}}\n"
        f"  - {{name: {SHIPPED}, filePath: ./{SHIPPED}}}\n"
    )
    command = [sys.executable, "-m", "gatewright_cli", "build", "--output", "out"]
    environment = os.environ | {"PATH": str(tmp_path / "bin")}
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "engine" not in result.stderr, "expected nothing to be compiled"
    with running(tmp_path / "out", tmp_path / "state") as gateway:
        own = attach(SHIPPED, {"headerName": "x-of-ones-own"})
        gateway.deploy(api("no-go", upstream.url, [attach("add-python-header"), own]))
        assert httpx.get(f"{gateway.url}/no-go/x").status_code == 200
    assert upstream.received[0].value("x-python-policy")
    assert upstream.received[0].value("x-of-ones-own")
