from __future__ import annotations

from pathlib import Path

import pytest
from gatewright_cli.preflight import PreflightError
from gatewright_cli.starting import write_starter

FILES = {
    ".gitignore", "apis/hello.yaml", "build.yaml", "policies/greet/policy-definition.yaml", "policies/greet/policy.py",
    "policies/greet/requirements.txt", "policies/greet/test_policy.py",
}  # fmt: skip


def found(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    written = write_starter(tmp_path / "new" / "gateway")
    assert {path.as_posix() for path in written} == FILES == found(tmp_path / "new" / "gateway")


def test_what_is_there_stays_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "build.yaml").write_text("mine")
    (tmp_path / "apis").mkdir()
    (tmp_path / "apis" / "hello.yaml").write_text("mine too")
    with pytest.raises(PreflightError) as refused:
        write_starter(tmp_path)
    assert len(refused.value.mistakes) == 2
    assert f"{tmp_path}/build.yaml is already there" in str(refused.value)
    assert found(tmp_path) == {"build.yaml", "apis/hello.yaml"}


def test_other_files_are_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    write_starter(tmp_path)
    assert found(tmp_path) == {*FILES, "README.md"}


def test_a_place_where_nothing_can_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PreflightError, match=r"file.*: Not a directory: choose another folder"):
        write_starter(tmp_path / "file")
