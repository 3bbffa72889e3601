"""The definitions that ship with the controller are those of the policies of the stock build."""

from __future__ import annotations

from pathlib import Path

import pytest
from gatewright_builder.default_policies import generate_default_policies, main
from gatewright_builder.discovery import discover
from gatewright_builder.fetching.location import locate
from gatewright_builder.manifest import read_manifest
from gatewright_builder.sources import find_sources
from gatewright_builder.tree import read_tree
from gatewright_builder.validation import validate

TESTDATA = Path(__file__).parent / "testdata"


def test_default_policies_are_what_the_builder_writes() -> None:
    root = find_sources().root
    expected = generate_default_policies(validate(discover(locate(read_manifest(root / "build.yaml")))))
    shipped = read_tree(root / "gateway-controller" / "default-policies")
    cure = "run: python -m gatewright_builder.default_policies build.yaml gateway-controller/default-policies"
    assert shipped == expected, cure
    assert {"add-python-header.yaml", "log-message.yaml", "add-headers.yaml"} <= set(expected)


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
    with pytest.raises(SystemExit, match=r"policy/policy\.py: expected on_request"):
        main([str(TESTDATA / "no-hooks.bad" / "build.yaml"), str(tmp_path)])
