"""The definitions that come with the controller are those of the stock build's policies that do not ship."""

from __future__ import annotations

from pathlib import Path

import pytest
from gatewright_builder.default_policies import generate_default_policies, main, read_policies
from gatewright_builder.sources import find_sources
from gatewright_builder.tree import read_tree

TESTDATA = Path(__file__).parent / "testdata"


def test_default_policies_are_what_the_builder_writes(tmp_path: Path) -> None:
    root = find_sources().root
    main([str(root / "build.yaml"), str(tmp_path)])
    expected, committed = read_tree(tmp_path), read_tree(root / "gateway-controller" / "default-policies")
    cure = "run: python -m gatewright_builder.default_policies build.yaml gateway-controller/default-policies"
    assert committed == expected, cure
    shipped = {f"{folder.name}.yaml" for folder in find_sources().shipped_policies}
    named = generate_default_policies(read_policies(root / "build.yaml"))
    assert {"add-python-header.yaml", "log-message.yaml", "add-headers.yaml"} <= set(expected) | shipped
    assert set(named) - shipped == set(expected)


def test_the_command_writes_definitions_word_for_word_and_removes_others(tmp_path: Path) -> None:
    (tmp_path / "gone.yaml").write_text("name: gone\n")
    main([str(TESTDATA / "go-only.build" / "build.yaml"), str(tmp_path)])
    written = read_tree(tmp_path)
    assert list(written) == ["add-headers.yaml"]
    original = (TESTDATA / "policies" / "add-headers" / "policy-definition.yaml").read_bytes()
    assert written["add-headers.yaml"].split(b"\n", 1)[1] == original


def test_several_versions_of_a_policy_have_a_file_each(tmp_path: Path) -> None:
    main([str(TESTDATA / "mixed.build" / "build.yaml"), str(tmp_path)])
    assert list(read_tree(tmp_path)) == [
        "add-headers-v1.10.0.yaml", "add-headers-v1.9.0.yaml", "paint-v1.0.0.yaml", "paint-v2.0.0.yaml",
    ]  # fmt: skip


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"policy/policy\.py:1: expected on_request"):
        main([str(TESTDATA / "no-hooks.bad" / "build.yaml"), str(tmp_path)])
