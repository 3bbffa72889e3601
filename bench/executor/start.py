"""The time from the start to serving, and the memory of an idle executor."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

from bench.error import BenchError
from bench.executor.cases import EXECUTOR
from bench.processes import START_SECONDS, environment, running, tail

POLL_SECONDS = 0.002


def await_socket(path: Path, process: subprocess.Popen[str], log: Path) -> None:
    """Waits until the server listens on its socket."""
    deadline = time.monotonic() + START_SECONDS
    while not _listens(path):
        if process.poll() is not None or time.monotonic() > deadline:
            raise BenchError(f"expected a server on {path}\n{tail(log)}")
        time.sleep(POLL_SECONDS)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def executor_seconds(folder: Path) -> float:
    """The seconds until an executor listens after its start."""
    path, log = folder / "start.sock", folder / "start.log"
    start = time.monotonic()
    with running(EXECUTOR.command(f"unix:{path}"), log, _compiled(folder)) as process:
        await_socket(path, process, log)
        return time.monotonic() - start


def import_seconds(folder: Path) -> float:
    """The seconds of `import grpc` in a fresh interpreter."""
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", "import grpc"], check=True, env=environment() | _compiled(folder))
    return time.monotonic() - start


def _compiled(folder: Path) -> dict[str, str]:
    """Variables that keep compiled modules for later rounds, as a build and an image have them."""
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder.absolute() / "pycache")}


def resident_mb(pid: int) -> float:
    """The RSS of a process in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024
