"""python-env/GROUP: what a group's executor and Python policies need, installed by the very interpreter that runs them.

That is the machine's own python3: the one that runs the builder. Nothing downloads an interpreter.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from gatewright_builder.mistake import BuildError, Mistake, refuse_if_any
from gatewright_builder.resolution import Group
from gatewright_builder.tree import text_digest
from gatewright_builder.uv_command import UvError, uv

ENVIRONMENT = "python-env"
STAMP = "gatewright-inputs"
LOCKED = ("--require-hashes", "--no-deps")
OURS = ("gatewright_executor", "policies", "python_policy_registry", "sdk")


def environment_part(group: str) -> str:
    """The part of an output folder that is a group's environment."""
    return f"{ENVIRONMENT}/{group}"


def environment_python(folder: Path, group: str) -> Path:
    """The interpreter of a group's environment in an output folder."""
    return folder / environment_part(group) / "bin" / "python"


def is_current(folder: Path, group: Group) -> bool:
    """Whether an output folder holds the environment for this lock and this interpreter."""
    stamp = folder / environment_part(group.name) / STAMP
    return stamp.is_file() and environment_python(folder, group.name).exists() and stamp.read_text() == _inputs(group)


def make_environment(folder: Path, group: Group) -> None:
    """Writes a group's environment into folder. Raises BuildError: uv's own words."""
    environment, python = folder / environment_part(group.name), environment_python(folder, group.name)
    environment.parent.mkdir(exist_ok=True)
    try:
        uv("venv", "--relocatable", "--python", sys.executable, environment)
        uv("pip", "install", *LOCKED, "--python", python, "-r", "-", stdin=group.pin.text)
    except UvError as error:
        cure = "name the package index in the environment (UV_DEFAULT_INDEX), or remove build.lock to resolve anew"
        where = f"lock of the group {group.name}"
        raise BuildError([Mistake(where, "packages that install", str(error), cure)]) from error
    refuse_if_any(_clashes(environment, group))
    _compile_bytecode(environment, python)
    (environment / STAMP).write_text(_inputs(group))


def _compile_bytecode(environment: Path, python: Path) -> None:
    """The same bytes wherever the environment lies: no folder above it and no time gets into them.

    One file after the other, since what a process has compiled before can show in what it writes. Files that do not
    compile, such as templates, are left to whoever imports them.
    """
    compileall = ("-I", "-m", "compileall", "-qq", "--invalidation-mode", "unchecked-hash", "-s", environment)
    subprocess.run([python, *compileall, environment / "lib"], capture_output=True, check=False)


def _clashes(environment: Path, group: Group) -> Iterator[Mistake]:
    """The executor's own modules come first on its path: a package of the same name would never be found."""
    for site in environment.glob("lib/python*/site-packages"):
        for name in OURS:
            if (site / name).exists() or (site / f"{name}.py").exists():
                where, cure = f"lock of the group {group.name}", "do without the package that brings it"
                yield Mistake(where, "packages without a module of the executor's own", name, cure)


def _inputs(group: Group) -> str:
    interpreter = (sys.version, platform.machine(), os.path.realpath(sys.executable))
    return text_digest(group.pin.text, *interpreter)
