"""`gatewright backup`."""

from __future__ import annotations

from pathlib import Path

import click

from gatewright_cli.commands.options import A_PATH, DATABASE_URL, STATE_DIR


@click.command()
@click.argument("file", type=A_PATH)
@click.option(
    "--state-dir",
    type=A_PATH,
    default=STATE_DIR,
    show_default=True,
    help="The state directory of the run, which may be running.",
)
@DATABASE_URL
def backup(file: Path, state_dir: Path, database: str) -> None:
    """Copy all APIs, the Gateway and their history, as the controller has them now, into one new file.

    The database is the one of --database, else the one that GATEWRIGHT_CONTROLLER_DATABASE or
    GATEWRIGHT_CONTROLLER_DATABASE_FILE names, else that of the state directory.
    """
    from gatewright_cli.commands.backup import back_up
    from gatewright_cli.node.specs.processes import database_of

    count = back_up(database or database_of(state_dir), file)
    click.echo(f"{count} API{'' if count == 1 else 's'} in {file}")
