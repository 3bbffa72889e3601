"""`gatewright backup`."""

from __future__ import annotations

from pathlib import Path

import click

from gatewright_cli.commands.options import A_PATH, STATE_DIR


@click.command()
@click.argument("file", type=A_PATH)
@click.option(
    "--state-dir",
    type=A_PATH,
    default=STATE_DIR,
    show_default=True,
    help="The state directory of the run, which may be running.",
)
def backup(file: Path, state_dir: Path) -> None:
    """Copy all APIs, as the controller has them now, into one new file."""
    from gatewright_cli.commands.backup import back_up
    from gatewright_cli.node.specs.processes import DATABASE

    count = back_up(state_dir / DATABASE, file)
    click.echo(f"{count} API{'' if count == 1 else 's'} in {file}")
