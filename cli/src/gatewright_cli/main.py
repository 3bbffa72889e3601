"""The command line: the commands, and errors as sentences."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
from gatewright import __version__

from gatewright_cli.commands.apply_command import apply
from gatewright_cli.commands.backup_command import backup
from gatewright_cli.commands.build_command import build
from gatewright_cli.commands.echo_command import echo
from gatewright_cli.commands.explain_command import explain
from gatewright_cli.commands.export_command import export
from gatewright_cli.commands.import_command import import_
from gatewright_cli.commands.init_command import init
from gatewright_cli.commands.inspector_command import inspector
from gatewright_cli.commands.log_level_command import log_level
from gatewright_cli.commands.new_command import new
from gatewright_cli.commands.policy_command import policy
from gatewright_cli.commands.record_command import record
from gatewright_cli.commands.reload_command import reload
from gatewright_cli.commands.replay_command import replay
from gatewright_cli.commands.run_command import run
from gatewright_cli.commands.schema_command import schema
from gatewright_cli.commands.status_command import status
from gatewright_cli.commands.tail_command import tail
from gatewright_cli.commands.version_command import version
from gatewright_cli.mistakes import PreflightError


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"gatewright {__version__}")
        context.exit()


@click.group()
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Print it.")
def cli() -> None:
    """An API gateway whose policies are plain Python functions, beside Go ones, on a real Envoy."""


for command in (
    init,
    new,
    policy,
    build,
    version,
    status,
    inspector,
    log_level,
    reload,
    apply,
    tail,
    explain,
    record,
    replay,
    import_,
    export,
    schema,
    backup,
    echo,
    run,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point. Mistakes that the user can correct go to stderr, a sentence each; the exit status is then 1.

    arguments: those of the process by default.
    """
    try:
        cli(arguments, prog_name="gatewright")
    except PreflightError as error:
        for mistake in error.mistakes:
            click.echo(f"error: {mistake}", err=True)
        sys.exit(1)
