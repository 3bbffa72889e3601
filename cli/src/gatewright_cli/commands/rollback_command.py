"""`gatewright rollback`."""

from __future__ import annotations

from pathlib import Path

import click

from gatewright_cli.commands.options import RUN_DIR, NamedController, controller_options, terms_options
from gatewright_cli.commands.units import DURATION


@click.command()
@click.argument("revision")
@terms_options
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@RUN_DIR
@controller_options
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until it is deployed.")
@click.option("--timeout", type=DURATION, default="30s", show_default=True, help="How long to wait for that.")
@click.pass_context
def rollback(
    context: click.Context,
    revision: str,
    terms: dict[str, str],
    dry_run: bool,
    run_dir: Path | None,
    controller: NamedController | None,
    wait: bool,
    timeout: float,
) -> None:
    """Put a resource back as it was, as a new revision: also one that was deleted.

    REVISION is NAME@REVISION, such as orders@3; orders@-1 is the revision before the newest. It is refused if it
    no longer fits.
    """
    import asyncio

    from gatewright_cli.clients.controller_refusals import DeployError, preflight_error
    from gatewright_cli.commands.apis import revisions
    from gatewright_cli.commands.apis.applying import find_target

    reference = revisions.Reference.parse(revision)
    reference.of_revision()
    target = find_target(run_dir, controller, terms)
    try:
        if dry_run:
            asyncio.run(revisions.try_roll_back(target, reference, click.echo))
            return
        status = asyncio.run(revisions.roll_back(target, reference, timeout if wait else None, click.echo))
    except DeployError as error:
        raise preflight_error(error) from error
    context.exit(status)
