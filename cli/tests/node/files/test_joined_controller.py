from __future__ import annotations

from pathlib import Path

import pytest
from gatewright_cli.node.files.joined_controller import JoinedController


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("content")
    return path


def test_the_engine_is_given_absolute_paths(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    joined = JoinedController("gw.example:9443", Path("file"), token=Path("file"))
    assert list(joined.mistakes()) == []
    assert joined.engine_options == {
        "controller": "gw.example:9443",
        "controller-authority": str(file),
        "controller-token": str(file),
    }


def test_each_mistake_has_its_option_and_a_cure(file: Path, tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    found = [*JoinedController("gw.example").mistakes()]
    assert [sentence.partition(", got")[0] for sentence in found] == [
        "--join: expected HOST:PORT",
        "--join: expected --join-authority beside it",
        "--join: expected --join-token-file, or --join-certificate and --join-key",
    ]
    assert "gatewright token create" in found[2]
    (half,) = JoinedController("a:1", file, certificate=file).mistakes()
    assert half.startswith("--join: expected --join-certificate and --join-key, got one of them")
    assert [*JoinedController("a:1", absent, token=absent).mistakes()] == [
        f"--join-authority: {absent}: expected a file that can be read, got: No such file or directory",
        f"--join-token-file: {absent}: expected a file that can be read, got: No such file or directory",
    ]
