from __future__ import annotations

import os
from pathlib import Path

import pytest
from gatewright_cli.node.folder_lock import locked


def test_one_at_a_time_until_it_is_closed(tmp_path: Path) -> None:
    held = locked(tmp_path)
    assert held is not None
    assert locked(tmp_path) is None
    os.close(held)
    again = locked(tmp_path)
    assert again is not None
    os.close(again)


def test_a_link_is_followed_where_it_may_be_one(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    found = locked(tmp_path / "link")
    assert found is not None
    os.close(found)
    with pytest.raises(OSError, match="link"):
        locked(tmp_path / "link", follow=False)


def test_what_is_no_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        locked(tmp_path / "file")
