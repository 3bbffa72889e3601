"""`python -m bench costs`: the cost of an idle gateway, and of its log lines under load.

One node of the stock build with one API (Go → Python → Go), as a user starts it: idle for a while, then under an open
loop of 500 requests a second, then under one of 5, at which no buffer fills. This program reads its standard output and
error from a pipe, and notes when each line came. CPU is that of /proc/PID/stat. Memory is RSS and PSS
(/proc/PID/smaps_rollup), summed over all processes of the run: pages that several processes map count several times in
RSS, and once in PSS. A first start compiles Python's byte code, as an installation has it.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO

from bench import cpu, load_tool
from bench.error import BenchError
from bench.processes import HOST, environment, program, stop

WARMUP_SECONDS = 5.0
START_SECONDS = 900.0
CONNECTIONS = 16
FEW = 5.0
SUPERVISOR = "supervisor"
BYTE_CODE = Path("build/bench/byte-code")
ACCESS = "access"
API = {
    "apiVersion": "gatewright.dev/v1",
    "kind": "Api",
    "metadata": {"name": "hello"},
    "spec": {
        "displayName": "Hello",
        "version": "v1.0",
        "context": "/hello",
        "policies": [
            {"name": "log-message", "version": "v1"},
            {"name": "add-python-header", "version": "v1"},
            {"name": "add-headers", "version": "v1", "params": {"requestHeaders": [{"name": "X-Go", "value": "go"}]}},
        ],
        "operations": [{"method": "GET", "path": "/*"}],
    },
}


@dataclass
class Lines:
    """Lines of the gateway with the times at which they came, in seconds since the epoch. count: bytes of all lines."""

    timed: list[tuple[float, bytes]] = field(default_factory=list)
    count: int = 0

    def read(self, pipe: IO[bytes]) -> None:
        """Reads until the pipe ends."""
        rest = b""
        while piece := os.read(pipe.fileno(), 1 << 20):
            now = time.time()
            *whole, rest = (rest + piece).split(b"\n")
            self.timed += [(now, line) for line in whole]
            self.count += len(piece)


@dataclass(frozen=True)
class ResidentMemory:
    """Memory of one process, in MiB."""

    rss: float
    pss: float


@dataclass(frozen=True)
class LogFigures:
    """The cost of log lines under load. late: seconds from the end of each request until its access line came."""

    supervisor: float
    lines: float
    size: float
    late: Sequence[float]
    disordered: int


def main(arguments: Sequence[str]) -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m bench costs", description=__doc__)
    parser.add_argument("--idle", type=float, default=30.0, metavar="S", help="seconds of the idle sample (30)")
    parser.add_argument("--load", type=float, default=20.0, metavar="S", help="seconds of the loaded sample (20)")
    parser.add_argument("--rate", type=float, default=500.0, help="requests a second (500)")
    parser.add_argument("--log-format", choices=["text", "json"], default="text")
    chosen, options = parser.parse_known_args(arguments)
    if os.geteuid() != 0:
        parser.error("expected to be root: other processes of a gateway's user cannot see its use of memory")
    with tempfile.TemporaryDirectory(prefix="costs-") as folder, contextlib.ExitStack() as stack:
        home = Path(folder)
        tool = load_tool.build(home)
        (home / "expect.json").write_text(json.dumps({"/x": {}}))
        _, address = stack.enter_context(load_tool.upstream(tool, home / "expect.json", home))
        started = ["--log-format", chosen.log_format, *options]
        with _gateway(home, address, started):
            pass
        lines, status = stack.enter_context(_gateway(home, address, started))
        time.sleep(WARMUP_SECONDS)
        used, memory_by_process = _measure_use(status, chosen.idle), memory(status)
        figures = [_measure_logs(tool, status, lines, rate, chosen.load, home) for rate in (chosen.rate, FEW)]
    print(table(used, memory_by_process))
    for rate, figure in zip((chosen.rate, FEW), figures, strict=True):
        print(describe(figure, rate))


def table(used: Mapping[str, float], memory_by_process: Mapping[str, ResidentMemory]) -> str:
    """A table of the costs of an idle node."""
    rows = [
        f"| {name} | {100 * used[name]:.2f} | {resident.rss:.1f} | {resident.pss:.1f} |"
        for name, resident in memory_by_process.items()
    ]
    rss = sum(resident.rss for resident in memory_by_process.values())
    pss = sum(resident.pss for resident in memory_by_process.values())
    head = ["| idle | % of a core | RSS, MiB | PSS, MiB |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *rows, f"| all | {100 * sum(used.values()):.2f} | {rss:.1f} | {pss:.1f} |", ""])


def describe(logs: LogFigures, rate: float) -> str:
    """The cost of log lines under load, in a sentence."""
    late = sorted(logs.late)
    delays = "as text"
    if late:
        delays = f"{late[len(late) // 2]:.2f} s after their request (median), {late[-1]:.2f} s at most"
    return (
        f"At {rate:g} requests a second: supervisor {100 * logs.supervisor:.1f} % of a core, {logs.lines:.2f} lines "
        f"and {logs.size:.0f} bytes a request; access lines come {delays}, "
        f"{logs.disordered} after one of a later second."
    )


def memory(status: Path) -> dict[str, ResidentMemory]:
    """The memory of each process."""
    return {name: _parse_memory(Path(f"/proc/{pid}/smaps_rollup").read_text()) for name, pid in _pids(status).items()}


def _parse_memory(rollup: str) -> ResidentMemory:
    values = dict(line.split(":", 1) for line in rollup.splitlines()[1:])
    rss, pss = (int(values[key].split()[0]) / 1024 for key in ("Rss", "Pss"))
    return ResidentMemory(rss, pss)


def _measure_use(status: Path, seconds: float) -> dict[str, float]:
    """The share of a core that each process uses during these seconds."""
    pids, before, start = _pids(status), cpu.snapshot(), time.monotonic()
    time.sleep(seconds)
    after, span = cpu.snapshot(), time.monotonic() - start
    return {name: cpu.own(before, after, pid) / span for name, pid in pids.items()}


def _measure_logs(tool: Path, status: Path, lines: Lines, rate: float, seconds: float, home: Path) -> LogFigures:
    load = load_tool.Load(f"http://{HOST}:{_port(status)}/hello/x", CONNECTIONS, 2.0, seconds, rate)
    pid, shots, marks = _pids(status)[SUPERVISOR], list[cpu.Snapshot](), list[tuple[int, int]]()

    def mark(_: int) -> None:
        shots.append(cpu.snapshot())
        marks.append((len(lines.timed), lines.count))

    result = load_tool.generate(tool, load, home, mark, mark)
    if result.failures:
        raise BenchError(f"expected right answers, got {result.failures} wrong ones: {result.first_failure}")
    output = lines.timed[marks[0][0] : marks[1][0]]
    access = [(at, json.loads(line)) for at, line in output if line.startswith(b"{") and b'"access"' in line]
    return LogFigures(
        cpu.own(shots[0], shots[1], pid) / seconds,
        len(output) / result.count,
        (marks[1][1] - marks[0][1]) / result.count,
        [at - _end_of(record) for at, record in access],
        sum(
            _end_of(record) > _end_of(next_record) + 1.0 for (_, record), (_, next_record) in itertools.pairwise(access)
        ),
    )


def _end_of(record: Mapping[str, object]) -> float:
    return datetime.fromisoformat(str(record["time"])).timestamp() + float(str(record["durationMs"])) / 1000


def _pids(status: Path) -> dict[str, int]:
    document = json.loads(status.read_text())
    return {SUPERVISOR: document["pid"]} | {process["name"]: process["pid"] for process in document["processes"]}


def _port(status: Path) -> int:
    return int(str(json.loads(status.read_text())["url"]).rpartition(":")[2])


@contextlib.contextmanager
def _gateway(home: Path, upstream: str, options: Sequence[str]) -> Iterator[tuple[Lines, Path]]:
    """Runs a node until it is ready: its lines, and its status.json."""
    spec = API["spec"] | {"upstream": {"main": {"url": f"http://{upstream}"}}}  # type: ignore[operator]
    (home / "hello.json").write_text(json.dumps(API | {"spec": spec}))
    command = [
        program("gatewright", "`make setup` installs it"), "run", "--manifest", "build.yaml", "--output", "build/stock",
        "--port", "0", "--controller-port", "0", "--state-dir", str(home / "state"), "--run-dir", str(home / "run"),
        "--apis", str(home / "hello.json"), "--drain-seconds", "1", *options,
    ]  # fmt: skip
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment() | {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(BYTE_CODE.absolute())},
        start_new_session=True,
    )
    lines = Lines()
    assert process.stdout is not None
    reader = threading.Thread(target=lines.read, args=(process.stdout,), daemon=True)
    reader.start()
    try:
        _await_ready(process, lines)
        yield lines, home / "run" / "status.json"
    finally:
        process.terminate()
        reader.join(30)
        stop(process)


def _await_ready(process: subprocess.Popen[bytes], lines: Lines) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not any(line.startswith(b"ready ") for _, line in lines.timed):
        if process.poll() is not None or time.monotonic() > deadline:
            output = b"\n".join(line for _, line in lines.timed[-15:]).decode(errors="backslashreplace")
            raise BenchError(f"the gateway did not start\n{output}")
        time.sleep(0.05)
