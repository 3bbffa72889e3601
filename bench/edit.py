"""Edit → live: the time from the save of a policy's file under `gatewright run --watch` to the new code's first answer.

`python -m bench edit [--rounds N] [--shape starter groups]`. Prints a line for each shape, and a reload's log line.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.error import BenchError
from bench.load_tool import kill_after
from bench.processes import environment, program, running, tail

START_SECONDS = 900.0
LIVE_SECONDS = 60.0
REST_SECONDS = 1.0
POLL_SECONDS = 0.01
GROUPS = ("default", "other")
POLICIES_OF_GROUP = 8

DEFINITION = """\
name: {name}
version: v1.0.0
displayName: {name}
description: One of many.
runtime: python
processingMode: {{requestHeaderMode: SKIP, responseHeaderMode: PROCESS}}
parameters: {{type: object}}
"""
POLICY = """\
from sdk.policy import UpstreamResponseModifications

MARK = "begin"


def on_response(ctx, params):
    return UpstreamResponseModifications(set_headers={{"x-{name}": MARK}})
"""
API = """\
apiVersion: gatewright.dev/v1
kind: Api
metadata: {{name: hello}}
spec:
  displayName: Hello
  version: v1.0
  context: /hello
  upstream: {{main: {{url: http://127.0.0.1:9091}}}}
  policies: [{policies}]
  operations: [{{method: GET, path: /}}]
"""


@dataclass(frozen=True)
class Shape:
    """A policy project to run and edit.

    make: writes the project. edited: the file in which `old` is replaced by `new`, whose {mark} changes with each edit.
    header: the header of answers that has the mark once the new code serves. aim: the goal in seconds, on an idle
    machine.
    """

    key: str
    title: str
    make: Callable[[Path], None]
    edited: str
    old: str
    new: str
    header: str
    aim: float

    def edit(self, folder: Path, original: str, mark: str) -> None:
        """Saves the file with another mark."""
        (folder / self.edited).write_text(original.replace(self.old, self.new.format(mark=mark)))


def starter(folder: Path) -> None:
    """Writes the project of `gatewright init`."""
    subprocess.run([_gatewright(), "init", str(folder)], check=True, capture_output=True)


def two_groups(folder: Path) -> None:
    """Sixteen policies, eight in each of two groups, all attached to one API."""
    names = [(f"p{number}-{group}", group) for group in GROUPS for number in range(POLICIES_OF_GROUP)]
    lines = ["version: v1", "policies:"]
    for name, group in names:
        own = folder / "policies" / name
        own.mkdir(parents=True)
        (own / "policy-definition.yaml").write_text(DEFINITION.format(name=name))
        (own / "policy.py").write_text(POLICY.format(name=name))
        lines.append(f"  - {{name: {name}, filePath: policies/{name}, group: {group}}}")
    (folder / "build.yaml").write_text("\n".join([*lines, ""]))
    (folder / "apis").mkdir()
    attached = ", ".join(f"{{name: {name}, version: v1}}" for name, _ in names)
    (folder / "apis" / "hello.yaml").write_text(API.format(policies=attached))


SHAPES = (
    Shape("starter", "`gatewright init`", starter, "policies/greet/policy.py", '"yes"', '"{mark}"', "x-greeted", 1.0),
    Shape(
        "groups",
        "16 policies in two groups",
        two_groups,
        "policies/p3-other/policy.py",
        '"begin"',
        '"{mark}"',
        "x-p3-other",
        2.0,
    ),
)


@dataclass(frozen=True)
class Edits:
    """The seconds until a shape's edits were live, and the lines that the reloads logged."""

    shape: Shape
    seconds: tuple[float, ...]
    reloads: tuple[str, ...]


def measure(shape: Shape, rounds: int) -> Edits:
    """Edits the file several times, each time after the old processes of the edit before have ended."""
    with tempfile.TemporaryDirectory(prefix="gatewright-edit-") as home:
        folder, log, run_dir = Path(home) / "demo", Path(home) / "log", Path(home) / "run"
        folder.mkdir()
        shape.make(folder)
        with running(_command(run_dir), log, environment(), folder) as process:
            port, original = _await_port(process, log), (folder / shape.edited).read_text()
            seconds = tuple(_edit(shape, folder, original, port, run_dir, f"mark-{number}") for number in range(rounds))
            return Edits(shape, seconds, tuple(_reload_lines(log)))


def _edit(shape: Shape, folder: Path, original: str, port: int, run_dir: Path, mark: str) -> float:
    start = time.monotonic()
    shape.edit(folder, original, mark)
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as client:
        _await(lambda: _header(client, shape.header) == mark, "the new code to answer")
    took = time.monotonic() - start
    _await(lambda: not _leaving(run_dir), "the old processes to end")
    time.sleep(REST_SECONDS)
    return took


def _header(client: http.client.HTTPConnection, name: str) -> str | None:
    client.request("GET", "/hello/")
    answer = client.getresponse()
    answer.read()
    if answer.status != http.client.OK:
        raise BenchError(f"expected 200 while the code changes, got {answer.status}")
    return answer.headers.get(name)


def _leaving(run_dir: Path) -> list[str]:
    status = json.loads((run_dir / "status.json").read_text())
    return [process["name"] for process in status["processes"] if process["leaving"]]


def _await(condition: Callable[[], bool], event: str) -> None:
    end = time.monotonic() + LIVE_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise BenchError(f"waited {LIVE_SECONDS:g} s for {event}")
        time.sleep(POLL_SECONDS)


def _reload_lines(log: Path) -> Iterator[str]:
    for line in log.read_text().splitlines():
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if str(record.get("message", "")).startswith("reloaded"):
                yield line


def _gatewright() -> str:
    return program("gatewright", "`make setup` installs it", environment())


def _command(run_dir: Path) -> list[str]:
    return [
        _gatewright(), "run", "--watch", "--port", "0", "--controller-port", "0", "--with-echo", "--echo-port", "0",
        "--run-dir", str(run_dir), "--access-log", "/dev/null", "--log-format", "json",
    ]  # fmt: skip


def _await_port(process: subprocess.Popen[str], log: Path) -> int:
    with kill_after(process, START_SECONDS):
        for line in process.stdout or ():
            if line.startswith("ready "):
                return int(line.split()[1].rpartition(":")[2])
    raise BenchError(f"the gateway did not start\n{tail(log)}")


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench edit", description=(__doc__ or "").splitlines()[0])
    keys = [shape.key for shape in SHAPES]
    parser.add_argument(
        "--rounds", type=int, choices=range(1, 1001), default=10, metavar="N", help="edits of each shape (10)"
    )
    parser.add_argument("--shape", nargs="+", choices=keys, default=keys, help="projects to edit (all)")
    options = parser.parse_args(arguments)
    for shape in SHAPES:
        if shape.key in options.shape:
            _print(measure(shape, options.rounds))


def _print(edits: Edits) -> None:
    median, low, high = statistics.median(edits.seconds), min(edits.seconds), max(edits.seconds)
    took = f"{median:.2f} s ({low:.2f}–{high:.2f}, wanted at most {edits.shape.aim:g})"
    print(f"{edits.shape.title}: {took}, {len(edits.seconds)} edits", flush=True)
    for line in edits.reloads[-1:]:
        print(f"  {line}", flush=True)
