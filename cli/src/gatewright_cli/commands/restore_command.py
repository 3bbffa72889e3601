"""`gatewright restore`."""

from __future__ import annotations

from pathlib import Path

import click

from gatewright_cli.commands.options import A_PATH, DATABASE_URL, STATE_DIR


@click.command()
@click.argument("file", type=A_PATH)
@click.option("--state-dir", type=A_PATH, default=STATE_DIR, show_default=True, help="The state directory of the run.")
@DATABASE_URL
def restore(file: Path, state_dir: Path, database: str) -> None:
    """Fill an empty database with what `gatewright backup` has copied: also one of the other kind. No controller may
    use it meanwhile.

    The database is found as by `gatewright backup`.
    """
    from gatewright_cli.commands.backup import restore as fill
    from gatewright_cli.node.specs.processes import database_of

    count = fill(file, database or database_of(state_dir))
    click.echo(f"{count} API{'' if count == 1 else 's'} of {file} restored")
