from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gatewright_cli.node.files.run_dir import RunDir, RunDirError, read_status

if TYPE_CHECKING:
    from cli.tests.conftest import Bench


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_new_one_is_private_and_goes_with_all_that_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    run_dir = RunDir.open()
    run_dir.socket("xds").touch()
    run_dir.write_status({"pid": 1})
    assert run_dir.path.stat().st_mode & 0o777 == 0o700
    assert (run_dir.path / "status.json").stat().st_mode & 0o777 == 0o600
    assert json.loads((run_dir.path / "status.json").read_text()) == {"pid": 1}
    assert names(run_dir.path) == ["status.json", "xds.sock"]
    run_dir.remove()
    assert not run_dir.path.exists()


def test_a_named_directory_is_used_and_stays(bench: Bench) -> None:
    (bench.folder / "own").touch()
    run_dir = RunDir.open(bench.folder)
    run_dir.write("bootstrap.yaml", "x")
    run_dir.remove()
    assert names(bench.folder) == ["events", "own"]


def test_the_status_of_a_killed_run_is_refused(bench: Bench) -> None:
    run_dir = RunDir.open(bench.folder / "run")
    run_dir.write_status({"pid": 1})
    left = (run_dir.path / "status.json").read_text()
    run_dir.remove()
    run_dir.path.mkdir()
    (run_dir.path / "status.json").write_text(left)
    with pytest.raises(RunDirError, match="any more"):
        read_status(run_dir.path)


def test_one_that_others_can_read_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(RunDirError, match=f"expected mode 700 and owner {os.getuid()}, got mode 755, owner"):
        RunDir.open(tmp_path)


def test_one_whose_sockets_would_be_too_long_is_refused_and_not_left(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 120)
    with pytest.raises(RunDirError, match="the system takes 107: choose a shorter one with --run-dir"):
        RunDir.open(long)
    assert not long.exists()


def test_only_directories_without_a_lock_are_removed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(bench.folder))
    for left in ("gatewright-left", "gatewright-without-status", "another"):
        (bench.folder / left).mkdir()
    for left in ("gatewright-left", "another"):
        (bench.folder / left / "status.json").touch()
    (bench.folder / "gatewright-left" / "xds.sock").touch()
    held = RunDir.open()
    held.write_status({})
    second = RunDir.open()
    kept = sorted(["another", "gatewright-without-status", held.path.name, second.path.name])
    assert [name for name in names(bench.folder) if name != "events"] == kept


def test_one_that_another_run_has_is_refused_and_left_as_it_is(bench: Bench) -> None:
    first = RunDir.open(bench.folder / "run")
    first.write_status({"pid": 1})
    with pytest.raises(RunDirError, match="another run uses it: choose another with --run-dir"):
        RunDir.open(bench.folder / "run")
    assert read_status(first.path) == {"pid": 1}
