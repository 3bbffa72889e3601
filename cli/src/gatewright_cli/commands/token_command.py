"""`gatewright token`."""

from __future__ import annotations

from pathlib import Path

import click

from gatewright_cli.commands.access.tokens import ROLES, TOKEN, complete_tokens
from gatewright_cli.commands.options import REASON, RUN_DIR, NamedController, controller_options
from gatewright_cli.commands.resources.output import OUTPUT
from gatewright_cli.commands.units import LABEL


@click.group()
def token() -> None:
    """Create, list and delete tokens of a controller: each has a role, for every API or for some."""


@token.command()
@click.argument("name")
@click.option("--role", required=True, type=click.Choice(ROLES), help="What it may do.")
@click.option("--api", "apis", metavar="GLOB", multiple=True, help="For APIs whose name fits, such as orders-*.")
@click.option("--node", "nodes", metavar="GLOB", multiple=True, help="With the role node: for nodes whose id fits.")
@click.option(
    "--label",
    "labels",
    metavar="KEY=VALUE",
    type=LABEL,
    multiple=True,
    help="For APIs with this label; with the role node: for nodes that have it.",
)
@click.option(
    "--host", "hosts", metavar="HOST", multiple=True, help="For APIs with no hosts but this: shop.example, *.example."
)
@click.option("--path", "paths", metavar="PATH", multiple=True, help="For APIs whose context is this path or below it.")
@click.option("--days", type=int, help="It expires after so many days. [default: never]")
@REASON
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="The token's text alone, or all that the controller answers.",
)
@RUN_DIR
@controller_options
def create(
    name: str,
    role: str,
    apis: tuple[str, ...],
    nodes: tuple[str, ...],
    labels: tuple[tuple[str, str], ...],
    hosts: tuple[str, ...],
    paths: tuple[str, ...],
    days: int | None,
    reason: str,
    output: str,
    run_dir: Path | None,
    controller: NamedController | None,
) -> None:
    """Create a token, and print its text, which is never shown again. The controller is named on stderr.

    --api, --label, --host and --path are repeatable. An API has to fit them all, but of several --api, --host or --path
    one is enough. Without them the token is for every API.

    Exit status 4 if there is a token of this name.
    """
    from gatewright_cli.commands.access.tokens import create_token, describe_token
    from gatewright_cli.commands.resources.output import json_text

    bounds = {"names": (*apis, *nodes), "labels": dict(labels), "hosts": hosts, "contexts": paths}
    document = {"name": name, "role": role, **bounds, **({} if days is None else {"days": days})}
    created = create_token(document, {"reason": reason} if reason else {}, run_dir, controller)
    click.echo(json_text(created) if output == "json" else f"{created['token']}\n", nl=False)
    click.echo(f"{describe_token(created)}; the token is shown this once: keep it", err=True)


@token.command("list")
@OUTPUT
@RUN_DIR
@controller_options
def list_tokens(output: str, run_dir: Path | None, controller: NamedController | None) -> None:
    """Print the tokens, without their texts."""
    from gatewright_cli.commands.resources.showing import Selection, show

    show(Selection(TOKEN, (), (), output), run_dir, controller)


@token.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_tokens)
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
    """Delete tokens, which open nothing from then on. The controller is named on stderr.

    Exit status 3 if a name is not there.
    """
    from gatewright_cli.commands.resources.deleting import Deletion, delete_resources

    deletion = Deletion(TOKEN, names, revision=None, wait=0.0, reason=reason)
    context.exit(delete_resources(deletion, run_dir, controller))
