from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from gatewright_cli.commands.backup import back_up
from gatewright_cli.main import cli
from gatewright_cli.mistakes import PreflightError
from gatewright_controller.model import from_document
from gatewright_controller.store import open_store

SAMPLE = yaml.safe_load((Path(__file__).resolve().parents[3] / "samples" / "hello.yaml").read_text())
NAMES = ["one", "two", "three", "four"]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state directory whose controller runs, and has just got four APIs."""
    folder = tmp_path / "state"
    folder.mkdir()
    store = open_store(f"sqlite:{folder / 'controller.db'}")
    for name in NAMES:
        spec = {**SAMPLE["spec"], "context": f"/{name}"}
        store.create(from_document({**SAMPLE, "metadata": {"name": name}, "spec": spec}))
    yield folder
    store.close()


def names(database: Path) -> list[str]:
    store = open_store(f"sqlite:{database}")
    try:
        return [api.name for api in store.list()]
    finally:
        store.close()


def test_the_newest_writes_are_in_it(state: Path, tmp_path: Path) -> None:
    shutil.copy(state / "controller.db", tmp_path / "copied.db")
    assert names(tmp_path / "copied.db") == [], "the reason why there is a command for it"
    done = CliRunner().invoke(cli, ["backup", "--state-dir", str(state), str(tmp_path / "apis.db")])
    assert done.stdout == f"4 APIs in {tmp_path}/apis.db\n"
    assert stat.S_IMODE((tmp_path / "apis.db").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.glob("apis.db*")] == ["apis.db"]
    assert names(tmp_path / "apis.db") == sorted(NAMES)


def test_a_file_that_is_there_stays(state: Path, tmp_path: Path) -> None:
    (tmp_path / "apis.db").write_text("mine")
    with pytest.raises(PreflightError, match=r"apis\.db: File exists: choose another file"):
        back_up(f"sqlite:{state}/controller.db", tmp_path / "apis.db")
    assert (tmp_path / "apis.db").read_text() == "mine"


def test_without_a_database_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="found none: name the state directory"):
        back_up(f"sqlite:{tmp_path}/controller.db", tmp_path / "apis.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no database" * 1000])
def test_a_foreign_database_leaves_no_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "controller.db").write_bytes(content)
    with pytest.raises(PreflightError, match=r"apis\.db: (file is not a database|no such table: apis); the file"):
        back_up(f"sqlite:{tmp_path}/controller.db", tmp_path / "apis.db")
    assert [path.name for path in tmp_path.iterdir()] == ["controller.db"]
