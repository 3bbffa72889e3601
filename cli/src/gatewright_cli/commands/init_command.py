"""`gatewright init`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from gatewright_cli.commands.options import A_PATH


@click.command()
@click.argument("folder", type=A_PATH, default=Path())
@click.option("--stream", is_flag=True, help="Also write a second policy, which masks a word in bodies as they stream.")
@click.option("--ai", is_flag=True, help="Write a gateway before language models instead: usage, budget, a guardrail.")
def init(folder: Path, stream: bool, ai: bool) -> None:
    """Write a project for a gateway of your own: build.yaml, a Python policy with its test, an API."""
    from gatewright_cli.commands.scaffold.starter import write_starter

    if ai and stream:
        raise click.UsageError("expected one of --ai and --stream, got both: write the two into different folders")
    starter = write_starter(folder, stream=stream, ai=ai)
    for path in starter.written:
        click.echo(folder / path)
    for path, lines in starter.lacking.items():
        click.echo(f"{folder / path} exists and was not changed. It should have:")
        click.echo("\n".join(f"    {line}" for line in lines))
    click.echo("\nNext:")
    if folder != Path():
        click.echo(f"    cd {shlex.quote(str(folder))}")
    if ai:
        click.echo("    mkdir -p -m 700 secrets")
        click.echo("    install -m 600 /dev/stdin secrets/provider-key <<< key-of-the-provider")
        click.echo("    python3 provider.py    (in another terminal, until apis/model.yaml names your provider)")
    click.echo("    gatewright run")
    click.echo("    gatewright apply -f apis    (in another terminal, after a change)")
