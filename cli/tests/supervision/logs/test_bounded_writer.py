from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from gatewright_cli.supervision.logs.bounded_writer import BoundedWriter

LINE = b"x" * 1023 + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def read_all(fd: int) -> bytes:
    pieces = []
    while piece := os.read(fd, 1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def lost(lines: int) -> bytes:
    return b"lost %d\n" % lines


def test_output_is_complete_and_in_order(pipe: tuple[int, int]) -> None:
    writer = BoundedWriter(pipe[1], lost, threading.Lock())
    for number in range(100):
        writer.write(b"%d\n" % number, 1)
    writer.close(60.0)
    os.close(pipe[1])
    assert read_all(pipe[0]) == b"".join(b"%d\n" % number for number in range(100))


def test_without_a_reader_lines_are_dropped_and_their_number_is_reported(pipe: tuple[int, int]) -> None:
    writer = BoundedWriter(pipe[1], lost, threading.Lock(), 4 * len(LINE))
    lock = threading.Lock()
    written = 0
    while not writer.is_full:  # the pipe takes 64 KiB before
        writer.write(LINE, 1)
        written += 1
    writer.write(LINE + LINE, 2)
    writer.drop(3)
    found: list[bytes] = []

    def read() -> None:
        piece = read_all(pipe[0])
        with lock:
            found.append(piece)

    reading = threading.Thread(target=read)
    reading.start()
    writer.close(60.0)
    os.close(pipe[1])
    reading.join(60.0)
    lines = found[0].split(b"\n")[:-1]
    assert lines.count(LINE[:-1]) == written
    assert [line for line in lines if line != LINE[:-1]] == [b"lost 5"]


def test_a_reader_that_has_gone_is_no_failure(pipe: tuple[int, int]) -> None:
    writer = BoundedWriter(pipe[1], lost, threading.Lock())
    os.close(pipe[0])
    writer.write(LINE, 1)
    writer.close(60.0)
    assert writer.is_full
    writer.write(LINE, 1)
