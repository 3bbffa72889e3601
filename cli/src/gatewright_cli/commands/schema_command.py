"""`gatewright schema`."""

from __future__ import annotations

from pathlib import Path

import click

from gatewright_cli.commands.options import A_PATH

KINDS = (
    "api",
    "build",
    "consumer",
    "defaults",
    "exchange-filter",
    "gateway",
    "namespace",
    "nodegateway",
    "plan",
    "policy-definition",
    "secret",
)
"""Those of `schemas.SCHEMAS`, which costs an import of the controller."""


@click.command()
@click.argument("kind", type=click.Choice(KINDS), required=False)
@click.option(
    "--build",
    type=A_PATH,
    help="A build output, for the policies and parameters of an API. [default: build/stock, for --write alone]",
)
@click.option("--write", is_flag=True, help="Write all of them into .gatewright/schemas, as `gatewright init` does.")
def schema(kind: str | None, build: Path | None, write: bool) -> None:
    """Print the JSON Schema that editors check a kind of file by, or write all of them."""
    from gatewright_cli.commands.scaffold.schemas import built, schema_text, write_schemas

    if write == (kind is not None):
        expected = f"one of {', '.join(KINDS)} to print, or --write for all of them"
        raise click.UsageError(f"expected {expected}, got {'both' if write else 'neither'}")
    if kind is not None:
        click.echo(schema_text(kind, build), nl=False)
        return
    for path in write_schemas(Path(), build or built()):
        click.echo(path)
