"""Tests of the engine's that read what this controller has made, as programs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ENGINE = Path(__file__).parents[3] / "gateway-runtime" / "policy-engine"


def compile_checks(package: str, folder: Path) -> Path:
    """Compiles the tests of a package of the engine, internal/NAME, into the folder. They are compiled with the flags
    of a build and without C as there, so that Go has its packages for both."""
    program = folder / f"{package}.test"
    go = ["go", "test", "-c", "-trimpath", "-ldflags=-s -w", "-o", str(program), f"./internal/{package}"]
    run(go, ENGINE, CGO_ENABLED="0")
    return program


def run(command: list[str], folder: Path, **environment: str) -> str:
    """The output of a command, which ends well."""
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
