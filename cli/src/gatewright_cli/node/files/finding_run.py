"""Finds the run that a command without --run-dir is for: the one of the working directory."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatewright_cli.node.files.run_dir import STATUS, RunDirError, live_runs, runs_home

VARIABLE = "GATEWRIGHT_RUN_DIR"
MANIFEST = "build.yaml"
CURE = f"--run-dir or {VARIABLE}"


@dataclass(frozen=True)
class _Run:
    """A run of this user. manifest: None if it runs a build output as it is."""

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
    """The run directory in GATEWRIGHT_RUN_DIR; else that of the run whose manifest or state directory is in the working
    directory or above it. Raises RunDirError, with all runs of this user.
    """
    if path := os.environ.get(VARIABLE):
        return Path(path)
    runs = [run for path in live_runs() if (run := _read(path)) is not None]
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        matching = [run for run in runs if run.is_of(folder)]
        if len(matching) == 1:
            return matching[0].path
        if matching:
            expected = f"expected one run whose manifest or state directory is in {folder}, got {len(matching)}"
            raise RunDirError(_list_runs(expected, matching, f"name one with {CURE}"))
        if _is_project(folder):  # which has no run
            break
    raise RunDirError(_refusal(here, runs))


def describe_run(path: Path) -> str:
    """A description of the run in a directory, with its manifest or state directory if known."""
    run = _read(path)
    return f"the run of {run.origin} (--run-dir {path})" if run else f"the run in {path}"


def _is_project(folder: Path) -> bool:
    try:
        return (folder / MANIFEST).exists()
    except OSError:  # a folder that this user may not read
        return False


def _read(path: Path) -> _Run | None:
    """The run by its status.json; None if it is just ending, or of an older version."""
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
    return _list_runs(expected, runs, f"go to {place}, or name it with {CURE}")


def _list_runs(expected: str, runs: list[_Run], cure: str) -> str:
    return "\n".join([f"{expected}:", *map(str, runs), cure])
