"""`gatewright reload`."""

from __future__ import annotations

from pathlib import Path

import click

from gatewright_cli.commands.options import RUN_DIR
from gatewright_cli.commands.reload_summary import summary


@click.command()
@RUN_DIR
@click.pass_context
def reload(context: click.Context, run_dir: Path | None) -> None:
    """Build again, read gateway.yaml again, and switch a running node to both without dropping a request.

    Exit status 1 if the reload was refused; the node then runs on unchanged.
    """
    from gatewright_cli.run import control

    answer = control.reload(run_dir, lambda step: click.echo(f"reload: {step}", err=True))
    for reason in answer.reasons:
        click.echo(f"error: {reason}", err=True)
    for note in answer.notes:
        click.echo(f"note: {note}", err=True)
    if answer.generation:
        click.echo(summary(answer))
    context.exit(1 if answer.reasons else 0)
