"""`gatewright reload`, and the summary that it prints of a reload."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gatewright_cli.commands.options import RUN_DIR

if TYPE_CHECKING:
    from gatewright_cli.run.control import Answer


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


def summary(answer: Answer) -> str:
    """The result of a successful reload, for a person."""
    head = f"reloaded generation={answer.generation} took={answer.seconds:.2f}s"
    lines = [
        head
        if answer.changed or answer.restarted or answer.listens
        else f"nothing to reload generation={answer.generation}"
    ]
    if answer.changed:
        lines.append(f"  changed: {', '.join(answer.changed)}")
    if answer.restarted:
        kept = f"; as they were: {', '.join(answer.kept)}" if answer.kept else ""
        lines.append(f"  executors restarted: {', '.join(answer.restarted)}{kept}")
    if answer.listens:
        lines.append("  listeners: as the Gateway says now")
    lines.append("  " + ", ".join(f"{part} {seconds:.2f} s" for part, seconds in answer.spent.items()))
    return "\n".join(lines)
