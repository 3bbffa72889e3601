"""Go programs of the bench, compiled by it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bench.error import BenchError
from bench.processes import environment, program


def build(package: str, binary: Path) -> Path:
    """The compiled program. Go's own cache makes the second time cheap."""
    go = program("go", "`make setup` installs it")
    command = [go, "build", "-trimpath", "-o", str(binary), package]
    built = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    if built.returncode != 0:
        raise BenchError(f"expected {package} to compile, got\n{built.stderr}")
    return binary
