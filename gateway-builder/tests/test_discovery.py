from __future__ import annotations

from pathlib import Path

from gatewright_builder.discovery import discover
from gatewright_builder.fetching.location import locate
from gatewright_builder.manifest import read_manifest
from gatewright_builder.tree import write_tree

DEFINITION = "name: {}\nversion: v1.0.0\nruntime: {}\nprocessingMode: {{requestHeaderMode: PROCESS}}\n"


def test_every_policy_that_can_be_read_is_beside_what_is_wrong_with_the_others(tmp_path: Path) -> None:
    files = {
        "build.yaml": "version: v1\npolicies:\n"
        + "".join(f"  - name: {name}\n    filePath: {name}\n" for name in ("in-go", "wrong", "in-python", "nowhere")),
        "in-go/policy-definition.yaml": DEFINITION.format("in-go", "go"),
        "in-go/policy.go": "",
        "in-go/policy_test.go": "",
        "wrong/policy-definition.yaml": DEFINITION.format("wrong", "rust"),
        "in-python/policy-definition.yaml": DEFINITION.format("in-python", "python"),
        "in-python/policy.py": "",
        "in-python/policy.go": "",
        "in-python/test_policy.py": "",
    }
    write_tree({path: text.encode() for path, text in files.items()}, tmp_path)
    found = discover(locate(read_manifest(tmp_path / "build.yaml")))
    assert {policy.key: sorted(policy.sources) for policy in found.policies} == {
        "in-go:v1.0.0": ["policy-definition.yaml", "policy.go"],
        "in-python:v1.0.0": ["policy-definition.yaml", "policy.go", "policy.py"],
    }
    assert [str(mistake).partition(" expected")[0] for mistake in found.mistakes] == [
        "build.yaml:9:",
        "wrong/policy-definition.yaml:3: runtime:",
    ]
