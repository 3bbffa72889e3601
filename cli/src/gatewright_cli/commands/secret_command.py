"""`gatewright secret`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gatewright_cli.commands.options import REASON, RUN_DIR, NamedController, controller_options, terms_options
from gatewright_cli.commands.resources.kinds import SECRET
from gatewright_cli.commands.resources.names import names_of_kind
from gatewright_cli.commands.resources.output import OUTPUT
from gatewright_cli.commands.units import LABEL
from gatewright_cli.mistakes import ExitStatus


def _complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    return names_of_kind(context, SECRET, incomplete)


@click.group()
def secret() -> None:
    """Write, list and delete Secrets of a controller: values that policies get and that are never shown."""


@secret.command("set")
@click.argument("name")
@click.argument("values", metavar="KEY=@FILE...", nargs=-1, required=True)
@click.option("--label", "labels", metavar="KEY=VALUE", type=LABEL, multiple=True, help="Give it this label, too.")
@terms_options
@RUN_DIR
@controller_options
def set_secret(
    name: str,
    values: tuple[str, ...],
    labels: tuple[tuple[str, str], ...],
    terms: dict[str, str],
    run_dir: Path | None,
    controller: NamedController | None,
) -> None:
    """Add values to a Secret, which is created if there is none; those of other keys stay. The controller is named on
    stderr.

    Each value is the content of a file, or with KEY=- standard input, without one newline at its end. A value is not
    taken from the command line, where other users and the shell's history would see it.

    APIs name it in parameters of their policies: {secretRef: NAME/KEY}.
    """
    from gatewright_cli.commands.access import secrets

    found = secrets.read_values(values, sys.stdin.buffer.read)
    click.echo(f"{name} {secrets.set_values(name, found, dict(labels), terms, run_dir, controller)}")


@secret.command("list")
@OUTPUT
@RUN_DIR
@controller_options
def list_secrets(output: str, run_dir: Path | None, controller: NamedController | None) -> None:
    """Print the Secrets with their keys, without their values."""
    from gatewright_cli.commands.resources.showing import Selection, show

    show(Selection(SECRET, (), (), output), run_dir, controller)


@secret.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=_complete)
@REASON
@RUN_DIR
@controller_options
@click.pass_context
def delete(
    context: click.Context,
    names: tuple[str, ...],
    reason: str,
    run_dir: Path | None,
    controller: NamedController | None,
) -> None:
    """Delete Secrets that no API names. The controller is named on stderr.

    Exit status 3 if a name is not there.
    """
    from gatewright_cli.commands.resources.deleting import Deletion, delete_resources

    deletion = Deletion(SECRET, names, revision=None, wait=0.0, reason=reason)
    context.exit(delete_resources(deletion, run_dir, controller))


@secret.command()
@RUN_DIR
@controller_options
@click.pass_context
def rotate(context: click.Context, run_dir: Path | None, controller: NamedController | None) -> None:
    """Encrypt all Secrets and their history by the first of the controller's keys. The controller is named on stderr.

    The controller reads its file of keys again. A second time changes nothing, and goes on where the first one ended.

    Exit status 4 if a Secret is left that none of the keys decrypts, by name.
    """
    from gatewright_cli.commands.access import secrets

    done = secrets.rotate(run_dir, controller)
    click.echo(f"{done['rewritten']} documents encrypted by the key {done['key']}, {done['left']} left as they were")
    for name in done["unreadable"]:
        click.echo(f"error: {name}: none of the controller's keys decrypts all of it: write it anew", err=True)
    context.exit(ExitStatus.CONFLICT if done["unreadable"] else ExitStatus.DONE)
