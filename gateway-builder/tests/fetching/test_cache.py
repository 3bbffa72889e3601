from __future__ import annotations

from pathlib import Path

import pytest
from gatewright_builder.fetching.cache import Cache, user_cache
from gatewright_builder.tree import read_tree, tree_digest

TREE = {"policy.py": b"1", "inner/words.py": b"2"}


def test_a_tree_is_found_again_by_its_digest(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    folder = cache.keep(TREE)
    assert cache.tree(tree_digest(TREE)) == folder
    assert read_tree(folder) == TREE
    assert cache.keep(TREE) == folder
    assert cache.tree(tree_digest({"other": b""})) is None


@pytest.mark.parametrize("change", ["changed", "added", "removed"])
def test_a_tree_that_was_changed_since_is_removed_and_not_returned(tmp_path: Path, change: str) -> None:
    cache = Cache(tmp_path)
    folder = cache.keep(TREE)
    if change == "removed":
        (folder / "policy.py").unlink()
    else:
        (folder / ("policy.py" if change == "changed" else ".hidden")).write_bytes(b"other")
    assert cache.tree(tree_digest(TREE)) is None
    assert not folder.exists()
    assert read_tree(cache.keep(TREE)) == TREE


def test_what_a_name_led_to_is_remembered_whatever_the_name(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert cache.remembered("https://host/../a?b") is None
    cache.remember("https://host/../a?b", "digest")
    assert cache.remembered("https://host/../a?b") == "digest"
    assert cache.remembered("https://host/../a?c") is None


def test_scratch_folders_go_with_their_context(tmp_path: Path) -> None:
    with Cache(tmp_path).scratch() as folder:
        assert Path(folder).is_dir()
    assert not Path(folder).exists()


def test_where_a_users_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWRIGHT_CACHE_DIR", str(tmp_path / "own"))
    assert user_cache().root == tmp_path / "own"
    monkeypatch.delenv("GATEWRIGHT_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert user_cache().root == tmp_path / "xdg" / "gatewright"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache().root == tmp_path / ".cache" / "gatewright"
