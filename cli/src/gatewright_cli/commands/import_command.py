"""`gatewright import`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gatewright_cli.commands.options import A_PATH, FORCE

if TYPE_CHECKING:
    from gatewright_controller.resource.definitions import Definitions


@click.command("import")
@click.argument("document", type=A_PATH)
@click.option(
    "-o",
    "--output",
    type=A_PATH,
    help="The API's file, or for a decK file the folder, to write. [default: standard output]",
)
@click.option("--name", help="The API's name. [default: the document's title, in lower-case letters]")
@click.option("--context", metavar="PATH", help="The API's context. [default: the path of the document's first server]")
@click.option(
    "--upstream",
    metavar="URL",
    help="Where requests go, in the place of the first server; without a path, that server's path stays.",
)
@click.option(
    "--paths", metavar="PATH", default="", help="Import only operations at this path and below, as an API of their own."
)
@click.option("--strict-paths/--no-strict-paths", default=True, show_default=True, help="The API's strictPaths.")
@click.option("--report", type=A_PATH, help="decK: the file to write with what became of each field, in JSON.")
@click.option("--accept", is_flag=True, help="decK: exit with 0 also if fields were changed in meaning or left out.")
@click.option(
    "--without",
    metavar="PLUGIN",
    multiple=True,
    help="decK: leave routes with this plugin open, though no policy takes its place. Repeatable.",
)
@FORCE
def import_(
    document: Path,
    output: Path | None,
    name: str | None,
    context: str | None,
    upstream: str | None,
    paths: str,
    strict_paths: bool,
    report: Path | None,
    accept: bool,
    without: tuple[str, ...],
    force: bool,
) -> None:
    """Make APIs of an OpenAPI 3.0 or 3.1 document, or of a decK file of Kong (YAML or JSON, - for standard input).

    OpenAPI: one API. Differences between it and the document are noted on stderr, with the document's line.

    decK (_format_version 1.1 or 3.0): a folder with APIs, consumers, plans, secrets and a build.yaml, and the keys of
    consumers in a file of their own. What became of each field is reported on stderr; the exit status is 3 if a field
    was changed in meaning or left out.
    """
    from gatewright_cli.commands.apis import converting
    from gatewright_cli.commands.apis.converting_kong import KongChoices, convert_deck_file
    from gatewright_cli.kong import is_deck_file
    from gatewright_cli.openapi import Choices

    file, body = converting.read_document(document)
    for_openapi = {"--name": name, "--context": context, "--upstream": upstream, "--paths": paths}
    for_deck = {"--report": report, "--accept": accept, "--without": without}
    if is_deck_file(body):
        converting.refuse_options({**for_openapi, "--no-strict-paths": not strict_paths}, "an OpenAPI document", file)
        choices = KongChoices(output, report, accept, without, force)
        sys.exit(convert_deck_file(body, file, choices, _shipped_definitions()))
    converting.refuse_options(for_deck, "a decK file", file)
    imported = converting.import_document(body, file, Choices(name, context, upstream, paths, strict_paths))
    converting.write(imported.text, output, force=force)
    for note in imported.notes:
        click.echo(note, err=True)


def _shipped_definitions() -> Definitions:
    """The definitions of the policies that ship, by which attachments are validated."""
    from gatewright_controller.resource.definitions import Definition, Definitions
    from gatewright_documents.schema import Schema

    from gatewright_cli.commands.policies.known import known_policies

    policies = [policy.definition for policy in known_policies()]
    return Definitions(Definition(policy, "", Schema(dict(policy.parameters))) for policy in policies)
