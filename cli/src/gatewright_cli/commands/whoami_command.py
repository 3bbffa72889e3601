"""`gatewright whoami`."""

from __future__ import annotations

from pathlib import Path

import click

from gatewright_cli.commands.options import RUN_DIR, NamedController, controller_options


@click.command()
@click.option(
    "-o", "--output", "form", type=click.Choice(["table", "json"]), default="table", show_default=True, help="The form."
)
@RUN_DIR
@controller_options
def whoami(form: str, run_dir: Path | None, controller: NamedController | None) -> None:
    """Print who you are to a controller, by your token, and what you may do there.

    Exit status 7 if it refuses the token.
    """
    import asyncio

    from gatewright_cli.clients.controller_refusals import DeployError, preflight_error
    from gatewright_cli.clients.resources import Resources
    from gatewright_cli.commands.access.grants import describe_caller
    from gatewright_cli.commands.controller_address import controller_address
    from gatewright_cli.commands.resources.output import json_text

    address = controller_address(run_dir, controller)
    try:
        caller = asyncio.run(Resources(address.url, address.token, address.tls).fetch("/v1/caller"))
    except DeployError as error:
        raise preflight_error(error) from error
    if form == "json":
        click.echo(json_text(caller), nl=False)
        return
    for line in describe_caller(caller, address.place):
        click.echo(line)
