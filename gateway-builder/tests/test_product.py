"""The real engine, the real executor, the policies that ship."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from gatewright.definition import Runtime
from gatewright_builder import BuildOptions, build
from gatewright_builder.discovery import discover
from gatewright_builder.fetching.location import locate
from gatewright_builder.generation import generate_python_executor
from gatewright_builder.import_check import ImportCheck
from gatewright_builder.manifest import read_manifest
from gatewright_builder.policy import of_runtime
from gatewright_builder.sources import find_sources
from gatewright_builder.tree import write_tree
from gatewright_builder.validation import validate

ROOT = find_sources().root


@pytest.mark.compiles
@pytest.mark.timeout(300)
def test_the_stock_go_policies_compile_into_the_engine(tmp_path: Path) -> None:
    names = ("log-message", "add-headers")
    entries = [f"  - {{name: {name}, filePath: {ROOT / 'policies' / name}}}" for name in names]
    (tmp_path / "build.yaml").write_text("\n".join(["version: v1", "policies:", *entries, ""]))
    result = build(BuildOptions(tmp_path / "build.yaml", tmp_path / "build" / "stock"))
    done = subprocess.run([result.engine, "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert "-manifest" in done.stderr
    symbols = subprocess.run(
        ["go", "tool", "nm", result.engine], capture_output=True, text=True, timeout=60, check=True
    )
    for name in ("log_message", "add_headers"):
        assert f"gatewright.dev/build/policies/{name}_v1_0_0.GetPolicy" in symbols.stdout


def test_the_executor_imports_the_stock_python_policies_from_the_copy(tmp_path: Path) -> None:
    policies = validate(discover(locate(read_manifest(ROOT / "build.yaml"))))
    write_tree(generate_python_executor(policies, find_sources()), tmp_path)
    ImportCheck(Path(sys.executable), tmp_path, of_runtime(policies, Runtime.PYTHON)).run()
