"""How a command finds its run; tests/node/test_run_dir.py tests the run directory itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gatewright_cli.node.files.finding_run import find_run
from gatewright_cli.node.files.run_dir import RunDir, RunDirError

if TYPE_CHECKING:
    from cli.tests.conftest import Bench


class Runs:
    """Run directories of this user's, in a place of the test's own."""

    def __init__(self, projects: Path) -> None:
        self.projects = projects
        self.open: list[RunDir] = []

    def folder(self, name: str) -> Path:
        (self.projects / name).mkdir(parents=True, exist_ok=True)
        return self.projects / name

    def start(self, name: str, manifest: str | None = "build.yaml", state_dir: str = ".gatewright") -> Path:
        folder = self.folder(name)
        if manifest:
            (folder / manifest).touch()
        directory = RunDir.open()
        self.open.append(directory)
        directory.write_status({
            "manifest": str(folder / manifest) if manifest else None,
            "folder": str(folder), "stateDir": str(folder / state_dir),
        })  # fmt: skip
        return directory.path


@pytest.fixture
def runs(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(bench.folder))
    monkeypatch.delenv("GATEWRIGHT_RUN_DIR", raising=False)
    found = Runs(tmp_path.resolve())
    yield found
    for directory in found.open:
        directory.remove()


def test_a_command_means_the_run_of_its_folder(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = runs.start("a"), runs.start("b")
    for folder, expected in (("a", a), ("a/policies/greet", a), ("b", b), ("b/.gatewright", b)):
        monkeypatch.chdir(runs.folder(folder))
        assert find_run() == expected


def test_the_nearest_one_where_projects_lie_in_each_other(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    outer, inner = runs.start("a"), runs.start("a/inner")
    for folder, expected in (("a", outer), ("a/other", outer), ("a/inner/apis", inner)):
        monkeypatch.chdir(runs.folder(folder))
        assert find_run() == expected


def test_a_run_without_a_manifest_is_that_of_its_state_directory(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    a, _ = runs.start("a", manifest=None, state_dir="state"), runs.start("b")
    for folder in ("a", "a/state", "a/state/engine"):
        monkeypatch.chdir(runs.folder(folder))
        assert find_run() == a


def test_the_only_run_is_another_folders(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    a = runs.start("a")
    monkeypatch.chdir(runs.folder("b"))
    with pytest.raises(RunDirError) as refused:
        find_run()
    folder, other = runs.projects / "b", runs.projects / "a"
    assert str(refused.value) == (
        f"expected a run whose manifest or state directory is in {folder} or above it, got 1 of another folder:\n"
        f"  manifest {other}/build.yaml, started in {other}: --run-dir {a}\n"
        "go to its folder, or name it with --run-dir or GATEWRIGHT_RUN_DIR"
    )


def test_a_project_that_does_not_run_is_not_the_run_above_it(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.start("a")
    (runs.folder("a/project") / "build.yaml").touch()
    for folder in ("a/project", "a/project/policies"):
        monkeypatch.chdir(runs.folder(folder))
        with pytest.raises(RunDirError, match="got 1 of another folder"):
            find_run()


def test_two_runs_of_other_folders_are_named_with_their_differences(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = runs.start("a"), runs.start("b", manifest=None)
    monkeypatch.chdir(runs.folder("c"))
    with pytest.raises(RunDirError) as refused:
        find_run()
    lines = str(refused.value).splitlines()
    assert lines[0].endswith("got 2 of other folders:")
    assert sorted(lines[1:-1]) == [
        f"  manifest {runs.projects}/a/build.yaml, started in {runs.projects}/a: --run-dir {a}",
        f"  state directory {runs.projects}/b/.gatewright, started in {runs.projects}/b: --run-dir {b}",
    ]
    assert lines[-1] == "go to the folder of one, or name it with --run-dir or GATEWRIGHT_RUN_DIR"


def test_two_runs_of_one_folder_are_named(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = runs.start("a"), runs.start("a", manifest="other.yaml", state_dir=".second")
    monkeypatch.chdir(runs.folder("a"))
    with pytest.raises(RunDirError) as refused:
        find_run()
    message = str(refused.value)
    assert message.startswith(f"expected one run whose manifest or state directory is in {runs.projects}/a, got 2:\n")
    assert f"--run-dir {first}\n" in message
    assert f"manifest {runs.projects}/a/other.yaml, started in {runs.projects}/a: --run-dir {second}\n" in message
    monkeypatch.chdir(runs.folder("a/.second"))
    assert find_run() == second


def test_the_environment_names_one(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.start("a")
    monkeypatch.chdir(runs.folder("a"))
    monkeypatch.setenv("GATEWRIGHT_RUN_DIR", "/somewhere/else")
    assert find_run() == Path("/somewhere/else")


def test_no_run_at_all(runs: Runs, bench: Bench) -> None:
    with pytest.raises(RunDirError) as refused:
        find_run()
    assert str(refused.value) == (
        f"expected a run with its directory below {bench.folder}, got none: start one with `gatewright run`, "
        "or name its directory with --run-dir or GATEWRIGHT_RUN_DIR"
    )
    assert runs.open == []
