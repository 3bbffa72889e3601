"""Errors of the Go compiler, as sentences about policies. test_build and test_stock_engine compile whole engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from gatewright_builder.engine_compilation import Diagnostic, _diagnostics, _mistakes
from gatewright_builder.policy import Policy
from gatewright_builder.sources import Sources
from gatewright_builder.tree import Tree, write_tree

DEFINITION = b"name: sample\nversion: v1.0.0\nruntime: go\nprocessingMode: {requestHeaderMode: PROCESS}\n"
REGISTRY: Tree = {"plugin_registry.go": b"package main\n\nfunc init() {\n\tRegister(sample_v1_0_0.GetPolicy)\n}\n"}
Translate = Callable[[str], list[str]]


@pytest.fixture
def translate(tmp_path: Path, discovered: Callable[[Path], Policy]) -> Translate:
    write_tree({"policy-definition.yaml": DEFINITION, "go.mod": b"module sample\nrequire lib v1.2.0\n"}, tmp_path / "p")
    write_tree({"gateway-runtime/policy-engine/go.mod": b"module engine\nrequire lib v1.1.0\n"}, tmp_path)
    policy = discovered(tmp_path / "p")
    return lambda stderr: [str(mistake) for mistake in _mistakes(stderr, REGISTRY, (policy,), Sources(tmp_path))]


def test_lines_that_go_on_belong_to_the_error_above() -> None:
    stderr = "# gatewright.dev/build\n./main.go:3:1: cannot use x:\n\t\thave int\n\t\twant string\nmain.go:5: other\n"
    assert list(_diagnostics(stderr)) == [
        Diagnostic("main.go", 3, "cannot use x:; have int; want string"),
        Diagnostic("main.go", 5, "other"),
    ]


def test_an_error_in_a_policys_copy_names_the_policys_own_file(translate: Translate) -> None:
    assert translate("policies/sample_v1_0_0/inner/a.go:7:2: undefined: x\n") == [
        "sample/inner/a.go:7: expected Go that compiles, got undefined: x; fix it"
    ]


def test_an_error_in_the_registry_names_the_policy(translate: Translate) -> None:
    (sentence,) = translate("./plugin_registry.go:4:11: cannot use sample_v1_0_0.GetPolicy\n")
    assert sentence == (
        "sample: expected Go that compiles, got cannot use sample_v1_0_0.GetPolicy; "
        "give GetPolicy the type v1alpha.Factory"
    )


def test_an_error_elsewhere_names_the_dependency_that_a_policy_raises(translate: Translate) -> None:
    (sentence,) = translate("./main.go:2:1: undefined: lib.Gone\n")
    assert sentence == (
        "policy-engine/main.go:2: expected Go that compiles, got undefined: lib.Gone; "
        "sample:v1.0.0 raises a dependency of the engine: lib from v1.1.0 to v1.2.0: "
        "ask for a version that it compiles with"
    )


def test_output_without_a_place_is_quoted_whole(translate: Translate) -> None:
    (sentence,) = translate("go: no such module\n  at all\n")
    assert sentence.startswith(
        "policy-engine/: expected an engine that compiles, got go: no such module at all; sample:v1"
    )
