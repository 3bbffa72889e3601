"""The output folder changes as a whole or not at all."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from gatewright_builder.mistake import BuildError
from gatewright_builder.output import commit, refuse_foreign, stage, stage_file, staged
from gatewright_builder.tree import read_tree, write_tree


def test_staged_parts_replace_those_of_the_output_and_unwanted_ones_leave(tmp_path: Path) -> None:
    output = tmp_path / "stock"
    write_tree({"bin/old": b"1", "python-env/old/x": b"1", "requirements/old.txt": b"1", "kept-by-hand": b"1"}, output)
    with staged(output) as staging:
        stage(staging, output, "bin", {"new": b"2"})
        changed = commit(staging, output, ("python-env", "requirements"))
    assert changed == ("bin", "python-env", "requirements")
    assert read_tree(output) == {"bin/new": b"2", "kept-by-hand": b"1"}
    assert [path.name for path in tmp_path.iterdir()] == ["stock"]


def test_a_commit_that_fails_half_way_is_taken_back(tmp_path: Path) -> None:
    output = tmp_path / "stock"
    before = {"bin/engine": b"1", "manifest.json": b"1", "python-env": b"a file where a folder has to be"}
    write_tree(before, output)
    with staged(output) as staging:
        stage(staging, output, "bin", {"engine": b"2"})
        stage(staging, output, "python-env/default", {"x": b"2"})
        with pytest.raises(FileExistsError, match="python-env"):
            commit(staging, output, ())
    assert read_tree(output) == before


def test_what_a_killed_build_left_is_no_part_of_the_next(tmp_path: Path) -> None:
    output = tmp_path / "stock"
    write_tree({"bin/engine": b"half"}, tmp_path / ".stock.staging")
    with staged(output) as staging:
        stage_file(staging, output, "manifest.json", b"2")
        commit(staging, output, ())
    assert read_tree(output) == {"manifest.json": b"2"}


def test_builds_of_several_outputs_beside_each_other_do_not_wait(tmp_path: Path) -> None:
    with staged(tmp_path / "one") as first, staged(tmp_path / "two") as second:
        assert first != second


def test_a_build_of_an_output_waits_for_the_one_under_way_and_reports_it(tmp_path: Path) -> None:
    output, waits, entered = tmp_path / "stock", threading.Event(), threading.Event()

    def build_second() -> None:
        with staged(output, lambda _: waits.set()) as staging:
            entered.set()
            stage_file(staging, output, "manifest.json", b"2")
            commit(staging, output, ())

    with ThreadPoolExecutor() as threads:
        with staged(output) as staging:
            second = threads.submit(build_second)
            assert waits.wait(20)
            assert not entered.is_set()
            stage_file(staging, output, "manifest.json", b"1")
            commit(staging, output, ())
        second.result(20)
    assert read_tree(output) == {"manifest.json": b"2"}
    assert [path.name for path in tmp_path.iterdir()] == ["stock"]


def test_many_builds_of_an_output_go_one_after_the_other(tmp_path: Path) -> None:
    output, under_way = tmp_path / "stock", threading.Lock()

    def build(number: int) -> None:
        with staged(output) as staging:
            assert under_way.acquire(blocking=False)
            assert not any(staging.iterdir())
            stage_file(staging, output, "manifest.json", str(number).encode())
            commit(staging, output, ())
            under_way.release()

    with ThreadPoolExecutor(8) as threads:
        assert len(list(threads.map(build, range(100)))) == 100


def test_an_equal_part_is_not_staged_and_bytecode_makes_it_another(tmp_path: Path) -> None:
    output, tree = tmp_path / "stock", {"policy.py": b"x = 1\n", ".keep": b""}
    write_tree(tree, output / "python-executor")
    with staged(output) as staging:
        assert not stage(staging, output, "python-executor", tree)
        assert stage(staging, output, "python-executor", {"policy.py": b"x = 2\n", ".keep": b""})
        write_tree({"__pycache__/policy.pyc": b"0"}, output / "python-executor")
        assert stage(staging, output, "python-executor", tree)


def test_a_part_lacking_a_file_is_staged_whole(tmp_path: Path) -> None:
    output = tmp_path / "stock"
    write_tree({"a.yaml": b"a"}, output / "policy-definitions")
    with staged(output) as staging:
        assert stage(staging, output, "policy-definitions", {"a.yaml": b"a", "b.yaml": b"b"})
        assert read_tree(staging / "policy-definitions") == {"a.yaml": b"a", "b.yaml": b"b"}


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("mine\n")
    with pytest.raises(BuildError, match="a folder with other things in it; name another one"):
        refuse_foreign(tmp_path)
    with pytest.raises(BuildError, match="got a file"):
        refuse_foreign(tmp_path / "requirements.txt")


@pytest.mark.parametrize("own", ["manifest.json", "bin/policy-engine.json"])
def test_an_earlier_output_an_empty_folder_and_none_are_free(tmp_path: Path, own: str) -> None:
    refuse_foreign(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    refuse_foreign(tmp_path / "empty")
    write_tree({own: b"", "python-env/x": b""}, tmp_path / "stock")
    refuse_foreign(tmp_path / "stock")


def test_a_full_disk_is_reported_in_words(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "policy-engine").touch()

    def copy(_source: str, _target: str) -> None:
        Path("/dev/full").write_bytes(b"x")

    with pytest.raises(BuildError) as refused, staged(tmp_path / "stock") as staging:
        shutil.copytree(tmp_path / "made", staging / "bin", copy_function=copy)
    assert str(refused.value) == (
        f"{tmp_path}/stock: expected an output folder that can be written, "
        f"got {tmp_path}/.stock.staging/bin/policy-engine: No space left on device; "
        "name another one with --output, or make room and give permission"
    )
