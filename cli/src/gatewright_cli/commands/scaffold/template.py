"""The templates that commands write for people to start from: folders of this package, with the files as written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

from gatewright_cli.mistakes import PreflightError

RENAMED = {"gitignore": ".gitignore", "go_mod": "go.mod", "pyproject": "pyproject.toml"}
"""Under their own names these files would take effect in this repository."""
UNWANTED = "__pycache__"


def template_texts(name: str) -> dict[PurePosixPath, str]:
    """The files of a template, by their paths relative to the target folder."""
    return dict(_texts(files("gatewright_cli") / name, PurePosixPath()))


def write_texts(texts: Mapping[PurePosixPath, str], folder: Path) -> None:
    """Writes the texts below the folder, and makes folders as needed. Raises PreflightError if it cannot."""
    try:
        for path, text in texts.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
    except OSError as error:
        raise PreflightError([f"{error.filename}: {error.strerror}: choose another folder"]) from error


def _texts(folder: Traversable, above: PurePosixPath) -> Iterator[tuple[PurePosixPath, str]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir() and entry.name != UNWANTED:
            yield from _texts(entry, above / entry.name)
        elif entry.is_file():
            yield above / RENAMED.get(entry.name, entry.name), entry.read_text()
