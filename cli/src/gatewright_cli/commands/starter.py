"""`gatewright init`: a folder to start from, with everything in it that a gateway of one's own needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gatewright_cli.commands.schemas import write_schemas
from gatewright_cli.commands.template import template_texts, write_texts
from gatewright_cli.mistakes import PreflightError

STARTER = "starter"
STREAM = "starter_stream"  # what it has besides, or in place of a file of the same name, with a policy that streams
OF_A_PROJECT = {".gitignore", "pyproject.toml"}  # a folder that is a project already has its own


@dataclass(frozen=True, slots=True)
class Starter:
    """What was written; and for a project's own files, which stay as they are, the lines that they should have."""

    written: list[Path]
    lacking: dict[Path, list[str]]


def write_starter(folder: Path, *, stream: bool = False) -> Starter:
    """Writes build.yaml, a Python policy with its test, an API, and the schemas that editors check them by.

    Answers the files, relative to the folder.

    stream: a second policy too, which streams a body.

    Raises PreflightError, a sentence for each, where files are in the way; nothing is then written.
    """
    tree = template_texts(STARTER)
    if stream:
        tree |= template_texts(STREAM)
    there = [path for path in tree if (folder / path).exists()]
    if taken := [path for path in there if str(path) not in OF_A_PROJECT]:
        raise PreflightError(
            [f"{folder / path} is already there: choose another folder, or remove it" for path in taken]
        )
    lacking = {Path(path): _lacking(tree.pop(path), (folder / path).read_text()) for path in there}
    write_texts(tree, folder)
    written = [*map(Path, tree), *write_schemas(folder, anew=False)]
    return Starter(written, {path: lines for path, lines in lacking.items() if lines})


def _lacking(wanted: str, present: str) -> list[str]:
    lines = [line for line in wanted.splitlines() if line]
    return [] if set(lines) <= set(present.splitlines()) else lines
