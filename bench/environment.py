"""The virtual environments of peers in Python, and of the plot: each has only its own hashed requirements, no
packages of the machine or of this repository."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

from bench.error import BenchError
from bench.processes import environment, program

REQUIREMENTS = Path("bench/requirements")
ENVIRONMENTS = Path("build/bench/env")
VERSIONS = "import sys, importlib.metadata as m; print(', '.join(f'{name} {m.version(name)}' for name in sys.argv[1:]))"


def python(name: str) -> Path:
    """The interpreter of the environment with the packages of REQUIREMENTS/NAME.txt. Creates it, and again after a
    change of the list."""
    home, lock = ENVIRONMENTS / name, REQUIREMENTS / f"{name}.txt"
    interpreter, stamp = home / "bin" / "python", home / "made-of"
    digest = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        _uv("venv", "--clear", "--python", sys.executable, str(home))
        _uv("pip", "install", "--python", str(interpreter), "--require-hashes", "-r", str(lock))
        stamp.write_text(digest)
    return interpreter.absolute()


def versions(name: str) -> str:
    """ "aiohttp 3.14.3": the direct requirements of the peer, with their versions."""
    names = re.findall(r"^[\w.-]+", (REQUIREMENTS / f"{name}.in").read_text(), re.MULTILINE)
    command = [str(python(name)), "-c", VERSIONS, *names]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _uv(*arguments: str) -> None:
    command = [program("uv", "`make setup` installs it"), *arguments, "--quiet"]
    variables = {key: value for key, value in environment().items() if key != "VIRTUAL_ENV"}
    result = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    if result.returncode != 0:
        raise BenchError(f"expected `{' '.join(command)}` to succeed, got\n{result.stderr}")
