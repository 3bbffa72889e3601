"""`gatewright join`: a node of a controller elsewhere."""

from __future__ import annotations

import click

from gatewright_cli.commands.options import A_PATH
from gatewright_cli.commands.run_command import run


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.argument("address", metavar="HOST:PORT")
@click.option("--authority", type=A_PATH, required=True, help="PEM file of who signs the controller's certificate.")
@click.option(
    "--token-file",
    type=A_PATH,
    envvar="GATEWRIGHT_JOIN_TOKEN_FILE",
    help="The file of a token of that controller, with the role node. [default: GATEWRIGHT_JOIN_TOKEN_FILE]",
)
@click.option("--certificate", type=A_PATH, help="PEM file of this node's certificate, which names its id.")
@click.option("--key", type=A_PATH, help="PEM file of its key.")
@click.pass_context
def join(context: click.Context, /, address: str, **files: str | None) -> None:
    """Run a node that takes its APIs from the controller at HOST:PORT.

    It is `gatewright run --join HOST:PORT`, and takes all options of `gatewright run`, such as --build and --node-id.
    """
    named = [word for name, file in files.items() if file for word in (f"--join-{name.replace('_', '-')}", str(file))]
    run.main(["--join", address, *named, *context.args], prog_name="gatewright run", standalone_mode=False)
