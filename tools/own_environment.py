"""An environment of Python's for one tool, below .tools: made once, and again when its requirements have changed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def install(name: str) -> Path:
    """The folder of the environment of requirements/NAME.txt. Raises CalledProcessError where it cannot be made."""
    home, requirements = ROOT / ".tools" / name, ROOT / "requirements" / f"{name}.txt"
    stamp, digest = home / ".ready", hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return home
    subprocess.run(["uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(home)], cwd=ROOT, check=True)
    python = str(home / "bin" / "python")
    command = ["uv", "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", str(requirements)]
    subprocess.run(command, cwd=ROOT, check=True)
    stamp.write_text(digest)
    return home
