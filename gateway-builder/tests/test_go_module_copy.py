"""A Go policy's module under another path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from gatewright_builder.go_module_copy import go_version, moved_module
from gatewright_builder.policy import Policy
from gatewright_builder.tree import write_tree

DEFINITION = b"name: sample\nversion: v1.0.0\nruntime: go\nprocessingMode:\n  requestHeaderMode: PROCESS\n"
GO_MOD = b"""// A policy.
module example.com/sample // of ours

go 1.26

require (
	example.com/sample-lib v1.0.0
	gatewright.dev/sdk v0.0.0
)

replace (
	example.com/sample-lib => example.com/fork v1.1.0
	gatewright.dev/sdk v0.0.0 => ../../sdk/go
)

replace gatewright.dev/sdk => ../../sdk/go
"""
SOURCE = b"""package sample

import "example.com/sample/one"

import (
	"example.com/sample-lib/two"
	. "example.com/sample/three"
	_ "example.com/sample"
	named "example.com/sample/four" // why
)

var text = []string{
	"example.com/sample/kept",
}
"""


@pytest.fixture
def moved(tmp_path: Path, discovered: Callable[[Path], Policy]) -> dict[str, bytes]:
    files = {"policy-definition.yaml": DEFINITION, "go.mod": GO_MOD, "sample.go": SOURCE, "doc.txt": SOURCE}
    write_tree(files, tmp_path / "sample")
    return moved_module(discovered(tmp_path / "sample"))


def test_imports_of_its_own_packages_are_replaced_and_no_others(moved: dict[str, bytes]) -> None:
    new = b"gatewright.dev/build/policies/sample_v1_0_0"
    expected = SOURCE
    for own in (b'"example.com/sample/one"', b'"example.com/sample/three"', b'"example.com/sample"',
                b'"example.com/sample/four"'):  # fmt: skip
        expected = expected.replace(own, own.replace(b"example.com/sample", new))
    assert moved["sample.go"] == expected
    assert moved["doc.txt"] == SOURCE


def test_of_go_mod_the_version_and_the_requirements_are_left(moved: dict[str, bytes]) -> None:
    assert moved["go.mod"].decode().splitlines() == [
        "module gatewright.dev/build/policies/sample_v1_0_0",
        "",
        "go 1.26",
        "",
        "require (",
        "\texample.com/sample-lib v1.0.0",
        "\tgatewright.dev/sdk v0.0.0",
        ")",
    ]


def test_the_newest_go_version_wins_as_a_number() -> None:
    assert go_version(b"go 1.9\n", b"module x\n\ngo 1.26.0\n", b"go 1.10\n", b"module y\n") == "1.26.0"


def test_a_package_of_a_module_is_moved_as_a_module_of_its_own(
    tmp_path: Path, discovered: Callable[[Path], Policy]
) -> None:
    source = SOURCE.replace(b"example.com/sample/", b"example.com/sample/limits/basic/")
    policy = {"policy-definition.yaml": DEFINITION, "sample.go": source}
    files = {f"limits/basic/{name}": content for name, content in policy.items()}
    around = {"go.mod": GO_MOD, "go.sum": b"example.com/sample-lib v1.0.0 h1:x\n", "limits/other/other.go": SOURCE}
    write_tree(files | around, tmp_path)
    found = discovered(tmp_path / "limits" / "basic")
    assert found.sources["go.mod"].startswith(b"module example.com/sample/limits/basic\n")
    moved = moved_module(found)
    assert sorted(moved) == ["go.mod", "go.sum", "policy-definition.yaml", "sample.go"]
    assert moved["go.sum"] == around["go.sum"]
    assert moved["go.mod"].decode().splitlines()[0] == "module gatewright.dev/build/policies/sample_v1_0_0"
    assert b"example.com/sample-lib v1.0.0" in moved["go.mod"]
    assert moved["sample.go"].count(b'"gatewright.dev/build/policies/sample_v1_0_0/') == 3
