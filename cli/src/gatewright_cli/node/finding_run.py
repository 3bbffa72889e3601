"""Which run a command means that names none: the one of the folder in which it is given."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatewright_cli.node.run_dir import STATUS, RunDirError, live_runs, runs_home

VARIABLE = "GATEWRIGHT_RUN_DIR"
MANIFEST = "build.yaml"
CURE = f"--run-dir or {VARIABLE}"


@dataclass(frozen=True)
class _Run:
    """A run of this user's. manifest: None where it runs a build output as it is."""

    path: Path
    manifest: Path | None
    state_dir: Path
    started_in: str

    def is_of(self, folder: Path) -> bool:
        """Whether its manifest or its state directory is in this folder."""
        places = {self.state_dir.resolve(), self.state_dir.parent.resolve()}
        if self.manifest is not None:
            places.add(self.manifest.parent.resolve())
        return folder in places

    @property
    def origin(self) -> str:
        """For people: the manifest, or the state directory of a run without one."""
        return f"manifest {self.manifest}" if self.manifest else f"state directory {self.state_dir}"

    def __str__(self) -> str:
        return f"  {self.origin}, started in {self.started_in}: --run-dir {self.path}"


def find_run() -> Path:
    """The run directory that GATEWRIGHT_RUN_DIR names; else that of the run whose manifest or state directory is in the
    working directory or above it. Raises RunDirError, with all runs of this user.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named)
    runs = [run for path in live_runs() if (run := _read(path)) is not None]
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        found = [run for run in runs if run.is_of(folder)]
        if len(found) == 1:
            return found[0].path
        if found:
            expected = f"expected one run whose manifest or state directory is in {folder}, got {len(found)}"
            raise RunDirError(_named(expected, found, f"name one with {CURE}"))
        if _is_project(folder):  # it does not run
            break
    raise RunDirError(_refusal(here, runs))


def described(path: Path) -> str:
    """The run in a directory, for people: with its manifest or state directory, where it says that."""
    run = _read(path)
    return f"the run of {run.origin} (--run-dir {path})" if run else f"the run in {path}"


def _is_project(folder: Path) -> bool:
    try:
        return (folder / MANIFEST).exists()
    except OSError:  # a folder that this user may not look into
        return False


def _read(path: Path) -> _Run | None:
    """What a run has written of itself; None where it ends just now, or is of an older version."""
    try:
        status: dict[str, Any] = json.loads((path / STATUS).read_text())
    except OSError:
        return None
    if "folder" not in status:
        return None
    manifest = Path(status["manifest"]) if status["manifest"] else None
    return _Run(path, manifest, Path(status["stateDir"]), status["folder"])


def _refusal(here: Path, runs: list[_Run]) -> str:
    if not runs:
        cure = f"start one with `gatewright run`, or name its directory with {CURE}"
        return f"expected a run with its directory below {runs_home()}, got none: {cure}"
    got, place = f"{len(runs)} of other folders", "the folder of one"
    if len(runs) == 1:
        got, place = "1 of another folder", "its folder"
    expected = f"expected a run whose manifest or state directory is in {here} or above it, got {got}"
    return _named(expected, runs, f"go to {place}, or name it with {CURE}")


def _named(expected: str, runs: list[_Run], cure: str) -> str:
    return "\n".join([f"{expected}:", *map(str, runs), cure])
