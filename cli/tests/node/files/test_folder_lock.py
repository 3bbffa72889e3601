from __future__ import annotations

import os
from pathlib import Path

import pytest
from gatewright_cli.node.files.folder_lock import lock_folder


def test_one_at_a_time_until_it_is_closed(tmp_path: Path) -> None:
    held = lock_folder(tmp_path)
    assert held is not None
    assert lock_folder(tmp_path) is None
    os.close(held)
    again = lock_folder(tmp_path)
    assert again is not None
    os.close(again)


def test_a_link_is_followed_where_it_may_be_one(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    found = lock_folder(tmp_path / "link")
    assert found is not None
    os.close(found)
    with pytest.raises(OSError, match="link"):
        lock_folder(tmp_path / "link", follow=False)


def test_a_file_instead_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        lock_folder(tmp_path / "file")
