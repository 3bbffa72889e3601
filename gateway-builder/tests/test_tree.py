from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from gatewright_builder.tree import below, is_cache, read_tree, text_digest, tree_digest, write_tree
from hypothesis import example, given
from hypothesis import strategies as st

NAMES = st.sampled_from(["a", "b", "a/b", "a/c", "d/e/f"])
TREES = st.dictionaries(NAMES, st.binary(max_size=8), max_size=4).filter(lambda tree: not {"a", "a/b"} <= tree.keys())
PLAIN_TREES = TREES.filter(lambda tree: not {"a", "a/c"} <= tree.keys())


def test_what_is_written_is_read(tmp_path: Path) -> None:
    tree = {"policy.py": b"1", "inner/deep/words.py": b"2", "empty": b""}
    write_tree(tree, tmp_path / "new")
    assert read_tree(tmp_path / "new") == tree
    assert list(read_tree(tmp_path / "new")) == sorted(tree)


def test_hidden_files_and_what_python_leaves_are_left_out(tmp_path: Path) -> None:
    write_tree({".git/a": b"", "b/.c": b"", "__pycache__/d": b"", "e.egg-info/f": b"", "g": b""}, tmp_path)
    assert list(read_tree(tmp_path)) == ["g"]
    assert len(read_tree(tmp_path, lambda _: False)) == 5
    assert is_cache(PurePosixPath("a/__pycache__/b"))


def test_a_folder_that_is_left_out_is_not_entered(tmp_path: Path) -> None:
    write_tree({"a/b": b"", "c": b""}, tmp_path)
    looked_at: list[str] = []

    def is_a(path: PurePosixPath) -> bool:
        looked_at.append(str(path))
        return path.name == "a"

    assert list(read_tree(tmp_path, is_a)) == ["c"]
    assert sorted(looked_at) == ["a", "c"]


@given(PLAIN_TREES, PLAIN_TREES)
@example({"a": b"1", "b": b"2"}, {"a": b"1b\0002"})
def test_equal_digests_mean_equal_trees(first: dict[str, bytes], second: dict[str, bytes]) -> None:
    assert (tree_digest(first) == tree_digest(second)) == (first == second)
    assert tree_digest(dict(reversed(first.items()))) == tree_digest(first)


@pytest.mark.parametrize(
    ("first", "second"), [(("a", "bc"), ("ab", "c")), (("a",), ("a", "")), (("a", "b"), ("b", "a"))]
)
def test_texts_are_kept_apart(first: tuple[str, ...], second: tuple[str, ...]) -> None:
    assert text_digest(*first) != text_digest(*second)


def test_a_tree_moves_below_a_folder() -> None:
    assert below("x/y", {"a": b"1", "b/c": b"2"}) == {"x/y/a": b"1", "x/y/b/c": b"2"}
