"""What the Go compiler says, as sentences about policies. test_build and test_stock_engine compile whole engines."""

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
Say = Callable[[str], list[str]]


@pytest.fixture
def said(tmp_path: Path, discovered: Callable[[Path], Policy]) -> Say:
    write_tree({"policy-definition.yaml": DEFINITION, "go.mod": b"module sample\nrequire lib v1.2.0\n"}, tmp_path / "p")
    write_tree({"gateway-runtime/policy-engine/go.mod": b"module engine\nrequire lib v1.1.0\n"}, tmp_path)
    policy = discovered(tmp_path / "p")
    return lambda stderr: [str(one) for one in _mistakes(stderr, REGISTRY, (policy,), Sources(tmp_path))]


def test_lines_that_go_on_belong_to_the_error_above() -> None:
    stderr = "# gatewright.dev/build\n./main.go:3:1: cannot use x:\n\t\thave int\n\t\twant string\nmain.go:5: other\n"
    assert list(_diagnostics(stderr)) == [
        Diagnostic("main.go", 3, "cannot use x:; have int; want string"),
        Diagnostic("main.go", 5, "other"),
    ]


def test_an_error_in_a_policys_copy_is_told_of_its_own_file(said: Say) -> None:
    assert said("policies/sample_v1_0_0/inner/a.go:7:2: undefined: x\n") == [
        "sample/inner/a.go:7: expected Go that compiles, got undefined: x; fix it"
    ]


def test_an_error_where_it_is_registered_is_told_of_the_policy(said: Say) -> None:
    (sentence,) = said("./plugin_registry.go:4:11: cannot use sample_v1_0_0.GetPolicy\n")
    assert sentence == (
        "sample: expected Go that compiles, got cannot use sample_v1_0_0.GetPolicy; "
        "give GetPolicy the type v1alpha.Factory"
    )


def test_an_error_elsewhere_names_the_dependency_that_a_policy_raises(said: Say) -> None:
    (sentence,) = said("./main.go:2:1: undefined: lib.Gone\n")
    assert sentence == (
        "policy-engine/main.go:2: expected Go that compiles, got undefined: lib.Gone; "
        "sample:v1.0.0 raises a dependency of the engine: lib from v1.1.0 to v1.2.0: "
        "ask for a version that it compiles with"
    )


def test_words_without_a_place_are_told_whole(said: Say) -> None:
    (sentence,) = said("go: no such module\n  at all\n")
    assert sentence.startswith(
        "policy-engine/: expected an engine that compiles, got go: no such module at all; sample:v1"
    )
