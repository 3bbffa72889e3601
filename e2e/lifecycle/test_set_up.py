"""tools/setup.py: the commands that it would run."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from e2e.kit.places import ROOT


def test_a_set_up_fetches_nothing_without_a_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither packages, nor what builds our own."""
    spec = importlib.util.spec_from_file_location("setup_of_this_project", ROOT / "tools" / "setup.py")
    assert spec
    assert spec.loader
    setup = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(setup)
    ran: list[tuple[str, ...]] = []
    for name, stand_in in {
        "STAMP": tmp_path / "stamp",
        "UV_HOME": tmp_path / "uv",
        "machine_go": lambda: (0,),
        "run": lambda *words: ran.append(words),
    }.items():
        monkeypatch.setattr(setup, name, stand_in)
    setup.main()
    installs = [words for words in ran if "install" in words]
    assert len(installs) == 5
    for words in installs:
        assert "--require-hashes" in words or {"--no-deps", "--require-build-hashes"} <= set(words), words
    (ours,) = [words for words in installs if "-e" in words]
    assert ours[ours.index("--build-constraints") + 1] == "requirements/dev.txt"
