from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bench import revision
from bench.error import BenchError


def git(*arguments: str) -> None:
    identity = ("-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two commits; the work tree is at the second one."""
    home = tmp_path / "repository"
    home.mkdir()
    monkeypatch.chdir(home)
    git("init", "--quiet")
    for line in ("@echo first >> set-up", "@echo second >> set-up"):
        (home / "Makefile").write_text(f"setup:\n\t{line}\n")
        git("add", "Makefile")
        git("commit", "--quiet", "--message", line)
    return home


def test_a_work_tree_is_set_up_by_its_own_makefile(repository: Path) -> None:
    commit = revision.resolve("HEAD~1")
    tree = revision.checkout(commit, Path("build") / commit)
    assert tree.is_absolute()
    assert (tree / "set-up").read_text() == "first\n"
    assert not (repository / "set-up").exists()


def test_a_work_tree_is_set_up_again_and_after_its_deletion_made_again(repository: Path) -> None:
    commit = revision.resolve("HEAD~1")
    tree = revision.checkout(commit, Path("tree"))
    assert revision.checkout(commit, Path("tree")) == tree == repository / "tree"
    assert (tree / "set-up").read_text() == "first\nfirst\n"
    for file in [*tree.iterdir()]:
        file.unlink()
    tree.rmdir()
    assert (revision.checkout(commit, Path("tree")) / "set-up").read_text() == "first\n"


def test_a_failed_setup_reports_its_output(repository: Path) -> None:
    (repository / "Makefile").write_text("setup:\n\t@echo no network && exit 1\n")
    git("commit", "--all", "--quiet", "--message", "broken")
    with pytest.raises(BenchError, match=r"make -C tree setup` to succeed, got\n(.*\n)*no network"):
        revision.checkout(revision.resolve("HEAD"), Path("tree"))
