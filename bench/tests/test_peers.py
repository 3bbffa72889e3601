from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from bench import environment, plot
from bench.peers import PEERS, litellm_proxy

NAMES = sorted({plot.REQUIREMENTS, litellm_proxy.REQUIREMENTS, *(peer.requirements for peer in PEERS.values())} - {""})


@pytest.mark.parametrize("name", NAMES)
def test_requirements_of_environments_are_pinned_and_hashed(name: str) -> None:
    names = re.findall(r"^[\w.-]+", (environment.REQUIREMENTS / f"{name}.in").read_text(), re.MULTILINE)
    text = (environment.REQUIREMENTS / f"{name}.txt").read_text()
    assert names
    assert {name.lower() for name in names} <= set(re.findall(r"^([\w.-]+)(?:\[.*\])?==", text, re.MULTILINE))
    assert len(re.findall("==", text)) <= len(re.findall("--hash=sha256:", text))
    assert "://" not in text


def test_all_requirements_are_used() -> None:
    assert sorted(file.stem for file in environment.REQUIREMENTS.glob("*.in")) == NAMES


def test_an_environment_is_made_once_and_again_when_its_list_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "REQUIREMENTS", tmp_path)
    monkeypatch.setattr(environment, "ENVIRONMENTS", tmp_path / "env")
    (tmp_path / "none.txt").write_text("# nothing\n")
    interpreter = environment.python("none")
    assert interpreter.exists()
    assert not Path(sys.prefix).samefile(interpreter.parent.parent)
    mark = interpreter.parent / "mark"
    mark.touch()
    assert environment.python("none") == interpreter
    assert mark.exists()
    (tmp_path / "none.txt").write_text("# still nothing\n")
    environment.python("none")
    assert not mark.exists()
