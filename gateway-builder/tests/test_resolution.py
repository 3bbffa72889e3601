"""Which packages a group gets. Conflicts are in the *.bad-build cases of test_build."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from gatewright_builder.events import Event, Step
from gatewright_builder.mistake import BuildError
from gatewright_builder.policy import Policy
from gatewright_builder.resolution import Group, resolve
from gatewright_builder.tree import write_tree

DEFINITION = b"name: sample\nversion: v1.0.0\nruntime: python\nprocessingMode: {requestHeaderMode: PROCESS}\n"
Resolve = Callable[..., Group]
pytestmark = pytest.mark.usefixtures("packages")


@pytest.fixture
def resolved(tmp_path: Path, discovered: Callable[[Path], Policy]) -> Resolve:
    """The only group, of a policy with this requirements.txt."""

    def make(requirements: str, before: Group | None = None, say: Callable[[Event], None] = lambda _: None) -> Group:
        write_tree(
            {"policy-definition.yaml": DEFINITION, "requirements.txt": requirements.encode()}, tmp_path / "sample"
        )
        pins = {before.name: before.pin} if before else {}
        (group,) = resolve((discovered(tmp_path / "sample"),), (), pins, say)
        return group

    return make


def locked(group: Group) -> list[str]:
    return [line.split(" ")[0] for line in group.pin.packages if "==" in line]


def test_the_newest_that_fits_is_locked_with_hashes(resolved: Resolve) -> None:
    group = resolved("tiny-rpc<1.3\n")
    assert locked(group) == ["tiny-rpc==1.2"]
    assert "--hash=sha256:" in group.pin.text


def test_a_pin_for_the_same_requirements_is_taken_without_asking(resolved: Resolve) -> None:
    events = list[Event]()
    before = resolved("tiny-rpc\n", say=events.append)
    assert events == [Step("resolving what the group default needs")]
    events.clear()
    again = resolved("tiny-rpc\n", before, events.append)
    assert (again.pin, events) == (before.pin, [])


def test_versions_of_the_pin_before_stay_where_they_fit(resolved: Resolve) -> None:
    before = resolved("tiny-rpc<1.3\n")
    assert locked(resolved("tiny-rpc\ncolour\n", before)) == ["colour==2.4", "tiny-rpc==1.2"]
    assert locked(resolved("tiny-rpc>1.2\n", before)) == ["tiny-rpc==1.3"]


def test_a_policy_that_cannot_be_satisfied_is_named_with_its_line(resolved: Resolve) -> None:
    with pytest.raises(BuildError, match=r"^sample/requirements\.txt:2: expected packages that exist and go together"):
        resolved("# why\ndark-kit==9\n")
