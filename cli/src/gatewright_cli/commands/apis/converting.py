"""`gatewright import` and `gatewright export`: files and the controller on one side, `openapi` on the other."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import click
import msgspec
import yaml
from gatewright_controller.resource.upstream import UrlError, parse_url
from gatewright_documents.json_reader import line_tree, parse_json
from gatewright_documents.mistake import Invalid, listed
from gatewright_documents.values import JsonObject
from gatewright_documents.yaml_reader import parse_yaml

from gatewright_cli import api_files
from gatewright_cli.api_files import ApiFile, RefusedFile
from gatewright_cli.clients.controller_refusals import NoAnswerError, preflight_error
from gatewright_cli.commands.apis import applying
from gatewright_cli.commands.options import NamedController
from gatewright_cli.mistakes import ExitStatus, PreflightError
from gatewright_cli.openapi import MAX_BYTES, Choices, export_openapi, import_openapi

STDIN = "-"
STDIN_NAME = "stdin"
MOST_NOTES = 50


@dataclass(frozen=True)
class ImportedText:
    """text: the API in YAML. notes: one line for each."""

    text: str
    notes: list[str]


def read_document(document: Path) -> tuple[str, bytes]:
    """The name of a document, for messages, and its content. Raises PreflightError."""
    return STDIN_NAME if str(document) == STDIN else str(document), _read_bytes(document)


def refuse_options(options: Mapping[str, object], of: str, file: str) -> None:
    """Raises PreflightError if one of these options, which are for another kind of document, is given."""
    if named := [option for option, value in options.items() if value]:
        raise PreflightError([f"{file}: expected {of} with {listed(named)}, got another: leave the option out"])


def import_document(body: bytes, file: str, choices: Choices) -> ImportedText:
    """The API of an OpenAPI document, whose name in mistakes is `file`. Raises PreflightError with all mistakes."""
    try:
        api = import_openapi(body, file, choices)
    except Invalid as invalid:
        by_line = sorted(invalid.mistakes, key=lambda mistake: mistake.line)
        raise PreflightError([str(mistake) for mistake in by_line]) from None
    notes = [f"{file}{f':{note.line}' if note.line else ''}: note: {note.message}" for note in api.notes]
    if len(notes) > MOST_NOTES:
        notes = [*notes[:MOST_NOTES], f"{file}: note: {len(notes) - MOST_NOTES} more like these"]
    return ImportedText(api.text, notes)


def _read_bytes(path: Path) -> bytes:
    """The content of a file or of standard input, at most one byte more than is allowed."""
    try:
        if str(path) == STDIN:
            return sys.stdin.buffer.read(MAX_BYTES + 1)
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PreflightError([f"{path}: {error.strerror}: check the path"]) from error


def export_api(
    source: str, server: str, run_dir: Path | None, controller: NamedController | None, *, json: bool
) -> str:
    """The OpenAPI document, in YAML or JSON, of an API in a file or of a running gateway. Raises PreflightError."""
    _check_server(server)
    is_file = source == STDIN or "." in source or "/" in source
    try:
        api = _read_api(Path(source)) if is_file else asyncio.run(_fetch_api(source, run_dir, controller))
        document = export_openapi(api, server)
    except Invalid as invalid:
        raise PreflightError(
            [str(replace(mistake, file=mistake.file or source)) for mistake in invalid.mistakes]
        ) from None
    if json:
        return msgspec.json.format(msgspec.json.encode(document)).decode() + "\n"
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)


def _check_server(server: str) -> None:
    try:
        if server:
            parse_url(server)
    except UrlError as error:
        raise PreflightError([f"--server: {error}"]) from None


def _read_api(path: Path) -> JsonObject:
    """The only API in a file. Raises Invalid, with lines, and PreflightError."""
    files = api_files.documents(Path(STDIN_NAME) if str(path) == STDIN else path, _read_bytes(path))
    if mistakes := [sentence for file in files if isinstance(file, RefusedFile) for sentence in file.sentences]:
        raise PreflightError(mistakes)
    apis = [file for file in files if isinstance(file, ApiFile)]
    if len(apis) > 1:
        names = ", ".join(api.name for api in apis)
        raise PreflightError(
            [f"{path}: expected one API, got {names}: export one after the other from a running gateway"]
        )
    (api,) = apis
    document = (parse_json if api.path.suffix == ".json" else parse_yaml)(api.content)
    try:
        export_openapi(document)
    except Invalid as invalid:
        lines = line_tree(api.content)
        located = [replace(mistake, line=lines.line_of(mistake.field)) for mistake in invalid.mistakes]
        in_file = [api_files.below(mistake, api.above) for mistake in located]
        raise Invalid([replace(mistake, file=str(api.path)) for mistake in in_file]) from None
    return document


async def _fetch_api(name: str, run_dir: Path | None, controller: NamedController | None) -> JsonObject:
    try:
        apis = await applying.find_target(run_dir, controller).management.apis()
    except NoAnswerError as error:
        raise preflight_error(error) from None
    if name not in apis:
        known = listed(sorted(apis))
        mistake = f"expected the name of an API that the gateway has, {known}, got {name!r}: correct it"
        raise PreflightError([mistake], ExitStatus.NOT_FOUND)
    stored = apis[name]
    return {"apiVersion": "gatewright.dev/v1", "kind": "Api", "metadata": stored.metadata, "spec": stored.spec}


def write(text: str, output: Path | None, *, force: bool) -> None:
    """Prints the text, or writes it to a new file; with force, an existing file is replaced. Raises PreflightError."""
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        with output.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise PreflightError([f"{output} is already there: choose another file, or replace it with --force"]) from None
    except OSError as error:
        raise PreflightError([f"{output}: {error.strerror}: choose another file"]) from error
