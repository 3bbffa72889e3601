"""The real engine, the real executor, the policies that ship."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gatewright.definition import Runtime
from gatewright_builder.build import BuildOptions, build
from gatewright_builder.discovery import discover
from gatewright_builder.fetching.location import locate
from gatewright_builder.generation import generate_python_executor
from gatewright_builder.import_check import ImportCheck
from gatewright_builder.manifest import read_manifest
from gatewright_builder.policy import of_runtime
from gatewright_builder.sources import Sources, find_sources
from gatewright_builder.tree import write_tree
from gatewright_builder.validation import validate

ROOT = find_sources().root


TRIAL = {
    "policies/trial-go/policy-definition.yaml": b"""name: trial-go
version: v1.2.3
runtime: go
processingMode: {requestHeaderMode: PROCESS}
parameters: {type: object}
""",
    "policies/trial-go/policy.go": b"""// Package trial is a policy of a test.
package trial

import (
	"gatewright.dev/policies/trial-go/internal/pass"
	"gatewright.dev/sdk/policy/v1alpha"
)

// GetPolicy builds an instance.
func GetPolicy(v1alpha.Metadata, v1alpha.Params) (v1alpha.Policy, error) { return pass.Policy{}, nil }
""",
    "policies/trial-go/internal/pass/pass.go": b"""// Package pass changes nothing.
package pass

import (
	"context"

	"gatewright.dev/sdk/policy/v1alpha"
)

// Policy does nothing.
type Policy struct{}

// OnRequest does nothing.
func (Policy) OnRequest(context.Context, *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	return nil, nil
}

// OnResponse does nothing.
func (Policy) OnResponse(context.Context, *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return nil, nil
}

// Close does nothing.
func (Policy) Close() error { return nil }
""",
    "policies/trial-go/policy_test.go": b"package trial_test\n\nnot Go\n",
    "policies/trial-python/policy-definition.yaml": b"""name: trial-python
version: v0.1.0
runtime: python
processingMode: {requestHeaderMode: PROCESS}
parameters: {type: object}
""",
    "policies/trial-python/policy.py": b"def on_request(ctx, params):\n    return None\n",
    "policies/trial-python/test_policy.py": b"not Python\n",
}
"""A Go and a Python policy: two folders, and nothing else."""
PRODUCT = ("gateway-runtime/policy-engine", "policies", "sdk")
EXECUTOR = "gateway-runtime/python-executor"


@pytest.fixture
def checkout(tmp_path: Path, product: Path) -> Sources:
    """The product's sources with two policies more, and with an executor that asks for no package."""
    for part in PRODUCT:
        shutil.copytree(ROOT / part, tmp_path / "checkout" / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(product / EXECUTOR, tmp_path / "checkout" / EXECUTOR)
    write_tree(TRIAL, tmp_path / "checkout")
    return Sources(tmp_path / "checkout")


@pytest.mark.compiles
@pytest.mark.timeout(900)
@pytest.mark.slow("compiles the real engine, in a checkout of its own")
@pytest.mark.usefixtures("packages")
def test_a_policy_that_ships_is_a_folder_and_nothing_else(tmp_path: Path, checkout: Sources) -> None:
    names = [folder.name for folder in checkout.shipped_policies if not asks_for_packages(folder)]
    assert {"add-headers", "log-message", "trial-go", "trial-python"} <= set(names)
    entries = [f"  - {{name: {name}}}" for name in names]
    (tmp_path / "build.yaml").write_text("\n".join(["version: v1", "policies:", *entries, ""]))
    result = build(BuildOptions(tmp_path / "build.yaml", tmp_path / "build" / "stock", source_root=checkout.root))
    assert result.is_stock
    assert [policy.name for policy in result.policies] == names
    done = subprocess.run([result.engine, "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert "-manifest" in done.stderr
    symbols = subprocess.run(
        ["go", "tool", "nm", result.engine], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    for policy in result.policies:
        identifier = f"{policy.name}-{policy.version}".replace("-", "_").replace(".", "_")
        assert (f"gatewright.dev/build/policies/{identifier}.GetPolicy" in symbols) == (policy.runtime == "go")
        assert (result.output / f"python-executor/policies/{identifier}").is_dir() == (policy.runtime == "python")
    definitions = {f"{policy.name}-{policy.version}.yaml" for policy in result.policies}
    assert {path.name for path in result.definitions.iterdir()} == definitions
    assert {"trial-go-v1.2.3.yaml", "trial-python-v0.1.0.yaml"} <= definitions


def asks_for_packages(folder: Path) -> bool:
    """Packages come from a registry, which unit tests lack; e2e/policies/test_shipped_policies.py builds all."""
    file = folder / "requirements.txt"
    return file.exists() and any(line and not line.startswith("#") for line in file.read_text().splitlines())


def test_the_go_policies_that_ship_are_one_module_of_the_workspace() -> None:
    """Tests, lint and format run over the modules of go.work."""
    assert "\t./policies\n" in (ROOT / "go.work").read_text()
    assert [path.parent.name for path in ROOT.glob("policies/**/go.mod")] == ["policies"]


def test_the_executor_imports_the_stock_python_policies_from_the_copy(tmp_path: Path) -> None:
    policies = validate(discover(locate(read_manifest(ROOT / "build.yaml"))))
    write_tree(generate_python_executor(policies, find_sources()), tmp_path)
    ImportCheck(Path(sys.executable), tmp_path, of_runtime(policies, Runtime.PYTHON)).run()
