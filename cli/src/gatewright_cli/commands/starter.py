"""`gatewright init`: a folder to start from, with everything in it that a gateway of one's own needs."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

from gatewright_cli.mistakes import PreflightError

STARTER = "starter"
STREAM = "starter_stream"  # what it has besides, or in place of a file of the same name, with a policy that streams
RENAMED = {"gitignore": ".gitignore"}  # under its own name it would work on this repository
UNWANTED = "__pycache__"
OF_A_PROJECT = {".gitignore", "pyproject.toml"}  # a folder that is a project already has its own


@dataclass(frozen=True, slots=True)
class Starter:
    """What was written; and for a project's own files, which stay as they are, the lines that they should have."""

    written: list[Path]
    lacking: dict[Path, list[str]]


def write_starter(folder: Path, *, stream: bool = False) -> Starter:
    """Writes build.yaml, a Python policy with its test, and an API; answers the files, relative to the folder.

    stream: a second policy too, which streams a body.

    Raises PreflightError, a sentence for each, where files are in the way; nothing is then written.
    """
    tree = dict(_files(files("gatewright_cli") / STARTER, PurePosixPath()))
    if stream:
        tree |= _files(files("gatewright_cli") / STREAM, PurePosixPath())
    there = [path for path in tree if (folder / path).exists()]
    if taken := [path for path in there if str(path) not in OF_A_PROJECT]:
        raise PreflightError(
            [f"{folder / path} is already there: choose another folder, or remove it" for path in taken]
        )
    try:
        lacking = {Path(path): _lacking(tree.pop(path).read_text(), (folder / path).read_text()) for path in there}
        for path, file in tree.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(file.read_bytes())
    except OSError as error:
        raise PreflightError([f"{error.filename}: {error.strerror}: choose another folder"]) from error
    return Starter([Path(path) for path in tree], {path: lines for path, lines in lacking.items() if lines})


def _lacking(wanted: str, present: str) -> list[str]:
    lines = [line for line in wanted.splitlines() if line]
    return [] if set(lines) <= set(present.splitlines()) else lines


def _files(folder: Traversable, above: PurePosixPath) -> list[tuple[PurePosixPath, Traversable]]:
    found: list[tuple[PurePosixPath, Traversable]] = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir() and entry.name != UNWANTED:
            found += _files(entry, above / entry.name)
        elif entry.is_file():
            found.append((above / RENAMED.get(entry.name, entry.name), entry))
    return found
