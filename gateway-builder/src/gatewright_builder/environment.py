"""python-env/: what the executor and the Python policies need, installed by the very interpreter that runs them.

That is the machine's own python3: the one that runs the builder. Nothing downloads an interpreter.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

from uv import find_uv_bin

from gatewright_builder.mistake import BuildError, Mistake
from gatewright_builder.tree import text_digest

ENVIRONMENT = "python-env"
REQUIREMENTS = "requirements.txt"
LOCK = "requirements.lock"
STAMP = "gatewright-inputs"


def environment_python(folder: Path) -> Path:
    """The interpreter of the environment in an output folder."""
    return folder / ENVIRONMENT / "bin" / "python"


def is_current(folder: Path, requirements: str) -> bool:
    """Whether an output folder holds the environment for these requirements and this interpreter, as it was locked."""
    stamp, lock = folder / ENVIRONMENT / STAMP, folder / LOCK
    if not (stamp.is_file() and lock.is_file() and environment_python(folder).exists()):
        return False
    return stamp.read_text() == _inputs(requirements, lock.read_text())


def make_environment(folder: Path, requirements: str, previous_lock: Path) -> None:
    """Writes requirements.txt, requirements.lock and python-env into folder.

    The versions of previous_lock, if it exists, are kept where they still fit. Raises BuildError: uv's own words.
    """
    (folder / REQUIREMENTS).write_text(requirements)
    lock = folder / LOCK
    if previous_lock.is_file():
        lock.write_bytes(previous_lock.read_bytes())
    _uv("venv", "--relocatable", "--python", sys.executable, str(folder / ENVIRONMENT))
    python = str(environment_python(folder))
    _uv("pip", "compile", "--generate-hashes", "--no-header", "--no-annotate", "--python", python,
        "--output-file", str(lock), str(folder / REQUIREMENTS))  # fmt: skip
    _uv("pip", "install", "--require-hashes", "--compile-bytecode", "--python", python, "--requirement", str(lock))
    (folder / ENVIRONMENT / STAMP).write_text(_inputs(requirements, lock.read_text()))


def _inputs(requirements: str, lock: str) -> str:
    interpreter = (sys.version, platform.machine(), os.path.realpath(sys.executable))
    return text_digest(requirements, lock, *interpreter)


def _uv(*arguments: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    command = [find_uv_bin(), "--quiet", "--no-python-downloads", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        got = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        cure = "change what the policies' requirements.txt ask for, or give the build its package index"
        raise BuildError([Mistake(f"merged {REQUIREMENTS}", "packages that can be installed together", got, cure)])
