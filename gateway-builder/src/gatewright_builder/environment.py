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

from gatewright_documents.mistake import Mistake

from gatewright_builder.events import Note, Say
from gatewright_builder.fetching.uv_command import UvError, built_from_source, uv
from gatewright_builder.mistake import BuildError, refuse_if_any
from gatewright_builder.records import Contents, Records, contents_of
from gatewright_builder.resolution import Group, no_wheel
from gatewright_builder.tool_environment import for_python
from gatewright_builder.tree import text_digest

ENVIRONMENT = "python-env"
STAMP = "gatewright-inputs"
LOCKED = ("--require-hashes", "--no-deps", "--link-mode", "copy")  # linked, a file would be that of uv's cache
OURS = ("gatewright", "gatewright_executor", "policies", "python_policy_registry", "sdk")


def environment_part(group: str) -> str:
    """The part of an output folder that is a group's environment."""
    return f"{ENVIRONMENT}/{group}"


def environment_python(folder: Path, group: str) -> Path:
    """The interpreter of a group's environment in an output folder."""
    return folder / environment_part(group) / "bin" / "python"


def is_current(folder: Path, group: Group, records: Records, say: Say) -> bool:
    """Whether an output folder holds the environment for this lock and this interpreter, as it was installed."""
    part = environment_part(group.name)
    stamp = folder / part / STAMP
    is_for_it = stamp.is_file() and environment_python(folder, group.name).exists()
    if not is_for_it or stamp.read_text() != _inputs(group):
        return False
    different = records.differences(folder / part)
    if different:
        files = f"{different[0]} is" if len(different) == 1 else f"{different[0]} and {len(different) - 1} more are"
        say(Note(f"{part}/{files} not as installed: {part} is made anew"))
    return different == []


def make_environment(folder: Path, group: Group) -> Contents:
    """Writes a group's environment into folder; what is in it. Raises BuildError: uv's own words."""
    environment, python = folder / environment_part(group.name), environment_python(folder, group.name)
    environment.parent.mkdir(exist_ok=True)
    try:
        uv("venv", "--relocatable", "--python", sys.executable, environment)
        sources = built_from_source(tuple(group.pin.sdists))
        uv("pip", "install", *LOCKED, *sources, "--python", python, "-r", "-", stdin=group.pin.text)
    except UvError as error:
        raise BuildError([_mistake(group, error)]) from error
    refuse_if_any(_clashes(environment, group))
    _compile_bytecode(environment, python)
    (environment / STAMP).write_text(_inputs(group))
    return contents_of(environment)


def _mistake(group: Group, error: UvError) -> Mistake:
    where = f"lock of the group {group.name}"
    if error.without_wheel:
        return Mistake.in_file(where, *no_wheel(error))
    cure = "name the package index in the environment (UV_DEFAULT_INDEX), or remove build.lock to resolve anew"
    return Mistake.in_file(where, "packages that install", str(error), cure)


def _compile_bytecode(environment: Path, python: Path) -> None:
    """The same bytes wherever the environment lies: no folder above it and no time gets into them.

    One file after the other, since what a process has compiled before can show in what it writes. Files that do not
    compile, such as templates, are left to their importers. Without site: a package's .pth files would run.
    """
    compileall = ("-I", "-S", "-m", "compileall", "-qq", "--invalidation-mode", "unchecked-hash", "-s", environment)
    command = (python, *compileall, environment / "lib")
    subprocess.run(command, env=for_python(), capture_output=True, check=False)


def _clashes(environment: Path, group: Group) -> Iterator[Mistake]:
    """The executor's own modules come first on its path: a package of the same name would never be found."""
    for site in environment.glob("lib/python*/site-packages"):
        for name in OURS:
            if (site / name).exists() or (site / f"{name}.py").exists():
                where, cure = f"lock of the group {group.name}", "do without the package that brings it"
                yield Mistake.in_file(where, "packages without a module of the executor's own", name, cure)


def _inputs(group: Group) -> str:
    interpreter = (sys.version, platform.machine(), os.path.realpath(sys.executable))
    return text_digest(group.pin.text, *group.pin.sdists, *interpreter)
