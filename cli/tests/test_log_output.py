from __future__ import annotations

import json
import os
import threading

from gatewright_cli.log_output import LogOutput


def read_all(fd: int) -> bytes:
    with os.fdopen(fd, "rb") as reader:
        return reader.read()


def test_lines_are_written_in_order() -> None:
    read_end, write_end = os.pipe()
    output = LogOutput(write_end)
    for number in range(100):
        output.line("engine", str(number).encode())
    output.close()
    os.close(write_end)
    lines = [line.partition(" ")[2] for line in read_all(read_end).decode().splitlines()]
    assert lines == [f"engine             │ {number}" for number in range(100)]


def test_an_output_that_takes_nothing_blocks_nobody_and_what_was_lost_is_said() -> None:
    read_end, write_end = os.pipe()
    output = LogOutput(write_end, "json")
    line = b"x" * 50_000
    for _ in range(1000):  # 50 MB: more than is kept
        output.line("engine", line)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(read_all(read_end)))
    reader.start()
    output.close(seconds=20.0)
    os.close(write_end)
    reader.join()
    records = [json.loads(written) for written in found[0].splitlines()]
    dropped = [record for record in records if record["component"] == "supervisor"]
    assert sum(record["lines"] for record in dropped) + len(records) - len(dropped) == 1000
    assert dropped[0]["message"] == "log lines dropped: the output did not take them"


def test_a_reader_that_is_gone_ends_nothing() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    output = LogOutput(write_end)
    output.event("one")
    output.event("two")
    output.close()
    os.close(write_end)


def test_a_non_blocking_output_is_waited_for() -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    output = LogOutput(write_end)
    for _ in range(100):
        output.line("engine", b"x" * 5000)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(read_all(read_end)))
    reader.start()
    output.close(seconds=20.0)
    os.close(write_end)
    reader.join()
    assert found[0].count(b"\n") == 100
