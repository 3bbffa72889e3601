from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from gatewright_builder.engine_record import EngineRecord, GoModule
from gatewright_builder.go_dependencies import asked_above, raised_in
from gatewright_builder.policy import Policy
from gatewright_builder.sources import Sources
from gatewright_builder.tree import write_tree

ENGINE_MOD = b"module gatewright.dev/policy-engine\n\nrequire (\n\ta v1.9.0\n\tb v0.1.0\n)\n"
Make = Callable[[str, str], Policy]


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    write_tree({"gateway-runtime/policy-engine/go.mod": ENGINE_MOD}, tmp_path)
    return Sources(tmp_path)


@pytest.fixture
def made(tmp_path: Path, discovered: Callable[[Path], Policy]) -> Make:
    def make(name: str, requires: str) -> Policy:
        text = f"name: {name}\nversion: v1.0.0\nruntime: go\nprocessingMode: {{requestHeaderMode: PROCESS}}\n"
        go_mod = f"module {name}\n{requires}\n"
        write_tree({"policy-definition.yaml": text.encode(), "go.mod": go_mod.encode()}, tmp_path / name)
        return discovered(tmp_path / name)

    return make


def test_the_highest_version_above_the_engines_own_names_the_policies_that_ask_for_it(
    sources: Sources, made: Make
) -> None:
    policies = (made("one", "require a v1.10.0"), made("two", "require a v1.8.0"), made("three", "require a v1.10.0"))
    (raised,) = asked_above(policies, sources)
    assert str(raised) == "one:v1.0.0, three:v1.0.0 raise a dependency of the engine: a from v1.9.0 to v1.10.0"


def test_versions_up_to_the_engines_own_are_attributed_to_no_policy(sources: Sources, made: Make) -> None:
    assert list(asked_above((made("one", "require a v1.9.0"), made("two", "require c v9.0.0")), sources)) == []


def test_a_version_raised_by_another_module_is_reported_without_a_policy(sources: Sources, made: Make) -> None:
    record = EngineRecord("", "", "", {}, [GoModule("a", "v1.10.0"), GoModule("b", "v0.1.0"), GoModule("c", "v1.0.0")])
    (raised,) = raised_in(record, (made("one", "require c v1.0.0"),), sources)
    assert str(raised) == "what the Go policies ask for raises a dependency of the engine: a from v1.9.0 to v1.10.0"


def test_a_module_without_a_version_is_the_engines_own(sources: Sources) -> None:
    assert list(raised_in(EngineRecord("", "", "", {}, [GoModule("a", "(devel)")]), (), sources)) == []
