from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from gatewright_builder.go_source import validate_go_directory_structure
from gatewright_builder.policy import Policy
from gatewright_builder.tree import write_tree

DEFINITION = b"name: sample\nversion: v1.0.0\nruntime: go\nprocessingMode:\n  requestHeaderMode: PROCESS\n"
SOURCE = b"package sample\n\nfunc GetPolicy("
GO_MOD = b"module example.com/sample\n\ngo 1.26\n"
CheckPolicy = Callable[..., list[str]]


@pytest.fixture
def check_policy(tmp_path: Path, discovered: Callable[[Path], Policy]) -> CheckPolicy:
    """Returns the mistakes in a policy of these files beside its definition."""

    def check(**files: bytes) -> list[str]:
        tree = {"go.mod": GO_MOD, "sample.go": SOURCE} | {name.replace("__", "."): text for name, text in files.items()}
        write_tree({"policy-definition.yaml": DEFINITION} | tree, tmp_path / "sample")
        return list(map(str, validate_go_directory_structure(discovered(tmp_path / "sample"))))

    return check


def test_a_module_that_exports_a_factory_is_right(check_policy: CheckPolicy) -> None:
    assert check_policy() == []
    assert check_policy(sample__go=b"package sample\n\nvar GetPolicy = policy.New\n") == []


def test_a_package_without_a_factory_is_named(check_policy: CheckPolicy) -> None:
    (mistake,) = check_policy(sample__go=b"package sample\n\nfunc getPolicy() {}\n")
    assert mistake.startswith("sample: expected func GetPolicy(v1alpha.Metadata, v1alpha.Params)")
    assert mistake.endswith("got none in its .go files; export one from the package in this folder")


def test_a_command_is_no_policy(check_policy: CheckPolicy) -> None:
    (mistake,) = check_policy(sample__go=b"// A comment.\npackage main\n\nfunc GetPolicy(")
    assert (
        mistake == "sample/sample.go:2: expected a package that can be imported, got package main; rename the package"
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("replace gatewright.dev/sdk => ../sdk", None),
        ("replace gatewright.dev/sdk v0.0.0 => /sdk", None),
        ("toolchain go1.26.1", None),
        (
            "replace gatewright.dev/sdk => example.com/sdk v1.0.0",
            "no replace but that of gatewright.dev/sdk by a folder",
        ),
        ("replace example.com/a => ../a", "no replace but that of gatewright.dev/sdk by a folder"),
        ("exclude example.com/a v1.0.0", "no exclude, which would be the engine's too"),
        ("require example.com/a", "a module and its version"),
        ("requires example.com/a v1.0.0", "one of module, go, require"),
    ],
)
def test_go_mod_speaks_for_its_own_module_alone(check_policy: CheckPolicy, line: str, expected: str | None) -> None:
    found = check_policy(go__mod=GO_MOD + f"{line}\n".encode())
    assert [mistake.startswith(f"sample/go.mod:4: expected {expected}") for mistake in found] == (
        [True] if expected else []
    )
