"""`gatewright state`."""

from __future__ import annotations

from pathlib import Path

import click

from gatewright_cli.commands.options import A_PATH, RUN_DIR, NamedController, controller_options
from gatewright_cli.commands.units import LABEL


@click.group()
def state() -> None:
    """Sign, export and show the state of nodes: they start from it without a controller."""


@state.command()
@click.option("-o", "--output", type=A_PATH, required=True, help="The new file of the private key, for the controller.")
@click.option("--public", type=A_PATH, help="The new file of the public key, for nodes. [default: OUTPUT.pub]")
def key(output: Path, public: Path | None) -> None:
    """Make a pair of keys: a controller signs states with the private one, nodes check them by the public one."""
    from gatewright_cli.commands.states.keys import make_pair

    click.echo(make_pair(output, public or Path(f"{output}.pub")), err=True)


@state.command()
@click.option(
    "-o", "--output", metavar="FILE|URL", required=True, help="A file, or an http(s) URL that takes a PUT: a bucket's."
)
@click.option(
    "--label",
    "labels",
    metavar="KEY=VALUE",
    type=LABEL,
    multiple=True,
    help="Only what nodes with this label are sent. Repeat it for all their labels; a token with labels needs it.",
)
@RUN_DIR
@controller_options
def export(
    output: str, labels: tuple[tuple[str, str], ...], run_dir: Path | None, controller: NamedController | None
) -> None:
    """Write what a new node would be sent now, signed by the controller. The controller is named on stderr.

    Exit status 3 if it has no key that signs states.
    """
    from gatewright_cli.commands.states.exporting import export_state

    click.echo(export_state(output, labels, run_dir, controller), err=True)


@state.command()
@click.argument("file", type=A_PATH)
@click.option("--authority", type=A_PATH, help="PEM file of the public keys whose signature counts.")
def show(file: Path, authority: Path | None) -> None:
    """Print what a signed state has: who signed it and when, its revision and its APIs.

    Exit status 1 if it is damaged, or signed by another key. Without --authority the signature is not checked.
    """
    from gatewright_cli.commands.states.showing import describe_state

    for line in describe_state(file, authority):
        click.echo(line)
