from __future__ import annotations

import os
from pathlib import Path

import pytest
from gatewright_builder.records import ITSELF, Records, contents_of, same_content, user_records


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    (made / "bin").mkdir(parents=True)
    (made / "bin" / "tool").write_text("tool")
    (made / "link").symlink_to("bin/tool")
    return made


def test_what_was_kept_is_known_and_equal(tmp_path: Path, folder: Path) -> None:
    records = Records(tmp_path / "records")
    assert records.read(folder) is None
    assert records.differences(folder) is None
    records.keep(folder, contents_of(folder))
    assert records.differences(folder) == []
    assert sorted(contents_of(folder)) == ["bin/tool", "link"]
    assert list(contents_of(folder / "bin" / "tool")) == [ITSELF]


def test_a_file_with_the_same_inode_size_and_change_is_not_read(folder: Path) -> None:
    known = contents_of(folder)
    (folder / "bin" / "tool").chmod(0)  # it changes st_ctim, so that it is read, which root may
    (folder / "bin" / "tool").chmod(0o600)
    found = contents_of(folder, known)
    assert found["link"] is known["link"]
    assert found["bin/tool"] is not known["bin/tool"]
    assert same_content(found, known)


def test_the_permission_to_run_and_a_links_target_count(folder: Path) -> None:
    before = contents_of(folder)
    (folder / "bin" / "tool").chmod(0o700)
    assert not same_content(before, contents_of(folder))
    (folder / "bin" / "tool").chmod(0o600)
    (folder / "link").unlink()
    (folder / "link").symlink_to("bin")
    assert not same_content(before, contents_of(folder))


def test_for_a_record_that_cannot_be_read_none_is_returned(tmp_path: Path, folder: Path) -> None:
    records = Records(tmp_path / "records")
    records.keep(folder, contents_of(folder))
    (file,) = (tmp_path / "records").glob("*.json")
    file.write_text("{")
    assert records.read(folder) is None


def test_where_records_cannot_be_written_a_build_goes_on(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "file").touch()
    records = Records(tmp_path / "file" / "records")
    records.keep(folder, contents_of(folder))
    assert records.differences(folder) is None


def test_where_a_users_records_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATEWRIGHT_RECORDS_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert user_records().root == tmp_path / "gatewright" / "builds"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    assert user_records().root == tmp_path / ".local" / "state" / "gatewright" / "builds"
