"""`gatewright diff`."""

from __future__ import annotations

from pathlib import Path

import click

from gatewright_cli.commands.options import RUN_DIR, NamedController, controller_options


@click.command()
@click.argument("before")
@click.argument("after", required=False)
@RUN_DIR
@controller_options
def diff(before: str, after: str | None, run_dir: Path | None, controller: NamedController | None) -> None:
    """Print what two revisions of a resource have different, as a unified diff without secrets.

    BEFORE and AFTER are NAME@REVISION, such as orders@3 and orders@5; NAME@-1 is the revision before the newest.
    Without AFTER it is the newest.
    """
    import asyncio

    from gatewright_cli.clients.controller_refusals import DeployError, preflight_error
    from gatewright_cli.commands.apis import revisions
    from gatewright_cli.commands.apis.applying import find_target
    from gatewright_cli.mistakes import PreflightError

    old = revisions.Reference.parse(before)
    new = revisions.Reference.parse(after) if after else revisions.Reference(old.kind, old.name, None)
    if (old.kind, old.name) != (new.kind, new.name):
        raise PreflightError([f"expected two revisions of one resource, got {before} and {after}: name one resource"])
    management = find_target(run_dir, controller).management
    try:
        click.echo(asyncio.run(revisions.diff(management, old, new)), nl=False)
    except DeployError as error:
        raise preflight_error(error) from error
