from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from gatewright_documents.os_errors import os_reason

FULL = Path("/dev/full")


def copy_to_a_full_disk(_source: str, _target: str) -> None:
    FULL.write_bytes(b"x")


def test_a_path_that_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as refused:
        (tmp_path / "none" / "file").write_text("x")
    assert os_reason(refused.value) == f"{tmp_path}/none/file: No such file or directory"


def test_a_write_that_names_no_path() -> None:
    with pytest.raises(OSError, match="No space") as refused:
        FULL.write_bytes(b"x")
    assert os_reason(refused.value) == "No space left on device"


def test_a_copy_names_the_first_of_its_files_and_how_many_more(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "in").mkdir(parents=True)
    (source / "a").touch()
    with pytest.raises(shutil.Error) as single:
        shutil.copytree(source, tmp_path / "one", copy_function=copy_to_a_full_disk)
    assert os_reason(single.value) == f"{tmp_path}/one/a: No space left on device"
    (source / "in" / "b").touch()
    (source / "in" / "c").touch()
    with pytest.raises(shutil.Error) as several:
        shutil.copytree(source, tmp_path / "several", copy_function=copy_to_a_full_disk)
    reason = os_reason(several.value)
    assert reason.startswith(f"{tmp_path}/several/")
    assert reason.endswith(": No space left on device, and 2 more")


def test_a_copy_whose_source_is_gone_names_no_path_twice(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "link").symlink_to("nowhere")
    with pytest.raises(shutil.Error) as refused:
        shutil.copytree(source, tmp_path / "copy")
    assert os_reason(refused.value) == f"{tmp_path}/copy/link: No such file or directory"


def test_a_sentence_stays_one() -> None:
    assert os_reason(OSError("the folder is not what it was")) == "the folder is not what it was"
    assert os_reason(shutil.Error("Destination path 'x' already exists")) == "Destination path 'x' already exists"
