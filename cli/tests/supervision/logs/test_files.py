from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from gatewright_cli.supervision.logs.files import LogFiles


@pytest.fixture
def log(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A file, as `>> run.log` opens it."""
    path = tmp_path / "run.log"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    os.fchmod(descriptor, 0o640)
    yield path, descriptor
    os.close(descriptor)


def test_a_file_that_was_moved_away_is_followed_by_a_new_one(log: tuple[Path, int]) -> None:
    path, descriptor = log
    files = LogFiles([descriptor])
    os.write(descriptor, b"before\n")
    path.rename(path.with_suffix(".1"))
    os.write(descriptor, b"moved\n")
    assert files.reopen() == [str(path)]
    os.write(descriptor, b"after\n")
    assert (path.with_suffix(".1").read_text(), path.read_text()) == ("before\nmoved\n", "after\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_file_that_another_program_has_made_anew_is_written_to(log: tuple[Path, int]) -> None:
    path, descriptor = log
    files = LogFiles([descriptor])
    path.unlink()
    path.write_text("made by logrotate\n")
    assert files.reopen() == [str(path)]
    os.write(descriptor, b"ours\n")
    assert path.read_text() == "made by logrotate\nours\n"


def test_two_descriptors_of_one_file_stay_one(log: tuple[Path, int]) -> None:
    path, descriptor = log
    other = os.dup(descriptor)
    files = LogFiles([descriptor, other])
    path.rename(path.with_suffix(".1"))
    assert files.reopen() == [str(path)]
    os.write(descriptor, b"one\n")
    os.write(other, b"two\n")
    os.close(other)
    assert path.read_text() == "one\ntwo\n"


def test_an_unmoved_file_stays_open(log: tuple[Path, int]) -> None:
    path, descriptor = log
    before = os.fstat(descriptor)
    assert LogFiles([descriptor]).reopen() == []
    assert os.path.samestat(before, os.fstat(descriptor))
    assert path.exists()


def test_a_pipe_a_device_and_a_closed_descriptor_are_no_files() -> None:
    reading, writing = os.pipe()
    device = os.open(os.devnull, os.O_WRONLY)
    closed = os.dup(device)
    os.close(closed)
    assert LogFiles([writing, device, closed]).reopen() == []
    for descriptor in (reading, writing, device):
        os.close(descriptor)


def test_a_new_file_that_cannot_be_made_keeps_the_old_one(log: tuple[Path, int]) -> None:
    path, descriptor = log
    files = LogFiles([descriptor])
    path.rename(path.with_suffix(".1"))
    path.mkdir()
    with pytest.raises(OSError, match=r"Is a directory.*run\.log"):
        files.reopen()
    os.write(descriptor, b"goes on\n")
    assert path.with_suffix(".1").read_text() == "goes on\n"
