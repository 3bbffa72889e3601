"""Go programs of the bench, compiled by it."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

from bench.error import BenchError
from bench.processes import environment, program

LINKED = Path("build") / "bench-go"
"""The place of each program: go does not link it again while its sources are the same."""


def build(package: str, binary: Path) -> Path:
    """The compiled program. Go's own cache makes the second time cheap."""
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
