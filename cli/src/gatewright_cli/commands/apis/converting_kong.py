"""`gatewright import` of decK files: files on one side, `kong` on the other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec
from gatewright_controller.resource.definitions import Definitions
from gatewright_documents.mistake import Invalid, listed
from gatewright_documents.yaml_writer import yaml_text

from gatewright_cli.kong import Imported, count_outcomes, import_kong, report_document, report_text
from gatewright_cli.mistakes import PreflightError

DIFFERENT = 3
"""The exit status if a field was changed in meaning or left out."""
APIS, SECRETS, MANIFEST = "apis", "secrets", "build.yaml"
CONSUMERS, KEYS = "consumers.yaml", "consumer-keys.jsonl"


@dataclass(frozen=True)
class KongChoices:
    """output: the folder to write. report: the file to write. accept: whether differences are no failure. without:
    plugins without a counterpart whose routes stay open. force: whether files are replaced.
    """

    output: Path | None
    report: Path | None
    accept: bool
    without: tuple[str, ...]
    force: bool


def convert_deck_file(body: bytes, file: str, choices: KongChoices, definitions: Definitions) -> int:
    """Writes the APIs, consumers, keys and secrets of a decK file, and reports what became of each field.

    Returns the exit status. definitions: of the policies that ship. Raises PreflightError with all mistakes.
    """
    try:
        imported = import_kong(body, file, definitions, os.environ, choices.without)
    except Invalid as invalid:
        by_line = sorted(invalid.mistakes, key=lambda mistake: mistake.line)
        raise PreflightError([str(mistake) for mistake in by_line]) from None
    if choices.output is None:
        _print(imported)
    else:
        _write(imported, choices.output, force=choices.force)
    if choices.report:
        report = msgspec.json.format(
            msgspec.json.encode(report_document(imported.entries, imported.results, file))
        ).decode()
        _write_files([(choices.report, report + "\n", 0o600)], force=choices.force)
    click.echo(report_text(imported.entries, imported.results, file), nl=False, err=True)
    if choices.output and imported.consumers:
        click.echo(_next_steps(imported, choices.output), nl=False, err=True)
    counts = count_outcomes(imported.entries)
    return DIFFERENT if counts["changed"] + counts["left out"] and not choices.accept else 0


def _print(imported: Imported) -> None:
    """All resources on standard output. Keys and secrets are for files only."""
    if imported.secrets or imported.keys:
        names = [*(["keys of consumers"] if imported.keys else []), *sorted(imported.secrets)]
        raise PreflightError([f"expected a folder for secrets ({listed(names)}), got none: name one with -o FOLDER"])
    click.echo("---\n".join([*_consumer_texts(imported), *imported.apis.values()]), nl=False)


def _consumer_texts(imported: Imported) -> Iterator[str]:
    """Plans first, since consumers name them."""
    return map(yaml_text, (*imported.plans, *imported.consumers))


def _next_steps(imported: Imported, folder: Path) -> str:
    """How a running gateway gets consumers and keys, which are in no folder that it reads by itself."""
    steps = [f"gatewright apply -f {folder / CONSUMERS}"]
    if imported.keys:
        steps += [f"gatewright consumer key import {folder / KEYS}", f"rm {folder / KEYS}"]
    return "next, for consumers:\n" + "".join(f"  {step}\n" for step in steps)


def _write(imported: Imported, folder: Path, *, force: bool) -> None:
    if folder.is_file():
        raise PreflightError(
            [f"-o {folder}: expected a folder, for a decK file has several APIs, got a file: name another"]
        )
    _write_files(list(_files_of(imported, folder)), force=force)


def _files_of(imported: Imported, folder: Path) -> Iterator[tuple[Path, str, int]]:
    for name, text in imported.apis.items():
        yield folder / APIS / f"{name}.yaml", text, 0o644
    for name, text in imported.secrets.items():
        yield folder / SECRETS / name, text, 0o600
    if text := "---\n".join(_consumer_texts(imported)):
        yield folder / CONSUMERS, text, 0o644
    if imported.keys:
        lines = "".join(f"{msgspec.json.encode(key).decode()}\n" for key in imported.keys)
        yield folder / KEYS, lines, 0o600
    entries = "".join(f"  - name: {name}\n" for name in imported.policies) or "  - name: log-message\n"
    yield folder / MANIFEST, f"# The policies that the imported APIs attach.\nversion: v1\npolicies:\n{entries}", 0o644


def _write_files(files: Sequence[tuple[Path, str, int]], *, force: bool) -> None:
    """Writes all files, or none if one is there and may not be replaced."""
    present = [path for path, _, _ in files if path.exists()]
    if present and not force:
        others = f" and {len(present) - 1} more are" if len(present) > 1 else " is"
        raise PreflightError(
            [f"{present[0]}{others} already there: choose another folder, or replace them with --force"]
        )
    for path, text, mode in files:
        try:
            path.parent.mkdir(
                parents=True, exist_ok=True, mode=0o700 if mode == 0o600 and path.parent.name == SECRETS else 0o755
            )
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
                os.fchmod(descriptor, mode)
                file.write(text)
        except OSError as error:
            raise PreflightError([f"{path}: {error.strerror}: choose another place"]) from error
