"""`gatewright init`: writes a project with everything that a gateway needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gatewright_cli.commands.scaffold.schemas import write_schemas
from gatewright_cli.commands.scaffold.template import template_texts, write_texts
from gatewright_cli.mistakes import PreflightError

STARTER = "starter"
STREAM = "starter_stream"  # files to add, or to replace those of the same name, for a policy that streams
AI = "starter_ai"  # instead of the files of the first, but for those of a project
OF_A_PROJECT = {".gitignore", "pyproject.toml"}  # an existing project has its own


@dataclass(frozen=True, slots=True)
class Starter:
    """written: the new files. lacking: the lines that existing files should have; these files were not changed."""

    written: list[Path]
    lacking: dict[Path, list[str]]


def write_starter(folder: Path, *, stream: bool = False, ai: bool = False) -> Starter:
    """Writes build.yaml, a Python policy with its test, an API, and the schemas that editors check them by.

    stream: whether to write a second policy, which streams a body. ai: whether to write an API before a provider of
    language models instead, with its policies and a provider to try it with.

    Raises PreflightError, a sentence for each file that exists already; nothing is then written.
    """
    tree = template_texts(STARTER)
    if ai:
        tree = {path: text for path, text in tree.items() if str(path) in OF_A_PROJECT} | template_texts(AI)
    elif stream:
        tree |= template_texts(STREAM)
    present = [path for path in tree if (folder / path).exists()]
    if conflicts := [path for path in present if str(path) not in OF_A_PROJECT]:
        raise PreflightError(
            [f"{folder / path} is already there: choose another folder, or remove it" for path in conflicts]
        )
    lacking = {Path(path): _missing_lines(tree.pop(path), (folder / path).read_text()) for path in present}
    write_texts(tree, folder)
    written = [*map(Path, tree), *write_schemas(folder, anew=False)]
    return Starter(written, {path: lines for path, lines in lacking.items() if lines})


def _missing_lines(wanted: str, present: str) -> list[str]:
    lines = [line for line in wanted.splitlines() if line]
    return [] if set(lines) <= set(present.splitlines()) else lines
