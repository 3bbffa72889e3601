"""`gatewright history`."""

from __future__ import annotations

from pathlib import Path

import click

from gatewright_cli.commands.options import RUN_DIR, NamedController, controller_options


@click.command()
@click.argument("name")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many entries, at most.")
@click.option(
    "-o", "--output", "form", type=click.Choice(["table", "json"]), default="table", show_default=True, help="The form."
)
@RUN_DIR
@controller_options
def history(name: str, limit: int, form: str, run_dir: Path | None, controller: NamedController | None) -> None:
    """Print who changed a resource, when, from where and why, the newest change first.

    NAME is an API, also one that was deleted, secret/NAME, defaults/NAME, namespace/NAME,
    nodegateway/NAME, or gateway/gateway.
    """
    import asyncio

    import msgspec

    from gatewright_cli.clients.controller_refusals import DeployError, preflight_error
    from gatewright_cli.commands.apis import revisions
    from gatewright_cli.commands.apis.applying import find_target

    reference = revisions.Reference.parse(name)
    management = find_target(run_dir, controller).management
    try:
        entries = asyncio.run(revisions.history(management, reference, limit))
    except DeployError as error:
        raise preflight_error(error) from error
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(entries)))
        return
    for line in revisions.table(entries):
        click.echo(line)
