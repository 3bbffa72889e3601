"""`gatewright import`."""

from __future__ import annotations

from pathlib import Path

import click

from gatewright_cli.commands.options import A_PATH, FORCE


@click.command("import")
@click.argument("document", type=A_PATH)
@click.option("-o", "--output", type=A_PATH, help="The API's file to write. [default: standard output]")
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
@FORCE
def import_(
    document: Path,
    output: Path | None,
    name: str | None,
    context: str | None,
    upstream: str | None,
    paths: str,
    strict_paths: bool,
    force: bool,
) -> None:
    """Make an API of an OpenAPI 3.0 or 3.1 document (YAML or JSON, - for standard input).

    Differences between the API and the document are noted on stderr, with the document's line.
    """
    from gatewright_cli.commands.apis.converting import import_document, write
    from gatewright_cli.openapi import Choices

    imported = import_document(document, Choices(name, context, upstream, paths, strict_paths))
    write(imported.text, output, force=force)
    for note in imported.notes:
        click.echo(note, err=True)
