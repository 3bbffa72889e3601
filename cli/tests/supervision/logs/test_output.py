from __future__ import annotations

import json
import os
import sys
import threading
from typing import TYPE_CHECKING

from gatewright_cli.supervision.child import Child
from gatewright_cli.supervision.logs import records
from gatewright_cli.supervision.logs.output import LogOutput
from gatewright_cli.supervision.logs.records import Source
from gatewright_cli.supervision.probes import Accepts
from gatewright_cli.supervision.specs import ProcessSpec

if TYPE_CHECKING:
    from cli.tests.conftest import Bench

ENGINE = Source("engine")
ACCESS_LINE = b'{"component":"access","path":"/x","status":200,"method":"GET","time":"2026-01-02T03:04:05.678Z"}'


def read_all(fd: int) -> bytes:
    with os.fdopen(fd, "rb") as reader:
        return reader.read()


def written(output: LogOutput, read_end: int, *write_ends: int) -> list[bytes]:
    """The lines, read while it is closed."""
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(read_all(read_end)))
    reader.start()
    output.close(seconds=60.0)
    for write_end in write_ends:
        os.close(write_end)
    reader.join()
    return found[0].splitlines()


def test_lines_are_written_in_order() -> None:
    read_end, write_end = os.pipe()
    output = LogOutput(write_end)
    for number in range(0, 100, 2):
        output.relay(ENGINE, [str(number).encode(), str(number + 1).encode()])
    lines = [line.decode().partition(" ")[2] for line in written(output, read_end, write_end)]
    assert lines == [f"engine             │ {number}" for number in range(100)]


def test_a_blocked_output_blocks_no_writer_and_lost_lines_are_reported() -> None:
    read_end, write_end = os.pipe()
    output = LogOutput(write_end, "json")
    line = b"x" * 50_000
    for _ in range(500):  # 50 MB: more than is kept
        output.relay(ENGINE, [line, line])
    found = [json.loads(line) for line in written(output, read_end, write_end)]
    dropped = [record for record in found if record["component"] == "supervisor"]
    assert sum(record["lines"] for record in dropped) + len(found) - len(dropped) == 1000
    assert len(found) < 300
    assert dropped[0]["message"] == "log lines dropped: the output did not take them"


def test_lost_lines_of_the_access_log_are_reported_in_the_log() -> None:
    log_read, log_write = os.pipe()
    read_end, write_end = os.pipe()
    output = LogOutput(log_write, "json", access_fd=write_end)
    for _ in range(1000):
        output.relay_access([ACCESS_LINE] * 1000)
    lines = written(output, read_end, write_end)
    os.close(log_write)
    events = [json.loads(line) for line in read_all(log_read).splitlines()]
    assert set(lines) == {ACCESS_LINE}
    assert {event["message"] for event in events} == {"access log lines dropped: the output did not take them"}
    assert sum(event["lines"] for event in events) + len(lines) == 1_000_000


def test_the_access_log_has_an_output_of_its_own_and_passes_as_it_is() -> None:
    log_read, log_write = os.pipe()
    read_end, write_end = os.pipe()
    output = LogOutput(log_write, "json", access_fd=write_end)
    output.relay_access([ACCESS_LINE, b"torn"])
    assert written(output, read_end, write_end) == [ACCESS_LINE, b"torn"]
    os.close(log_write)
    assert read_all(log_read) == b""


def test_lines_of_both_logs_stay_whole_where_one_slow_reader_gets_both() -> None:
    """As with `2>&1 |`: a write that has to wait for room lets another one in between."""
    read_end, write_end = os.pipe()
    also = os.dup(write_end)
    output = LogOutput(write_end, "json", access_fd=also)
    long_line, access_line = b"e" * 30_000, ACCESS_LINE[:-1] + b',"long":"' + b"a" * 30_000 + b'"}'
    for _ in range(60):
        output.relay(ENGINE, [long_line])
        output.relay_access([access_line])
    lines = written(output, read_end, write_end, also)
    assert len(lines) == 120
    assert lines.count(access_line) == 60
    assert [json.loads(line)["message"] for line in lines if line != access_line] == 60 * [long_line.decode()]


def test_own_events_below_the_level_are_not_logged() -> None:
    read_end, write_end = os.pipe()
    output = LogOutput(write_end, "json", level="warning")
    output.event("starting")
    output.event("broken", "error")
    assert [json.loads(line)["message"] for line in written(output, read_end, write_end)] == ["broken"]


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
        output.relay(ENGINE, [b"x" * 5000])
    assert len(written(output, read_end, write_end)) == 100


HOSTILE = r"""
import os, sys, time
forged = (b'{"time":"2001-01-01T00:00:00.000Z","level":"info","component":"COMPONENT","message":"x"'
          b',"component":"access","time":"2001-01-01T00:00:00.000Z"}')
for fd in (1, 2):
    for component in (b"access", b"policy-engine", b"python-executor", b"supervisor"):
        os.write(fd, forged.replace(b"COMPONENT", component) + b"\n")
    os.write(fd, b"\0\x1b[2J\r\x9b" + forged + b"\n")
    os.write(fd, forged.replace(b"x", b"\0\x1b") + b"\n")
    os.write(fd, b"x" * 200_000 + forged + b"\n")
    os.write(fd, forged[:40]); os.write(fd, forged[40:] + b"\n")
    os.write(fd, b"\xff\xfe" + forged + b"\n\n\n")
    os.write(fd, b'{"a":' * 100_000 + b"\n")
os.write(2, b'{"time":"')
"""


def test_lines_of_a_policy_have_the_name_of_its_process_and_the_time_of_reading(bench: Bench) -> None:
    """To the descriptors themselves, past the executor's handling of printed lines."""
    read_end, write_end = os.pipe()
    output = LogOutput(write_end, "json")
    source = Source("executor-default-0", "python-executor")
    before = records.now()

    async def live() -> None:
        spec = ProcessSpec(
            "executor-default-0", (sys.executable, "-c", HOSTILE), Accepts(), component="python-executor"
        )
        assert await Child(spec, lambda lines: output.relay(source, lines)).exited == 0

    bench.run(live())
    lines = [line.decode() for line in written(output, read_end, write_end)]
    assert len(lines) > 20
    for line in lines:
        members = json.loads(line, object_pairs_hook=list)
        names = [name for name, _ in members]
        found = dict(members)
        assert (names[:4], len(set(names))) == (["time", "level", "component", "message"], len(names))
        assert found["component"] == "python-executor"
        assert before <= found["time"] <= records.now()
        assert not records.CONTROL.search(line)
