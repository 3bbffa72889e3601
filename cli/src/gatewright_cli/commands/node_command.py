"""`gatewright node`."""

from __future__ import annotations

from pathlib import Path

import click

from gatewright_cli.commands.options import REASON, RUN_DIR, NamedController, controller_options
from gatewright_cli.commands.resources.kinds import NODE
from gatewright_cli.commands.resources.names import names_of_kind
from gatewright_cli.commands.resources.output import OUTPUT
from gatewright_cli.commands.units import DURATION


def complete_nodes(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The ids of connected nodes that begin so, for the shell."""
    return names_of_kind(context, NODE, incomplete)


ID = click.argument("node_id", metavar="ID", shell_complete=complete_nodes)
WAIT = click.option(
    "--wait", type=DURATION, default=0.0, help="How long to wait until it is done, as 60s; at most 300s. [default: 0s]"
)


@click.group()
def node() -> None:
    """The nodes that are connected to a controller: list, show, drain and undrain them."""


@node.command("list")
@OUTPUT
@RUN_DIR
@controller_options
def list_nodes(output: str, run_dir: Path | None, controller: NamedController | None) -> None:
    """Print the connected nodes: their labels, and how many APIs are in which state there.

    Below them are nodes that the controller has refused within the last minute, with the reason.
    """
    from gatewright_cli.commands.nodes.listing_nodes import list_and_show

    list_and_show(output, run_dir, controller)


@node.command("show")
@ID
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="How it is shown.",
)
@RUN_DIR
@controller_options
def show_node(node_id: str, output: str, run_dir: Path | None, controller: NamedController | None) -> None:
    """Print what the controller knows of a node: labels, drain, what its build lacks, and which APIs it does not serve.

    Exit status 3 if it is not connected.
    """
    from gatewright_cli.commands.nodes.showing_node import describe_node
    from gatewright_cli.commands.resources.fetching import fetch_one
    from gatewright_cli.commands.resources.showing import Selection, render

    found = fetch_one(NODE, node_id, run_dir, controller)
    selection = Selection(NODE, (node_id,), (), output)
    click.echo(describe_node(found) if output == "table" else render(selection, [found]), nl=False)


@node.command()
@ID
@click.option(
    "--accept",
    type=DURATION,
    default="5s",
    show_default=True,
    help="How long it still accepts connections once it is not ready: longer than load balancers take to notice.",
)
@WAIT
@REASON
@RUN_DIR
@controller_options
@click.pass_context
def drain(
    context: click.Context,
    node_id: str,
    accept: float,
    wait: float,
    reason: str,
    run_dir: Path | None,
    controller: NamedController | None,
) -> None:
    """Have a node take no new connections, without losing a request. The controller is named on stderr.

    Its /ready answers 503, then its listeners close, and it is drained once no exchange is under way. It stays up until
    it is stopped or undrained, and runs what it is sent meanwhile.

    Exit status 5 if it is not drained when --wait is over, 3 if it is not connected.
    """
    from gatewright_cli.commands.nodes.draining import DrainOrder, order_node

    context.exit(order_node(DrainOrder("drain", node_id, wait, reason, round(accept)), run_dir, controller))


@node.command()
@ID
@WAIT
@REASON
@RUN_DIR
@controller_options
@click.pass_context
def undrain(
    context: click.Context,
    node_id: str,
    wait: float,
    reason: str,
    run_dir: Path | None,
    controller: NamedController | None,
) -> None:
    """Have a drained node serve again. The controller is named on stderr.

    A node that still drains ends the requests under way first.

    Exit status 5 if it does not serve when --wait is over, 3 if it is not connected.
    """
    from gatewright_cli.commands.nodes.draining import DrainOrder, order_node

    context.exit(order_node(DrainOrder("undrain", node_id, wait, reason), run_dir, controller))
