from __future__ import annotations

from pathlib import Path

import pytest

from bench.edit import SHAPES, Shape


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.key)
def test_an_edit_changes_the_answer(shape: Shape, tmp_path: Path) -> None:
    shape.make(tmp_path)
    original = (tmp_path / shape.edited).read_text()
    assert original.count(shape.old) == 1
    assert shape.header in original
    shape.edit(tmp_path, original, "mark-1")
    assert '"mark-1"' in (tmp_path / shape.edited).read_text()
    assert (tmp_path / "build.yaml").exists()
    assert list((tmp_path / "apis").iterdir())
