from __future__ import annotations

from pathlib import Path

from gatewright_cli.builds.build_output import load
from gatewright_cli.builds.difference import Difference, difference

from cli.tests.outputs import policy, put, write_output


def test_the_difference_of_two_builds(tmp_path: Path) -> None:
    stays = policy("stays", group="steady")
    before = write_output(tmp_path / "1", policy("changes"), policy("goes"), stays, policy("moves", group="old"))
    after = write_output(
        tmp_path / "2", policy("changes", sourceDigest="2"), policy("comes"), stays, policy("moves", group="new")
    )
    found = difference(before, after)
    assert found.policies == ("changes:v1.0.0", "comes:v1.0.0 new", "goes:v1.0.0 gone", "moves:v1.0.0")
    assert (found.restarts, found.keeps) == (("default", "new", "old"), ("steady",))
    assert found


def test_the_same_build_has_nothing_otherwise(tmp_path: Path) -> None:
    before, after = (write_output(tmp_path / name, policy("one")) for name in "ab")
    assert difference(before, after) == Difference(keeps=("default",))
    assert not difference(before, after)


def test_another_interpreter_is_another_group(tmp_path: Path) -> None:
    before = write_output(tmp_path / "a", policy("one"))
    write_output(tmp_path / "b", policy("one"))
    put(tmp_path / "b" / "python-env" / "default" / "gatewright-inputs", "another interpreter")
    assert difference(before, load(tmp_path / "b")).restarts == ("default",)


def test_a_build_without_digests_is_never_the_same(tmp_path: Path) -> None:
    before, after = (write_output(tmp_path / name, policy("one")) for name in "ab")
    for folder in ("a", "b"):
        (tmp_path / folder / "python-env" / "default" / "gatewright-inputs").unlink()
    assert difference(load(before.path), load(after.path)).restarts == ("default",)
