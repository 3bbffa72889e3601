"""`gatewright echo`."""

from __future__ import annotations

import click

from gatewright_cli import addresses
from gatewright_cli.mistakes import PreflightError
from gatewright_cli.node.listeners import ports


@click.command()
@click.option("--listen", required=True, metavar="HOST:PORT", help="Where to listen.")
def echo(listen: str) -> None:
    """Run a small upstream that answers with the request as JSON."""
    from gatewright_cli.commands.echo_server import serve

    try:
        host, port = addresses.split_address(listen)
    except ValueError as error:
        raise PreflightError([f"--listen: {error}"]) from error
    if obstacle := ports.obstacle(host, port):
        raise PreflightError([f"{obstacle}: choose another with --listen"])
    serve(host, port)
