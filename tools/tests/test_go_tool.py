"""Programs in Go that checkouts share: which built one is taken for which sources."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import go_tool  # noqa: E402


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A module without tools."""
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "go.mod").write_text("module example.com/tools\n\ngo 1.26\n")
    (folder / "go.sum").touch()
    return folder


def test_a_program_is_built_once_wherever_its_module_lies(module: Path, tmp_path: Path) -> None:
    shutil.copytree(module, tmp_path / "another")
    assert go_tool.digest_of(tmp_path / "another") == go_tool.digest_of(module)


def test_another_version_of_a_dependency_is_another_program(module: Path) -> None:
    before = go_tool.digest_of(module)
    (module / "go.sum").write_text("example.com/used v1.0.0 h1:digest\n")
    assert go_tool.digest_of(module) != before


@pytest.mark.parametrize(("name", "value"), [("GOFLAGS", "-ldflags=-s"), ("GOARCH", "riscv64")])
def test_other_settings_of_the_machine_are_another_program(
    module: Path, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = go_tool.digest_of(module)
    monkeypatch.setenv(name, value)
    assert go_tool.digest_of(module) != before


def test_other_build_flags_are_another_program(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = go_tool.digest_of(module)
    monkeypatch.setattr(go_tool, "BUILD", (*go_tool.BUILD, "-trimpath"))
    assert go_tool.digest_of(module) != before


def test_another_compiler_is_another_program(module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that prints its version alone, and no other setting of `go env`."""
    before = go_tool.digest_of(module)
    other = tmp_path / "bin" / "go"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\necho go1.99.0\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(other.parent), prepend=":")
    assert go_tool.digest_of(module) != before
    other.write_text("#!/bin/sh\necho go1.99.1\n")
    first = go_tool.digest_of(module)
    other.write_text("#!/bin/sh\necho go1.99.0\n")
    assert go_tool.digest_of(module) != first
