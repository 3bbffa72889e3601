"""`gatewright init`: a folder to start from, with everything in it that a gateway of one's own needs."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

from gatewright_cli.preflight import PreflightError

STARTER = "starter"
RENAMED = {"gitignore": ".gitignore"}  # under its own name it would work on this repository
UNWANTED = "__pycache__"


def write_starter(folder: Path) -> list[Path]:
    """Writes build.yaml, a Python policy with its test, and an API; answers the files, relative to the folder.

    Raises PreflightError, a sentence for each, where files are in the way; nothing is then written.
    """
    tree = dict(_files(files("gatewright_cli") / STARTER, PurePosixPath()))
    if taken := [path for path in tree if (folder / path).exists()]:
        raise PreflightError(
            [f"{folder / path} is already there: choose another folder, or remove it" for path in taken]
        )
    try:
        for path, file in tree.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(file.read_bytes())
    except OSError as error:
        raise PreflightError([f"{error.filename}: {error.strerror}: choose another folder"]) from error
    return [Path(path) for path in tree]


def _files(folder: Traversable, above: PurePosixPath) -> list[tuple[PurePosixPath, Traversable]]:
    found: list[tuple[PurePosixPath, Traversable]] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir() and entry.name != UNWANTED:
            found += _files(entry, above / entry.name)
        elif entry.is_file():
            found.append((above / RENAMED.get(entry.name, entry.name), entry))
    return found
