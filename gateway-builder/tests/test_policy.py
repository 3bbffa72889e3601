from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from gatewright.access import Access
from gatewright.definition import Runtime
from gatewright_builder.policy import Policy, group_access, groups, of_runtime, sorted_policies
from gatewright_builder.tree import write_tree

Make = Callable[..., Policy]


@pytest.fixture
def made(tmp_path: Path, discovered: Callable[[Path], Policy]) -> Make:
    def make(name: str, version: str = "v1.0.0", runtime: str = "python", more: str = "") -> Policy:
        text = f"name: {name}\nversion: {version}\nruntime: {runtime}\nprocessingMode: {{requestHeaderMode: PROCESS}}\n"
        folder = tmp_path / f"{name}-{version}"
        write_tree({"policy-definition.yaml": f"{text}{more}".encode(), "policy.py": b"", "go.mod": b""}, folder)
        return discovered(folder)

    return make


def test_it_is_known_by_name_and_version(made: Make) -> None:
    policy = made("add-header", "v1.10.0")
    assert (policy.key, policy.identifier) == ("add-header:v1.10.0", "add_header_v1_10_0")
    assert (policy.runtime, policy.group, policy.shown) == (Runtime.PYTHON, "default", "sample")


def test_policies_are_sorted_by_name_and_by_version_as_numbers(made: Make) -> None:
    policies = (made("b", "v1.10.0"), made("a", "v2.0.0"), made("b", "v1.9.0"))
    assert [policy.key for policy in sorted_policies(policies)] == ["a:v2.0.0", "b:v1.9.0", "b:v1.10.0"]


def test_a_group_reaches_what_its_policies_reach_together(made: Make) -> None:
    first = made("a", more="files: {read: [/data]}\nnetwork: none\n")
    other = made("b", more="files: {write: [/data]}\nnetwork: [unix]\n")
    assert group_access((first, other)) == Access(read=(), write=("/data",), network=("unix",))


def test_go_policies_are_in_no_group(made: Make) -> None:
    policies = (made("a"), made("b", runtime="go"))
    assert {name: [policy.key for policy in members] for name, members in groups(policies).items()} == {
        "default": ["a:v1.0.0"]
    }
    assert of_runtime(policies, Runtime.GO) == (policies[1],)


def test_mistakes_name_its_file_its_line_and_its_field(made: Make) -> None:
    policy = made("a")
    assert str(policy.mistake("policy.py", "this", "that", "fix it", 7)) == (
        "sample/policy.py:7: expected this, got that; fix it"
    )
    assert str(policy.definition_mistake("processingMode.requestHeaderMode", "this", "that", "fix it")) == (
        "sample/policy-definition.yaml:4: processingMode.requestHeaderMode: expected this, got that; fix it"
    )


def test_the_digest_is_of_its_sources(made: Make) -> None:
    policy, same, other = made("a"), made("a"), made("a", more="description: other\n")
    assert policy.source_digest == same.source_digest != other.source_digest
