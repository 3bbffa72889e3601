"""Builds and runs bench/load, the Go program that is the upstream and the load generator of measurements."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import go_build, request
from bench.error import BenchError
from bench.processes import HOST, running, tail
from bench.rows import Row

SOURCE = "./bench/load"
GRACE = 5.0
ONE_CORE = {"GOMAXPROCS": "1", "GOGC": "400"}
"""Neither end needs a second core, on which a Go program would spend CPU time looking for work."""
NO_PREEMPTION = os.SCHED_BATCH
"""In production, client and upstream run on other machines; here they must not preempt the measured processes."""
Marker = Callable[[int], None]
"""Called with the generator's pid when the measured span begins or ends."""


@dataclass(frozen=True)
class Result:
    """The generator's figures: right answers in `seconds`, wrong ones since the warm-up began, latencies in µs."""

    seconds: float
    count: int
    failures: int
    first_failure: str
    unsent: int
    p50: int
    p90: int
    p99: int
    max: int


@dataclass(frozen=True)
class Load:
    """The load of one sample.

    rate: requests per second; 0: a closed loop. body: bytes of each request's body; 0: a GET without one.
    text: the body itself.
    marks: how many times an answer's body must contain the mark; without a mark it is not checked.
    authority: the certificate authority of an https URL. anew: each request has a connection of its own, and with TLS
    a whole handshake. sent: headers of requests, which add to or replace those of bench.request.
    """

    url: str
    connections: int
    warmup: float
    duration: float
    rate: float = 0.0
    expect: Mapping[str, str] | None = None
    body: int = 0
    mark: str = ""
    marks: int = 0
    authority: Path | None = None
    anew: bool = False
    sent: Mapping[str, str] | None = None
    text: str = ""


def build(folder: Path) -> Path:
    """The compiled program, in `folder`."""
    return go_build.build(SOURCE, folder / "load")


@contextlib.contextmanager
def upstream(binary: Path, expectations: Path, folder: Path) -> Iterator[tuple[int, str]]:
    """A running upstream: its pid and HOST:PORT."""
    log = folder / "upstream.log"
    command = [str(binary), "upstream", "-listen", f"{HOST}:0", "-expect", str(expectations)]
    with running(command, log, ONE_CORE, scheduling=NO_PREEMPTION) as process:
        yield process.pid, await_listening(process, log)


def await_listening(process: subprocess.Popen[str], log: Path) -> str:
    """The HOST:PORT of a server of the program, once it accepts connections."""
    word, _, address = _line(process).partition(" ")
    if word != "listening":
        raise BenchError(f"the upstream did not start\n{tail(log)}")
    return address


def generate(binary: Path, load: Load, folder: Path, begin: Marker, end: Marker) -> Result:
    """Drives one sample. Calls `begin` and `end` with the generator's pid when the measured span begins and ends."""
    return drive(generate_command(binary, load), load.warmup + load.duration, folder, begin, end)


def drive(command: list[str], seconds: float, folder: Path, begin: Marker, end: Marker) -> Result:
    """Like `generate`, for any command line of the program."""
    return parse_result(drive_raw(command, seconds, folder, begin, end))


def drive_raw(command: list[str], seconds: float, folder: Path, begin: Marker, end: Marker) -> str:
    """Like `drive`; returns the last line of the program's output."""
    log = folder / "generate.log"
    with (
        running(command, log, ONE_CORE, scheduling=NO_PREEMPTION) as process,
        kill_after(process, seconds + 2 * GRACE),
    ):
        for word, call in (("begin", begin), ("end", end)):
            if (line := _line(process)) != word:
                raise BenchError(f"the load generator: expected {word!r}, got {line!r}\n{tail(log)}")
            call(process.pid)
        return _line(process)


def generate_command(binary: Path, load: Load) -> list[str]:
    """The generator's command line."""
    headers = request.with_headers(load.sent or {})
    sent = [word for name, value in headers.items() for word in ("-header", f"{name}: {value}")]
    expected = [word for name, value in (load.expect or {}).items() for word in ("-expect", f"{name}: {value}")]
    times = ["-warmup", f"{load.warmup}s", "-duration", f"{load.duration}s", "-grace", f"{GRACE}s"]
    amount = ["-connections", str(load.connections), "-rate", str(load.rate), "-body", str(load.body)]
    amount += ["-text", load.text] if load.text else []
    amount += ["-mark", load.mark, "-marks", str(load.marks)]
    amount += ["-authority", str(load.authority)] if load.authority else []
    amount += ["-anew"] if load.anew else []
    return [str(binary), "generate", "-url", load.url, *amount, *times, *sent, *expected]


def parse_result(line: str) -> Result:
    """Parses the generator's last line."""
    try:
        document = json.loads(line)
        first = document.get("firstFailure", "")
        rest = {name: document[name] for name in ("seconds", "count", "failures", "unsent", "p50", "p90", "p99", "max")}
    except (ValueError, KeyError, AttributeError) as error:
        raise BenchError(f"the load generator: expected its result as JSON, got {line!r}") from error
    return Result(first_failure=first, **rest)


def load_of(row: Row, port: int, connections: int, warmup: float, duration: float, rate: float) -> Load:
    """The load of one sample of a row."""
    url = f"http://{HOST}:{port}{row.path}"
    checked = (row.client, row.body, row.mark, row.events)
    return Load(url, connections, warmup, duration, rate, *checked, sent=row.sent, text=row.text)


def _line(process: subprocess.Popen[str]) -> str:
    return process.stdout.readline().strip() if process.stdout else ""


@contextlib.contextmanager
def kill_after(process: subprocess.Popen[str], seconds: float) -> Iterator[None]:
    """Kills a process that hangs, so that reads from its pipe end."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
