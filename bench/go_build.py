"""Compiles the Go programs of the bench."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

from bench.error import BenchError
from bench.processes import environment, program

LINKED = Path("build") / "bench-go"
"""The folder of linked programs: go does not link a program again while its sources are unchanged."""


def build(package: str, binary: Path) -> Path:
    """Compiles a program to `binary`. Go's cache makes the second time cheap."""
    go, linked = program("go", "`make setup` installs it"), LINKED / Path(package).name
    LINKED.mkdir(parents=True, exist_ok=True)
    command = [go, "build", "-trimpath", "-o", str(linked), package]
    with (LINKED / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
        if built.returncode != 0:
            raise BenchError(f"expected {package} to compile, got\n{built.stderr}")
        shutil.copy(linked, binary)
    return binary
