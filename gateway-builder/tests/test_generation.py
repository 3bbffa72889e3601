"""Golden trees: testdata/NAME.build/build.yaml, and beside it the tree `expected` that is generated from it."""

from __future__ import annotations

import ast
import shutil
import subprocess
from pathlib import Path

import pytest
from gatewright_builder.discovery import discover
from gatewright_builder.fetching.go_command import go
from gatewright_builder.fetching.location import locate
from gatewright_builder.generation import (
    generate_definitions,
    generate_engine,
    generate_python_executor,
    generate_workspace,
)
from gatewright_builder.manifest import read_manifest
from gatewright_builder.output import MANIFEST, GroupDigests, build_manifest
from gatewright_builder.policy import groups
from gatewright_builder.requirements import executor_requirements, merge_requirements
from gatewright_builder.sources import Sources, find_sources
from gatewright_builder.tree import Tree, below, read_tree, write_tree
from gatewright_builder.validation import validate

TESTDATA = Path(__file__).parent / "testdata"
CASES = sorted(TESTDATA.glob("*.build"))


def generated(case: Path, sources: Sources) -> Tree:
    """All of a build output that is generated and not installed or compiled."""
    policies = validate(discover(locate(read_manifest(case / "build.yaml"))))
    tree = below("policy-engine", generate_engine(policies, sources))
    tree |= below("policy-definitions", generate_definitions(policies))
    tree |= below("python-executor", generate_python_executor(policies, sources))
    for group, members in groups(policies).items():
        tree[f"requirements/{group}.txt"] = merge_requirements(executor_requirements(sources), members).encode()
    digests = {name: GroupDigests(f"digest of {name}", f"base of {name}") for name in groups(policies)}
    return tree | {MANIFEST: build_manifest(policies, digests)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_generated_tree_is_the_golden_one(case: Path, product: Path, update: bool) -> None:
    tree, expected = generated(case, Sources(product)), case / "expected"
    if update:
        shutil.rmtree(expected, ignore_errors=True)
        write_tree(tree, expected)
    golden = read_tree(expected, lambda path: "__pycache__" in path.parts)
    assert sorted(tree) == sorted(golden)
    for path, content in tree.items():
        assert content.decode() == golden[path].decode(), path


def test_the_manifest_is_the_golden_message(product: Path, update: bool) -> None:
    """Engine and command line read the same file."""
    file = find_sources().root / "conformance" / "messages" / MANIFEST
    manifest = generated(TESTDATA / "mixed.build", Sources(product))[MANIFEST]
    if update:
        file.write_bytes(manifest)
    assert manifest.decode() == file.read_text()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_generated_python_parses_and_generated_go_is_formatted(case: Path, product: Path) -> None:
    for path, content in generated(case, Sources(product)).items():
        if path.endswith(".py"):
            ast.parse(content)
        if path in ("policy-engine/main.go", "policy-engine/plugin_registry.go"):
            done = subprocess.run(["gofmt"], input=content, capture_output=True, check=True, timeout=60)
            assert done.stdout == content, path


@pytest.mark.compiles
def test_the_generated_engine_compiles_with_its_python_registrations_too(product: Path, tmp_path: Path) -> None:
    policies = validate(discover(locate(read_manifest(TESTDATA / "mixed.build" / "build.yaml"))))
    write_tree(generate_workspace(generate_engine(policies, Sources(product)), Sources(product)), tmp_path)
    done = go("build", "-o", tmp_path / "engine", ".", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    output = subprocess.run([tmp_path / "engine"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert "paint v2.0.0 executor group slow <nil>" in output.splitlines()


def test_a_build_without_python_has_an_empty_scaffold_and_no_registry(product: Path) -> None:
    tree = generated(TESTDATA / "go-only.build", Sources(product))
    assert [path for path in tree if path.startswith("python-executor/")] == ["python-executor/.keep"]
    assert not any(path.startswith("requirements") for path in tree)
    assert b"BridgeFactory" not in tree["policy-engine/plugin_registry.go"]
