"""build.lock: read strictly, written whole, the same for the same build."""

from __future__ import annotations

from pathlib import Path

import pytest
from gatewright_builder.lock_file import GroupPin, Lock, lock_path, read_lock, refuse_change, write_lock
from gatewright_builder.mistake import BuildError
from gatewright_builder.origin import Pin

LOCK = Lock(
    1, {"pipPackage b": Pin("2", "1.0"), "gomodule a": Pin("1", sum="h1:x")}, {"default": GroupPin("3", ["c==1"])}
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = lock_path(tmp_path / "my-build.yaml")
    assert file == tmp_path / "my-build.lock"
    assert write_lock(file, LOCK)
    assert read_lock(file) == LOCK
    assert not write_lock(file, LOCK), "nothing has changed"
    assert [path.name for path in tmp_path.iterdir()] == ["my-build.lock"]


def test_the_order_of_a_build_does_not_matter(tmp_path: Path) -> None:
    write_lock(tmp_path / "build.lock", LOCK)
    turned = Lock(1, dict(reversed(LOCK.sources.items())), LOCK.groups)
    assert not write_lock(tmp_path / "build.lock", turned)


def test_nothing_to_lock_is_no_file(tmp_path: Path) -> None:
    assert not write_lock(tmp_path / "build.lock", Lock())
    write_lock(tmp_path / "build.lock", LOCK)
    assert write_lock(tmp_path / "build.lock", Lock())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("<<<<<<< HEAD", "build.lock: expected a lock that gatewright build wrote, got JSON is malformed"),
        ('{"version": 1, "sources": {"a": 1}}', "got Expected `object`, got `int` - at `$.sources[...]`; take it from"),
        ('{"version": 2}', "build.lock: expected version 1, got 2; use the gatewright that wrote it"),
    ],
)
def test_a_broken_lock_is_refused(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "build.lock").write_text(content)
    with pytest.raises(BuildError) as caught:
        read_lock(tmp_path / "build.lock")
    assert sentence in str(caught.value)


def test_a_locked_build_refuses_another_lock(tmp_path: Path) -> None:
    write_lock(tmp_path / "build.lock", LOCK)
    refuse_change(tmp_path / "build.lock", LOCK)
    refuse_change(tmp_path / "none.lock", Lock())
    for other in (Lock(), Lock(1, {}, LOCK.groups)):
        with pytest.raises(BuildError, match="build without --locked and commit it"):
            refuse_change(tmp_path / "build.lock", other)
