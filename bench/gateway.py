"""The gateway under test: `gatewright run`, as a user starts it, with the rows' API definitions."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.error import BenchError
from bench.load_tool import kill_after
from bench.processes import environment, program, running, tail
from bench.settings import Settings
from bench.target import COLUMNS, ENVOY, GO, PYTHON, REST, Pids, Target

MANIFEST = Path("bench/build.yaml")


@dataclass(frozen=True)
class Build:
    """A build: its manifest and its output, relative to the tree whose gateway it is."""

    manifest: Path = MANIFEST
    output: Path = Path("build/bench/gateway")


BUILD = Build()
START_SECONDS = 900.0
"""Includes a first build, which compiles the engine and installs the executor's environment."""


@contextlib.contextmanager
def gateway(
    settings: Settings,
    apis: Path,
    folder: Path,
    tree: Path | None = None,
    document: Path | None = None,
    build: Build = BUILD,
    engine: str = "",
) -> Iterator[Target]:
    """Builds and runs a node, and yields it when it is ready. tree: the work tree whose gateway and programs are used;
    None for this one. document: the node's Gateway, if it is not the default one. engine: where the engine runs, if not
    where it does by default."""
    log = folder / "gateway.log"
    with tempfile.TemporaryDirectory(prefix="gatewright-bench-") as home:  # a socket's path must be short
        run_dir = Path(home) / "run"
        started = command(settings, apis.absolute(), Path(home), run_dir, tree, build)
        started += ["--gateway", str(document)] if document else []
        started += ["--engine", engine] if engine else []
        with running(started, log, environment(tree), tree) as process:
            _await_ready(process, log)
            status = run_dir / "status.json"
            port = int(str(_read(status)["url"]).rpartition(":")[2])
            yield Target(port, lambda: pids(_read(status)), log, run_dir / "engine-admin.sock")


def command(
    settings: Settings, apis: Path, home: Path, run_dir: Path, tree: Path | None = None, build: Build = BUILD
) -> list[str]:
    """The command of a node. Its access log goes to /dev/null, as that of plain Envoy does in its row."""
    return [
        program("gatewright", "`make setup` installs it", environment(tree)), "run",
        "--manifest", str(build.manifest), "--output", str(build.output),
        "--port", "0", "--controller-port", "0",
        "--state-dir", str(home / "state"), "--run-dir", str(run_dir),
        "--apis", str(apis),
        "--access-log", "/dev/null", "--log-format", "json", "--drain-seconds", "1",
        "--executors", str(settings.executors), "--py.workers", str(settings.workers),
        "--envoy.concurrency", str(settings.concurrency),
    ]  # fmt: skip


def pids(status: dict[str, object]) -> Pids:
    """The processes that status.json lists, by column. Raises BenchError when one of them is not running.

    An engine inside Envoy has Envoy's pid, and is counted there.
    """
    pids_by_column: dict[str, list[int]] = {column: [] for column in COLUMNS}
    pids_by_column[REST].append(int(str(status["pid"])))
    processes = status["processes"]
    for process in processes if isinstance(processes, list) else []:
        name, pid = process["name"], process["pid"]
        if not isinstance(pid, int):
            raise BenchError(f"expected the gateway's process {name} to run, got state {process['state']}")
        pids_by_column[column_of(name)].append(pid)
    pids_by_column[GO] = [pid for pid in pids_by_column[GO] if pid not in pids_by_column[ENVOY]]
    return {column: tuple(numbers) for column, numbers in pids_by_column.items()}


def column_of(name: str) -> str:
    """The column of a process by its name in status.json."""
    if name.startswith("executor"):
        return PYTHON
    return {"envoy": ENVOY, "engine": GO}.get(name, REST)


def _await_ready(process: subprocess.Popen[str], log: Path) -> None:
    with kill_after(process, START_SECONDS):
        for line in process.stdout or ():
            if line.startswith("ready "):
                return
    raise BenchError(f"the gateway did not start\n{tail(log)}")


def _read(status: Path) -> dict[str, object]:
    document = json.loads(status.read_text())
    if not isinstance(document, dict):
        raise BenchError(f"expected an object in {status}, got {document!r}")
    return document
